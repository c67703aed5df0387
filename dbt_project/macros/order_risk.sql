{#
    What is counted of earlier orders when an order is judged, as `vars.fraud_features` declares it
    (docs/fraud_features.md). `ml/fraud/online_state.py` counts the same from posted events.

    Orders and fraud labels stand in one sequence (int_order_events__numbered): a number's smaller numbers are exactly
    what is earlier than it, and each event knows how many numbers lie before the start of each of its windows. A window
    is then the difference of two running sums, exact for integers, and no row is counted twice for another's sake.
#}
{% macro fraud_features() %}
    {{ return(var('fraud_features')) }}
{% endmacro %}


{% macro day_us() %}86400000000{% endmacro %}


{# The first microsecond of a window at `moment`. A tiled window begins with a whole UTC day. #}
{% macro window_start(window, moment) -%}
    {%- set features = fraud_features() -%}
    {%- set width = features.window_seconds[window] * 1000000 -%}
    {%- if features.window_seconds[window] >= features.tiled_from_seconds -%}
        ({{ moment }} - {{ width }}) - ({{ moment }} - {{ width }}) % {{ day_us() }}
    {%- else -%}
        {{ moment }} - {{ width }}
    {%- endif -%}
{%- endmacro %}


{# The last microsecond at which a window still holds what happened at `moment`. #}
{% macro window_expiry(window, moment) -%}
    {%- set features = fraud_features() -%}
    {%- set width = features.window_seconds[window] * 1000000 -%}
    {%- if features.window_seconds[window] >= features.tiled_from_seconds -%}
        {{ moment }} - {{ moment }} % {{ day_us() }} + {{ width }} + {{ day_us() }} - 1
    {%- else -%}
        {{ moment }} + {{ width }}
    {%- endif -%}
{%- endmacro %}


{# Values of an entity, or of two, in the orders of the step `events` whose features this build writes. #}
{% macro concerned(columns) -%}
    select {{ columns }} from events
    where
        is_order
        {% for column in columns.split(', ') %}and {{ column }} is not null {% endfor %}
        and {{ affected('event', 'moment_us') }}
{%- endmacro %}


{#
    Steps `<entity>_sums` and `<entity>_counts` over the step `events`: the counted features of one entity but its
    fraud rates, which need the shop's. One row per order that names the entity.
#}
{% macro count_entity(entity) %}
{%- set features = fraud_features() -%}
{%- set column = features.entities[entity].column -%}
{%- set windows = features.entities[entity].windows -%}
{%- set all_windows = windows + (features.fraud_windows | reject('in', windows) | list) -%}
{{ entity }}_sums as (
    -- Running sums, the row itself included.
    select
        event_number,
        moment_us,
        is_order,
        {{ column }},
        amount_cents,
        is_failed,
        {% for window in all_windows %}count_before_{{ window }},{% endfor %}
        sum(is_order::integer) over upto as sum_orders,
        sum(amount_cents) over upto as sum_amount_cents,
        sum(amount_cents::hugeint * amount_cents) over upto as sum_squares,
        sum(is_failed::integer) over upto as sum_failed,
        sum((not is_order)::integer) over upto as sum_frauds,
        min(case when is_order then moment_us end) over upto as first_us,
        max(case when is_order then moment_us end) over earlier as last_us
    from events
    where {{ column }} in ({{ concerned(column) }})
    window
        upto as (partition by {{ column }} order by event_number rows unbounded preceding),
        earlier as (
            partition by {{ column }} order by event_number rows between unbounded preceding and 1 preceding
        )
),

{{ entity }}_starts as (
    -- The same sums where a window begins: those of the last row before it.
    select
        *,
        {% for window in all_windows %}
            {% if window in windows %}
                last_value(sum_orders) over before_{{ window }} as sum_orders_{{ window }},
                last_value(sum_amount_cents) over before_{{ window }} as sum_amount_cents_{{ window }},
                last_value(sum_failed) over before_{{ window }} as sum_failed_{{ window }},
            {% endif %}
            {% if window in features.fraud_windows %}
                last_value(sum_frauds) over before_{{ window }} as sum_frauds_{{ window }},
            {% endif %}
        {% endfor %}
        sum_orders - 1 as count_earlier,
        sum_amount_cents - amount_cents as amount_cents_earlier,
        sum_squares - amount_cents::hugeint * amount_cents as squares_earlier
    from {{ entity }}_sums
    window
        {% for window in all_windows %}
            before_{{ window }} as (
                partition by {{ column }} order by event_number
                range between unbounded preceding and event_number - count_before_{{ window }} preceding
            ){{ ',' if not loop.last }}
        {% endfor %}
),

{{ entity }}_counts as (
    select
        event_number,
        moment_us,
        {% for window in windows %}
            (count_earlier - coalesce(sum_orders_{{ window }}, 0))::bigint as count_orders_{{ entity }}_{{ window }},
            (amount_cents_earlier - coalesce(sum_amount_cents_{{ window }}, 0))::bigint
                as amount_cents_{{ entity }}_{{ window }},
            (sum_failed - is_failed::integer - coalesce(sum_failed_{{ window }}, 0))::bigint
                as count_failed_{{ entity }}_{{ window }},
        {% endfor %}
        count_earlier::bigint as count_orders_{{ entity }}_ever,
        case when count_earlier > 0 then (moment_us - first_us) / 1000000 end as seconds_since_first_{{ entity }},
        (moment_us - last_us) / 1000000 as seconds_since_last_{{ entity }},
        amount_cents_earlier / nullif(count_earlier, 0) as mean_amount_cents_{{ entity }}_ever,
        sqrt((count_earlier * squares_earlier - amount_cents_earlier::hugeint * amount_cents_earlier)::double)
        / nullif(count_earlier, 0) as deviation_amount_cents_{{ entity }}_ever,
        {% for window in features.fraud_windows %}
            (sum_frauds - coalesce(sum_frauds_{{ window }}, 0))::bigint as count_frauds_{{ entity }}_{{ window }},
        {% endfor %}
        sum_frauds::bigint as count_frauds_{{ entity }}_ever
    from {{ entity }}_starts
    where is_order and {{ affected('event', 'moment_us') }}
)
{%- endmacro %}


{#
    Steps that end in `<feature>_counts`: how many different values of one entity another was seen with in a window.
    A value counts from its occurrence until the last moment at which a window still holds the newest one.
#}
{% macro count_sharing(sharing) %}
{%- set features = fraud_features() -%}
{%- set entity = features.entities[sharing.entity].column -%}
{%- set of = features.entities[sharing.of].column -%}
{%- set feature = sharing_feature(sharing) -%}
{{ feature }}_seen as (
    select
        event_number,
        moment_us,
        {{ entity }},
        {{ of }} is not null as has_value,
        lag(moment_us) over same_pair as previous_us,
        lead(moment_us) over same_pair as next_us
    from events
    where is_order and {{ entity }} in ({{ concerned(entity) }})
    window same_pair as (partition by {{ entity }}, {{ of }} order by event_number)
),

{{ feature }}_changes as (
    select
        event_number,
        moment_us,
        {{ entity }},
        false as is_expiry,
        (
            has_value
            and coalesce({{ window_expiry(sharing.window, 'previous_us') }} < moment_us, true)
        )::integer as change
    from {{ feature }}_seen
    union all
    select
        event_number,
        {{ window_expiry(sharing.window, 'moment_us') }} as moment_us,
        {{ entity }},
        true as is_expiry,
        -1 as change
    from {{ feature }}_seen
    where has_value and coalesce({{ window_expiry(sharing.window, 'moment_us') }} < next_us, true)
),

{{ feature }}_sums as (
    select
        event_number,
        is_expiry,
        sum(change) over (
            partition by {{ entity }} order by moment_us, is_expiry, event_number
            rows between unbounded preceding and 1 preceding
        ) as count_values
    from {{ feature }}_changes
),

{{ feature }}_counts as (
    select
        event_number,
        least(coalesce(count_values, 0), {{ features.sharing_cap }})::bigint as {{ feature }}
    from {{ feature }}_sums
    where not is_expiry
)
{%- endmacro %}


{% macro sharing_feature(sharing) -%}
    {{ ('count_' ~ sharing.of ~ 's_' ~ sharing.entity ~ '_' ~ sharing.window) | replace('countrys', 'countries') }}
{%- endmacro %}


{# Step `<feature>_counts`: earlier orders with the same two values. #}
{% macro count_pair(pair) %}
{%- set features = fraud_features() -%}
{%- set first = features.entities[pair[0]].column -%}
{%- set second = features.entities[pair[1]].column -%}
{%- set feature = pair_feature(pair) -%}
{{ feature }}_counts as (
    select
        event_number,
        row_number() over (partition by {{ first }}, {{ second }} order by event_number) - 1 as {{ feature }}
    from events
    where is_order and ({{ first }}, {{ second }}) in ({{ concerned(first ~ ', ' ~ second) }})
)
{%- endmacro %}


{% macro pair_feature(pair) -%}
    count_orders_{{ pair[0] }}_{{ pair[1] }}_ever
{%- endmacro %}


{# The model that counts one entity. #}
{% macro counted_model(entity) -%}
    int_order_{{ (entity ~ 's') | replace('countrys', 'countries') | replace('addresss', 'addresses') }}__counted
{%- endmacro %}
