{#
    What new batches can have changed. A full build affects everything.

    Each kind of thing has a function in the database, `build_state.is_affected_<kind>(...)`: always true in a full
    build, membership of a small table in an incremental one. A model filters by it and, before it appends, deletes by
    it; so its SQL, and with it a feature's fingerprint, is the same in both.

    kind        arguments                       affected are
    order_key   order_id                        orders of which a version arrived
    line_key    order_line_id                   lines of which a version arrived
    order       order_id                        those, and orders whose lines, customer, products or set-aside lines
                                                arrived, changed or vanished
    day         order_date                      the days, old and new, of affected orders
    customer    customer_id                     the customers, old and new, of affected orders
    purchase    buyer_id, is_guest, product_id  who bought what on an affected day, old and new
    as_of       as_of_date                      the mornings after the first affected day, and those not built yet
    event       moment_us                       orders and labels from the first moment on at which a payment or a fraud
                                                label arrived, changed or vanished: what counts earlier ones
#}
{% macro affected(kind, columns) -%}
    build_state.is_affected_{{ kind }}({{ columns }})
{%- endmacro %}


{# As a model's first step in its transaction: takes out the rows that it then appends anew. #}
{% macro delete_affected(kind, columns) -%}
    {% if is_incremental() %}delete from {{ this }} where {{ affected(kind, columns) }}{% endif %}
{%- endmacro %}


{% macro affected_kinds() %}
    {{ return({
        'order_key': 'order_id', 'line_key': 'order_line_id', 'order': 'order_id', 'day': 'order_date',
        'customer': 'customer_id', 'purchase': 'buyer_id, is_guest, product_id', 'as_of': 'as_of_date',
        'event': 'moment_us',
    }) }}
{% endmacro %}


{% macro affect_everything() %}
    {% for kind, columns in affected_kinds().items() %}
        {% do run_query('create or replace macro build_state.is_affected_' ~ kind ~ '(' ~ columns ~ ') as true') %}
    {% endfor %}
{% endmacro %}


{#
    What the data tests have to look at: `build_state.is_untested_<kind>(...)` is everything, or what is affected when
    the tests of an earlier build have passed the rest.
#}
{% macro find_untested(everything) %}
    {% for kind, columns in affected_kinds().items() %}
        {% set arguments = columns.replace(',', '_,') ~ '_' %}
        {% do run_query(
            'create or replace macro build_state.is_untested_' ~ kind ~ '(' ~ arguments ~ ') as '
            ~ ('true' if everything else 'build_state.is_affected_' ~ kind ~ '(' ~ arguments ~ ')')
        ) %}
    {% endfor %}
{% endmacro %}


{% macro tests_everything() %}
    {% if not execute %}{{ return(true) }}{% endif %}
    {# `dbt compile` may come before the first build. #}
    {% set runs = "select 1 from duckdb_tables() where schema_name = 'build_state' and table_name = 'run'" %}
    {% if run_query(runs).rows | length == 0 %}{{ return(true) }}{% endif %}
    {{ return(run_query('select tests_everything from build_state.run').rows[0][0]) }}
{% endmacro %}


{#
    Fills the tables of what is affected. The staging tables are still those of the last build: what a key was before
    stands there, what it is by this build is that or one of the new rows.
#}
{% macro find_affected(built_up_to) %}
    {% for table in (
        'customers', 'products', 'orders', 'order_lines', 'set_aside_order_lines', 'interactions', 'payments',
        'chargebacks', 'refunds', 'fraud_reviews',
    ) %}
        {% do run_query(new_rows(table)) %}
    {% endfor %}
    {% for kind, query in affected_queries().items() %}
        {% do run_query('create or replace table build_state.affected_' ~ kind ~ ' as ' ~ query) %}
        {% do run_query(affected_function(kind, affected_kinds()[kind])) %}
    {% endfor %}
    {% set first_day = run_query("select least((select min(order_date) from build_state.affected_day), date '" ~ built_up_to ~ "')::varchar").rows[0][0] %}
    {% do run_query(
        "create or replace macro build_state.is_affected_as_of(as_of_date) as as_of_date > date '" ~ first_day ~ "'"
    ) %}
    {% set first_moment = run_query(first_affected_moment()).rows[0][0] %}
    {% do run_query(
        "create or replace macro build_state.is_affected_event(moment_us) as moment_us >= " ~ first_moment
    ) %}
{% endmacro %}


{% macro affected_function(kind, columns) %}
    create or replace macro build_state.is_affected_{{ kind }}({{ columns.replace(',', '_,') }}_) as
    ({{ columns.replace(',', '_,') }}_) in (select {{ columns }} from build_state.affected_{{ kind }})
{% endmacro %}


{# Rows of the batches that the last build did not know. #}
{% macro new_rows(table) %}
    {% set files = run_query("select file from build_state.new_parts where table_name = '" ~ table ~ "'").columns[0].values() %}
    create or replace view build_state.new_{{ table }} as
    {% if files %}
        select * from read_parquet([{% for file in files %}'{{ file }}'{{ ', ' if not loop.last }}{% endfor %}], union_by_name = true)
    {% else %}
        select * from raw.{{ table }} where false
    {% endif %}
{% endmacro %}


{% macro affected_queries() %}
    {% set orders = graph.nodes['model.shopwright.stg_shop__orders'].relation_name %}
    {% set lines = graph.nodes['model.shopwright.stg_shop__order_lines'].relation_name %}
    {% set line_key %}
        select distinct order_line_id from build_state.new_order_lines
    {% endset %}
    {% set order_key %}
        select distinct order_id from build_state.new_orders
    {% endset %}
    {% set order %}
        with
        changed_customers as (
            {{ changed_entities('customers', 'customer_id', []) }}
        ),
        changed_products as (
            {{ changed_entities('products', 'product_id', ['is_merchandise']) }}
        )
        select order_id from build_state.new_orders
        union
        select order_id from build_state.new_order_lines
        union
        select order_id from {{ lines }} where order_line_id in (from build_state.affected_line_key)
        union
        select order_id from {{ orders }} where customer_id in (from changed_customers)
        union
        select order_id from {{ lines }} where product_id in (from changed_products)
        union
        select order_id from build_state.new_set_aside_order_lines
        union
        {{ orders_perhaps_suspect() }}
    {% endset %}
    {% set day %}
        select _event_date as order_date from build_state.new_orders
        union
        select order_date from {{ orders }} where order_id in (from build_state.affected_order)
    {% endset %}
    {% set customer %}
        select customer_id from build_state.new_orders where customer_id is not null
        union
        select customer_id from {{ orders }}
        where order_id in (from build_state.affected_order) and customer_id is not null
    {% endset %}
    {# Filled by int_purchases__sequenced, once the lines of the affected days are there. #}
    {% set purchase %}
        select '' as buyer_id, false as is_guest, '' as product_id where false
    {% endset %}
    {{ return({
        'line_key': line_key, 'order_key': order_key, 'order': order, 'day': day, 'customer': customer,
        'purchase': purchase,
    }) }}
{% endmacro %}


{# Orders that new labels or interactions can make suspect, or clear. #}
{% macro orders_perhaps_suspect() %}
    {% for table, key in fraud_label_tables().items() %}
        select order_id from build_state.new_{{ table }}
        {% if table == 'refunds' %}where reason = 'fraud'{% endif %}
        union
        select order_id
        from {{ graph.nodes['model.shopwright.stg_shop__' ~ table].relation_name }}
        where {{ key }} in (select {{ key }} from build_state.new_{{ table }})
        union
    {% endfor %}
    select order_id
    from {{ graph.nodes['model.shopwright.stg_shop__orders'].relation_name }}
    where customer_id in (
        select customer_id
        from raw.interactions
        where
            customer_id in (
                select customer_id from build_state.new_interactions
                union
                select customer_id from build_state.new_orders
            )
        group by customer_id, date_trunc('hour', occurred_at)
        having count(*) > {{ var('bot_interactions_an_hour') }}
    )
{% endmacro %}


{% macro fraud_label_tables() %}
    {{ return({'chargebacks': 'chargeback_id', 'refunds': 'refund_id', 'fraud_reviews': 'review_id'}) }}
{% endmacro %}


{# The first moment of what was paid or labelled otherwise than the last build knew, in microseconds. #}
{% macro first_affected_moment() %}
    {% set known_at = {'chargebacks': 'reported_at', 'refunds': 'refunded_at', 'fraud_reviews': 'decided_at'} %}
    with
    changed_customers as (
        {{ changed_entities('customers', 'customer_id', []) }}
    ),
    changed_orders as (
        select order_id from build_state.new_payments
        union
        select order_id
        from {{ graph.nodes['model.shopwright.stg_shop__payments'].relation_name }}
        where payment_id in (select payment_id from build_state.new_payments)
        union
        select order_id from build_state.new_orders
        union
        select order_id
        from {{ graph.nodes['model.shopwright.stg_shop__orders'].relation_name }}
        where customer_id in (from changed_customers)
    ),
    -- Raw holds every report of a row, so also what a newer one replaces.
    moments as (
        select attempted_at as moment from raw.payments where order_id in (from changed_orders)
        {% for table, key in fraud_label_tables().items() %}
            union all
            select {{ known_at[table] }} from raw.{{ table }}
            where
                order_id in (from changed_orders)
                or {{ key }} in (select {{ key }} from build_state.new_{{ table }})
        {% endfor %}
    )
    select coalesce(epoch_us(min(moment)), 9223372036854775807) from moments
{% endmacro %}


{# Keys of an entity table that appeared, vanished, or whose `watched` columns say something else. #}
{% macro changed_entities(table, key, watched) %}
    select coalesce(newest.{{ key }}, before.{{ key }}) as {{ key }}
    from (
        select *
        from raw.{{ table }}
        where {{ key }} in (select {{ key }} from build_state.new_{{ table }})
        qualify row_number() over (partition by {{ key }} order by {{ newest_entity_first() }}) = 1
    ) as newest
    left join {{ graph.nodes['model.shopwright.stg_shop__' ~ table].relation_name }} as before
        on newest.{{ key }} = before.{{ key }}
    where
        (newest._op is not distinct from 'delete') is distinct from (before.{{ key }} is null)
        {% for column in watched %}
            or (before.{{ key }} is not null and newest.{{ column }} is distinct from before.{{ column }})
        {% endfor %}
{% endmacro %}


{# Who bought what on an affected day, before and after: a purchase changes what its neighbours in time know of it. #}
{% macro note_affected_purchases() -%}
    {% if is_incremental() %}
        create or replace table build_state.affected_purchase as
        select buyer_id, is_guest, product_id
        from {{ this }}
        where {{ affected('day', 'order_date') }}
        union
        select coalesce(customer_id, order_id), customer_id is null, product_id
        from {{ ref('int_order_lines__joined') }}
        where is_merchandise and {{ affected('day', 'order_date') }}
    {% endif %}
{%- endmacro %}
