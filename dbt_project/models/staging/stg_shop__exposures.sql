with

source as (
    select * from {{ source('raw', 'exposures') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by exposure_id, rank order by {{ newest_event_first() }}) = 1
),

final as (
    select
        exposure_id,
        rank,
        customer_id,
        product_id,
        shown_at,
        _event_date as exposure_date,
        placement,
        step,
        model_version,
        policy_version,
        propensity,
        is_explored,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
