with

order_lines as (
    select * from {{ ref('int_order_lines__joined') }}
),

purchases as (
    select
        customer_id,
        product_id,
        order_date,
        count(distinct order_id) as count_orders,
        count(*) as count_lines,
        sum(quantity)::decimal(18, 3) as quantity,
        sum(amount_cents)::bigint as amount_cents,
        sum(discount_cents)::bigint as discount_cents
    from order_lines
    where is_merchandise
    group by customer_id, product_id, order_date
),

final as (
    select
        *,
        lag(order_date) over same_product as previous_date,
        -- Only ever compared with an as-of date that it does not precede: it marks the last purchase before that date.
        lead(order_date) over same_product as next_date
    from purchases
    window same_product as (partition by customer_id, product_id order by order_date)
)

select * from final
