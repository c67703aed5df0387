with

orders as (
    select * from {{ ref('stg_shop__orders') }}
),

customers as (
    select * from {{ ref('stg_shop__customers') }}
),

final as (
    select
        orders.order_id,
        'unknown_customer' as held_reason,
        orders._batch_id
    from orders
    anti join customers on orders.customer_id = customers.customer_id
    where orders.customer_id is not null
)

select * from final
