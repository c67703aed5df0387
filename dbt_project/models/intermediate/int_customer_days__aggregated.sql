{{ config(materialized='incremental', pre_hook="{{ delete_affected('customer', 'customer_id') }}") }}
with

orders as (
    select * from {{ ref('int_orders__totalled') }}
    where customer_id is not null and not is_suspect and {{ affected('customer', 'customer_id') }}
),

purchases as (
    select * from {{ ref('int_purchases__sequenced') }}
    where customer_id is not null and {{ affected('customer', 'customer_id') }}
),

order_days as (
    select
        customer_id,
        order_date,
        count(*) as count_orders,
        sum(count_lines)::bigint as count_lines,
        sum(amount_cents)::bigint as amount_cents,
        sum(discount_cents)::bigint as discount_cents
    from orders
    group by customer_id, order_date
),

purchase_days as (
    select
        customer_id,
        order_date,
        count(*) as count_products,
        count(previous_date) as count_repeat_products
    from purchases
    group by customer_id, order_date
),

final as (
    select
        order_days.*,
        coalesce(purchase_days.count_products, 0) as count_products,
        coalesce(purchase_days.count_repeat_products, 0) as count_repeat_products,
        lag(order_days.order_date) over same_customer as previous_date
    from order_days
    left join purchase_days
        on
            order_days.customer_id = purchase_days.customer_id
            and order_days.order_date = purchase_days.order_date
    window same_customer as (partition by order_days.customer_id order by order_days.order_date)
)

select * from final
