with

source as (
    select * from {{ source('raw', 'interactions') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by interaction_id order by {{ newest_event_first() }}) = 1
),

final as (
    select
        interaction_id,
        customer_id,
        product_id,
        occurred_at,
        _event_date as interaction_date,
        interaction_type,
        exposure_id,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
