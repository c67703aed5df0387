{{ config(materialized='incremental', pre_hook="{{ delete_affected('order', 'order_id') }}") }}
with

order_lines as (
    select * from {{ ref('stg_shop__order_lines') }}
    where {{ affected('order', 'order_id') }}
),

orders as (
    select * from {{ ref('int_orders__known') }}
),

products as (
    select * from {{ ref('stg_shop__products') }}
),

final as (
    select
        order_lines.order_line_id,
        order_lines.order_id,
        case when orders.order_id is null then 'unknown_order' else 'unknown_product' end as held_reason,
        order_lines._batch_id
    from order_lines
    left join orders on order_lines.order_id = orders.order_id
    left join products on order_lines.product_id = products.product_id
    where orders.order_id is null or products.product_id is null
)

select * from final
