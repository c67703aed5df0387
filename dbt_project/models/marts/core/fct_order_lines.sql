{{ config(materialized='incremental', pre_hook="{{ delete_affected('day', 'order_date') }}") }}
with

order_lines as (
    select * from {{ ref('int_order_lines__joined') }}
    where {{ affected('day', 'order_date') }}
),

final as (
    select
        order_line_id,
        order_id,
        customer_id,
        product_id,
        store_id,
        ordered_at,
        order_date,
        quantity::double as quantity,
        amount_cents,
        discount_cents,
        is_merchandise,
        is_suspect
    from order_lines
)

select * from final
