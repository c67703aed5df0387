with

source as (
    select * from {{ source('raw', 'payments') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by payment_id order by {{ newest_event_first() }}) = 1
),

final as (
    select
        payment_id,
        order_id,
        attempted_at,
        _event_date as attempt_date,
        instrument_hash,
        device_hash,
        ip_hash,
        ip_country,
        shipping_address_hash,
        billing_address_hash,
        email_domain,
        account_created_at,
        channel,
        terminal_id,
        amount_cents,
        currency,
        outcome,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final
