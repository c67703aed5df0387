with

interactions as (
    select * from {{ ref('stg_shop__interactions') }}
),

orders as (
    select * from {{ ref('int_orders__known') }}
),

frauds as (
    select * from {{ ref('int_fraud_orders__confirmed') }}
),

busy_hours as (
    select
        customer_id,
        interaction_date
    from interactions
    where customer_id is not null
    group by customer_id, interaction_date, date_trunc('hour', occurred_at)
    having count(*) > {{ var('bot_interactions_an_hour') }}
),

bots as (
    select distinct busy_hours.customer_id
    from busy_hours
    anti join orders
        on busy_hours.customer_id = orders.customer_id and busy_hours.interaction_date = orders.order_date
),

-- One order that was not the customer's own does not make the customer a suspect.
defrauders as (
    select orders.customer_id
    from orders
    left join frauds on orders.order_id = frauds.order_id
    where orders.customer_id is not null
    group by orders.customer_id
    having bool_and(frauds.order_id is not null)
),

final as (
    select
        coalesce(bots.customer_id, defrauders.customer_id) as customer_id,
        case when bots.customer_id is null then 'only_fraud' else 'bot_like' end as suspect_reason
    from bots
    full join defrauders on bots.customer_id = defrauders.customer_id
)

select * from final
