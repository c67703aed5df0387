with

payments as (
    select * from {{ ref('int_order_payments__judged') }}
),

final as (
    select
        order_id,
        customer_id,
        attempted_at,
        attempt_date,
        amount_cents,
        currency,
        channel,
        instrument_hash,
        device_hash,
        ip_hash,
        ip_country,
        shipping_address_hash,
        billing_address_hash,
        email_domain,
        account_created_at,
        terminal_id,
        first_outcome,
        is_approved,
        count_attempts
    from payments
)

select * from final
