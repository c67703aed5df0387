{{ config(materialized='incremental', pre_hook="{{ delete_affected('line_key', 'order_line_id') }}") }}
with

source as (
    select * from {{ source('raw', 'order_lines') }}
    where {{ affected('line_key', 'order_line_id') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by order_line_id order by {{ newest_event_first() }}) = 1
),

final as (
    select
        order_line_id,
        order_id,
        product_id,
        -- Exact to the thousandth, so that sums do not depend on the order of addition.
        cast(quantity as decimal(18, 3)) as quantity,
        amount_cents,
        coalesce(discount_cents, 0) as discount_cents,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
