with

source as (
    select * from {{ source('raw', 'fraud_decisions') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by decision_id order by {{ newest_event_first() }}) = 1
),

final as (
    select
        decision_id,
        order_id,
        decided_at,
        action,
        score,
        would_decline,
        propensity,
        model_version,
        policy_version,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
