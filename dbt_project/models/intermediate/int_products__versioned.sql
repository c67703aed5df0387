with

source as (
    select
        *,
        coalesce(_op = 'delete', false) as is_deleted,
        coalesce(updated_at, cast(_batch_date as timestamptz)) as reported_at
    from {{ source('raw', 'products') }}
),

reported as (
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
        is_deleted,
        reported_at
    from source
    qualify
        row_number() over (partition by product_id, reported_at order by {{ newest_entity_first() }}) = 1
),

described as (
    select
        *,
        (
            name, brand, department, category, subcategory, manufacturer_id, package_size, is_merchandise, is_deleted
        ) as attributes
    from reported
),

compared as (
    select
        *,
        row_number() over same_product as report_number,
        lag(attributes) over same_product as attributes_before
    from described
    window same_product as (partition by product_id order by reported_at)
),

changed as (
    select *
    from compared
    where report_number = 1 or attributes is distinct from attributes_before
),

versions as (
    select
        *,
        -- How long the first known version had been true is not known: it counts for all the time before.
        case when report_number > 1 then reported_at end as valid_from_at,
        lead(reported_at) over same_product as valid_to_at
    from changed
    window same_product as (partition by product_id order by reported_at)
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
        valid_to_at is null as is_current
    from versions
    where not is_deleted
)

select * from final
