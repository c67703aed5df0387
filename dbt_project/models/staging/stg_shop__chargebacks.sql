with

source as (
    select * from {{ source('raw', 'chargebacks') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by chargeback_id order by {{ newest_event_first() }}) = 1
),

final as (
    select
        chargeback_id,
        order_id,
        reported_at,
        reason,
        is_fraud,
        amount_cents,
        currency,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
