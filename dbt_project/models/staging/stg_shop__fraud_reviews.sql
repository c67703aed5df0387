with

source as (
    select * from {{ source('raw', 'fraud_reviews') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by review_id order by {{ newest_event_first() }}) = 1
),

final as (
    select
        review_id,
        order_id,
        decided_at,
        verdict,
        analyst,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
