with

products as (
    select * from {{ ref('stg_shop__products') }}
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
        is_merchandise
    from products
)

select * from final
