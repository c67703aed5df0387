with

source as (
    select * from {{ source('raw', 'demographics') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by customer_id order by {{ newest_entity_first() }}) = 1
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
        children_count,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
