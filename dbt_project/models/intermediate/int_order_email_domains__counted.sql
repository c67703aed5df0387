{{ config(materialized='incremental', pre_hook="{{ delete_affected('event', 'moment_us') }}") }}
with

events as (
    select * from {{ ref('int_order_events__numbered') }}
),

{{ count_entity('email_domain') }},

final as (
    select * from email_domain_counts
)

select * from final
