{{ config(materialized='incremental', pre_hook="{{ delete_affected('order_key', 'order_id') }}") }}
with

source as (
    select * from {{ source('raw', 'orders') }}
    where {{ affected('order_key', 'order_id') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by order_id order by {{ newest_event_first() }}) = 1
),

final as (
    select
        order_id,
        customer_id,
        store_id,
        ordered_at,
        _event_date as order_date,
        currency,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
