with

demographics as (
    select * from {{ ref('stg_shop__demographics') }}
),

final as (
    select
        customer_id,
        age_band,
        income_band,
        gender,
        marital_status,
        home_ownership,
        household_size,
        household_composition,
        children_count
    from demographics
)

select * from final
