{{ config(materialized='incremental', pre_hook="{{ delete_affected('day', 'order_date') }}") }}
with

orders as (
    select * from {{ ref('int_orders__known') }}
    where {{ affected('day', 'order_date') }}
),

order_lines as (
    select * from {{ ref('int_order_lines__joined') }}
    where {{ affected('day', 'order_date') }}
),

held_lines as (
    select * from {{ ref('int_order_lines__held') }}
),

set_aside_lines as (
    select * from {{ source('raw', 'set_aside_order_lines') }}
),

suspect_orders as (
    select * from {{ ref('int_orders__suspected') }}
),

totals as (
    select
        order_id,
        count(*) as count_lines,
        sum(amount_cents)::bigint as amount_cents,
        sum(discount_cents)::bigint as discount_cents
    from order_lines
    group by order_id
),

set_aside_orders as (
    select order_id
    from set_aside_lines
    group by order_id
    -- A line that came back from quarantine counts -1. Batches of older versions have no counts, only lines set aside.
    having sum(coalesce(lines, 1)) > 0
),

missing_lines as (
    select order_id from held_lines
    union
    select order_id from set_aside_orders
),

final as (
    select
        orders.order_id,
        orders.customer_id,
        orders.store_id,
        orders.ordered_at,
        orders.order_date,
        coalesce(totals.count_lines, 0) as count_lines,
        coalesce(totals.amount_cents, 0) as amount_cents,
        coalesce(totals.discount_cents, 0) as discount_cents,
        orders.currency,
        missing_lines.order_id is null as is_complete,
        suspect_orders.order_id is not null as is_suspect
    from orders
    left join totals on orders.order_id = totals.order_id
    left join missing_lines on orders.order_id = missing_lines.order_id
    left join suspect_orders on orders.order_id = suspect_orders.order_id
)

select * from final
