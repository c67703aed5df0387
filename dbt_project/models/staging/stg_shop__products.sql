with

source as (
    select * from {{ source('raw', 'products') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by product_id order by {{ newest_entity_first() }}) = 1
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
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
