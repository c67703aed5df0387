{%- set features = fraud_features() -%}
with

payments as (
    select * from {{ ref('int_order_payments__judged') }}
),

labels as (
    select * from {{ ref('int_fraud_labels__united') }}
),

frauds as (
    select
        order_id,
        min(known_at) as known_at
    from labels
    where is_fraud
    group by order_id
),

events as (
    select
        order_id,
        epoch_us(attempted_at) as moment_us,
        true as is_order,
        amount_cents,
        first_outcome <> 'approved' as is_failed,
        {% for entity in features.entities.values() %}{{ entity.column }}{{ ', ' if not loop.last }}{% endfor %}
    from payments
    union all
    select
        frauds.order_id,
        -- Known before the order itself: from the order on.
        epoch_us(greatest(frauds.known_at, payments.attempted_at)) as moment_us,
        false as is_order,
        0 as amount_cents,
        false as is_failed,
        {% for entity in features.entities.values() %}
            payments.{{ entity.column }}{{ ',' if not loop.last }}
        {% endfor %}
    from frauds
    inner join payments on frauds.order_id = payments.order_id
),

numbered as (
    select
        *,
        -- What becomes known at the moment of an order is not yet known to it.
        row_number() over (order by moment_us, not is_order, order_id) as event_number
    from events
),

moments as (
    select
        moment_us,
        max(event_number) as last_number
    from numbered
    group by moment_us
),

{% for window in features.window_seconds %}
    starts_{{ window }} as (
        select
            moments.moment_us,
            coalesce(earlier.last_number, 0) as count_before
        from moments
        asof left join moments as earlier
            on {{ window_start(window, 'moments.moment_us') }} > earlier.moment_us
    ),
{% endfor %}

final as (
    select
        numbered.*,
        {% for window in features.window_seconds %}
            starts_{{ window }}.count_before as count_before_{{ window }}{{ ',' if not loop.last }}
        {% endfor %}
    from numbered
    {% for window in features.window_seconds %}
        inner join starts_{{ window }} on numbered.moment_us = starts_{{ window }}.moment_us
    {% endfor %}
)

select * from final
