with

labels as (
    select * from {{ ref('int_fraud_labels__united') }}
),

-- What the shop was charged or gave back for stays fraud; of analysts' verdicts the newest counts.
verdicts as (
    select
        order_id,
        is_fraud
    from labels
    qualify
        row_number() over (
            partition by order_id order by label_source = 'review' asc, known_at desc, label_id desc
        ) = 1
),

final as (
    select order_id from verdicts
    where is_fraud
)

select * from final
