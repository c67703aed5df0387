with

customers as (
    select * from {{ ref('stg_shop__customers') }}
),

suspects as (
    select * from {{ ref('int_customers__suspected') }}
),

final as (
    select
        customers.customer_id,
        customers.registered_at,
        suspects.customer_id is not null as is_suspect
    from customers
    left join suspects on customers.customer_id = suspects.customer_id
)

select * from final
