{{ config(materialized='incremental', pre_hook="{{ delete_affected('day', 'order_date') }}") }}
with

order_lines as (
    select * from {{ ref('stg_shop__order_lines') }}
),

orders as (
    select * from {{ ref('int_orders__known') }}
    where {{ affected('day', 'order_date') }}
),

products as (
    select * from {{ ref('stg_shop__products') }}
),

suspect_orders as (
    select * from {{ ref('int_orders__suspected') }}
),

final as (
    select
        order_lines.order_line_id,
        order_lines.order_id,
        orders.customer_id,
        order_lines.product_id,
        orders.store_id,
        orders.ordered_at,
        orders.order_date,
        order_lines.quantity,
        order_lines.amount_cents,
        order_lines.discount_cents,
        products.is_merchandise,
        suspect_orders.order_id is not null as is_suspect,
        order_lines._batch_id
    from order_lines
    inner join orders on order_lines.order_id = orders.order_id
    inner join products on order_lines.product_id = products.product_id
    left join suspect_orders on order_lines.order_id = suspect_orders.order_id
)

select * from final
