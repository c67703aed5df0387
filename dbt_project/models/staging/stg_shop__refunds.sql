with

source as (
    select * from {{ source('raw', 'refunds') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by refund_id order by {{ newest_event_first() }}) = 1
),

final as (
    select
        refund_id,
        order_id,
        refunded_at,
        reason,
        amount_cents,
        currency,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
