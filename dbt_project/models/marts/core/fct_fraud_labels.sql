with

labels as (
    select * from {{ ref('int_fraud_labels__united') }}
),

final as (
    select
        label_id,
        order_id,
        is_fraud,
        known_at,
        label_source
    from labels
)

select * from final
