with

decisions as (
    select * from {{ ref('stg_shop__fraud_decisions') }}
),

final as (
    select
        order_id,
        decision_id,
        decided_at,
        action,
        score,
        would_decline,
        propensity,
        model_version,
        policy_version
    from decisions
    qualify row_number() over (partition by order_id order by decided_at desc, decision_id desc) = 1
)

select * from final
