{{ config(materialized='view') }}
with

orders as (
    select * from {{ ref('stg_shop__orders') }}
),

customers as (
    select * from {{ ref('stg_shop__customers') }}
),

final as (
    select orders.*
    from orders
    left join customers on orders.customer_id = customers.customer_id
    -- A guest's order names nobody whom the shop would have to report.
    where orders.customer_id is null or customers.customer_id is not null
)

select * from final
