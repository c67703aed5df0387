with

versions as (
    select * from {{ ref('int_customers__versioned') }}
),

final as (
    select
        customer_id,
        registered_at,
        country,
        has_email,
        valid_from_at,
        valid_to_at,
        is_current
    from versions
)

select * from final
