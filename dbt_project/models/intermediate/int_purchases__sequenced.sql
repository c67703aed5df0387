{{ config(
    materialized='incremental',
    pre_hook=["{{ note_affected_purchases() }}", "{{ delete_affected('purchase', 'buyer_id, is_guest, product_id') }}"]
) }}
with

order_lines as (
    select
        *,
        -- A guest's order is a buyer of its own.
        coalesce(customer_id, order_id) as buyer_id,
        customer_id is null as is_guest
    from {{ ref('int_order_lines__joined') }}
    where is_merchandise and not is_suspect
),

purchases as (
    select
        buyer_id,
        is_guest,
        customer_id,
        product_id,
        order_date,
        count(distinct order_id) as count_orders,
        count(*) as count_lines,
        sum(quantity)::decimal(18, 3) as quantity,
        sum(amount_cents)::bigint as amount_cents,
        sum(discount_cents)::bigint as discount_cents
    from order_lines
    where {{ affected('purchase', 'buyer_id, is_guest, product_id') }}
    group by buyer_id, is_guest, customer_id, product_id, order_date
),

final as (
    select
        *,
        lag(order_date) over same_product as previous_date,
        -- Only ever compared with an as-of date that it does not precede: it marks the last purchase before that date.
        lead(order_date) over same_product as next_date
    from purchases
    window same_product as (partition by buyer_id, is_guest, product_id order by order_date)
)

select * from final
