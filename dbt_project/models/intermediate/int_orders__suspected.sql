with

orders as (
    select * from {{ ref('int_orders__known') }}
),

frauds as (
    select * from {{ ref('int_fraud_orders__confirmed') }}
),

customers as (
    select * from {{ ref('int_customers__suspected') }}
),

final as (
    select orders.order_id
    from orders
    left join frauds on orders.order_id = frauds.order_id
    left join customers on orders.customer_id = customers.customer_id
    where frauds.order_id is not null or customers.suspect_reason = 'bot_like'
)

select * from final
