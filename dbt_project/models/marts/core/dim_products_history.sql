with

versions as (
    select * from {{ ref('int_products__versioned') }}
),

final as (
    select
        product_id,
        name,
        brand,
        department,
        category,
        subcategory,
        manufacturer_id,
        package_size,
        is_merchandise,
        valid_from_at,
        valid_to_at,
        is_current
    from versions
)

select * from final
