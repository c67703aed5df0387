{{ config(materialized='incremental', pre_hook="{{ delete_affected('day', 'order_date') }}") }}
with

orders as (
    select * from {{ ref('int_orders__totalled') }}
    where {{ affected('day', 'order_date') }}
),

final as (
    select
        order_id,
        customer_id,
        store_id,
        ordered_at,
        order_date,
        count_lines,
        amount_cents,
        discount_cents,
        currency,
        is_complete,
        is_suspect
    from orders
)

select * from final
