{%- set published_by = {
    'customers': 'stg_shop__customers',
    'products': 'stg_shop__products',
    'orders': 'int_orders__known',
    'order_lines': 'int_order_lines__joined',
    'demographics': 'stg_shop__demographics',
    'payments': 'stg_shop__payments',
    'chargebacks': 'stg_shop__chargebacks',
    'refunds': 'stg_shop__refunds',
    'fraud_decisions': 'stg_shop__fraud_decisions',
    'fraud_reviews': 'stg_shop__fraud_reviews',
    'interactions': 'stg_shop__interactions',
    'exposures': 'stg_shop__exposures',
} -%}
{%- set held_by = {'orders': 'int_orders__held', 'order_lines': 'int_order_lines__held'} -%}
{#- No mart reads these yet: what was accepted stands published in the raw version. -#}
{%- set published_raw = [
    'promotions', 'campaigns', 'coupons', 'coupon_redemptions', 'consents',
] -%}
with

batches as (
    select * from {{ source('raw', 'batches') }}
),

accepted as (
    {% for table in (published_by.keys() | list) + published_raw %}
        select
            '{{ table }}' as table_name,
            _batch_id as batch_id,
            count(*) as count_rows
        from {{ source('raw', table) }}
        group by _batch_id
        {{ 'union all' if not loop.last }}
    {% endfor %}
),

newest as (
    {% for table in published_by %}
        select
            '{{ table }}' as table_name,
            _batch_id as batch_id,
            count(*) as count_rows
        from {{ ref('stg_shop__' ~ table) }}
        group by _batch_id
        {{ 'union all' if not loop.last }}
    {% endfor %}
),

superseded as (
    select
        accepted.table_name,
        accepted.batch_id,
        accepted.count_rows - coalesce(newest.count_rows, 0) as count_rows
    from accepted
    left join newest on accepted.table_name = newest.table_name and accepted.batch_id = newest.batch_id
    where
        accepted.table_name in (
            {% for table in published_by %}
                '{{ table }}'{{ ',' if not loop.last }}
            {% endfor %}
        )
),

held as (
    {% for table, model in held_by.items() %}
        select
            '{{ table }}' as table_name,
            _batch_id as batch_id,
            count(*) as count_rows
        from {{ ref(model) }}
        group by _batch_id
        {{ 'union all' if not loop.last }}
    {% endfor %}
),

published as (
    {% for table, model in published_by.items() %}
        select
            '{{ table }}' as table_name,
            _batch_id as batch_id,
            count(*) as count_rows
        from {{ ref(model) }}
        group by _batch_id
        union all
    {% endfor %}
    select * from accepted
    where
        table_name in (
            {% for table in published_raw %}
                '{{ table }}'{{ ',' if not loop.last }}
            {% endfor %}
        )
),

final as (
    select
        batches.table_name,
        batches.batch_id,
        batches.rows_in,
        coalesce(published.count_rows, 0) as rows_published,
        batches.rows_quarantined + coalesce(held.count_rows, 0) as rows_quarantined,
        coalesce(held.count_rows, 0) as rows_held,
        batches.rows_collapsed + coalesce(superseded.count_rows, 0) as rows_collapsed
    from batches
    left join published
        on batches.table_name = published.table_name and batches.batch_id = published.batch_id
    left join held
        on batches.table_name = held.table_name and batches.batch_id = held.batch_id
    left join superseded
        on batches.table_name = superseded.table_name and batches.batch_id = superseded.batch_id
)

select * from final
