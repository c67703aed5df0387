with

chargebacks as (
    select * from {{ ref('stg_shop__chargebacks') }}
),

refunds as (
    select * from {{ ref('stg_shop__refunds') }}
),

reviews as (
    select * from {{ ref('stg_shop__fraud_reviews') }}
),

final as (
    select
        'chargeback:' || chargeback_id as label_id,
        order_id,
        true as is_fraud,
        reported_at as known_at,
        'chargeback' as label_source
    from chargebacks
    -- One that does not say what it claims counts as fraud.
    where coalesce(is_fraud, true)
    union all
    select
        'refund:' || refund_id as label_id,
        order_id,
        true as is_fraud,
        refunded_at as known_at,
        'refund' as label_source
    from refunds
    where reason = 'fraud'
    union all
    select
        'review:' || review_id as label_id,
        order_id,
        verdict = 'fraud' as is_fraud,
        decided_at as known_at,
        'review' as label_source
    from reviews
)

select * from final
