{{ config(materialized='incremental', pre_hook="{{ delete_affected('event', 'moment_us') }}") }}
with

events as (
    select * from {{ ref('int_order_events__numbered') }}
),

{{ count_entity('customer') }},

final as (
    select * from customer_counts
)

select * from final
