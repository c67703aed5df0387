with

customers as (
    select * from {{ ref('stg_shop__customers') }}
),

final as (
    select
        customer_id,
        registered_at
    from customers
)

select * from final
