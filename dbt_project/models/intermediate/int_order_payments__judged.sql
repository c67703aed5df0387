with

payments as (
    select * from {{ ref('stg_shop__payments') }}
),

orders as (
    select * from {{ ref('int_orders__known') }}
),

attempts as (
    select
        *,
        bool_or(outcome = 'approved') over (partition by order_id) as is_approved,
        count(*) over (partition by order_id) as count_attempts
    from payments
    qualify row_number() over (partition by order_id order by attempted_at asc, payment_id asc) = 1
),

final as (
    select
        attempts.order_id,
        orders.customer_id,
        attempts.attempted_at,
        attempts.attempt_date,
        attempts.amount_cents,
        attempts.currency,
        attempts.channel,
        attempts.instrument_hash,
        attempts.device_hash,
        attempts.ip_hash,
        attempts.ip_country,
        attempts.shipping_address_hash,
        attempts.billing_address_hash,
        attempts.email_domain,
        attempts.account_created_at,
        attempts.terminal_id,
        attempts.outcome as first_outcome,
        attempts.is_approved,
        attempts.count_attempts
    from attempts
    inner join orders on attempts.order_id = orders.order_id
)

select * from final
