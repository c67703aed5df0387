{{ config(materialized='incremental', pre_hook="{{ delete_affected('as_of', 'as_of_date') }}") }}
with

orders as (
    select * from {{ ref('int_orders__totalled') }}
),

calendar as (
    select * from {{ ref('int_calendar__expanded') }}
),

store_days as (
    select distinct
        customer_id,
        store_id,
        order_date
    from orders
    where store_id is not null and customer_id is not null and not is_suspect
),

visits as (
    select
        store_days.customer_id,
        calendar.as_of_date,
        store_days.store_id,
        count(*) as count_visits,
        max(store_days.order_date) as last_visit_date
    from store_days
    inner join calendar on store_days.order_date = calendar.event_date
    group by store_days.customer_id, calendar.as_of_date, store_days.store_id
),

final as (
    select
        customer_id,
        as_of_date,
        store_id as home_store_id,
        count_visits / sum(count_visits) over same_customer as home_store_share
    from visits
    window same_customer as (partition by customer_id, as_of_date)
    qualify
        row_number() over (
            partition by customer_id, as_of_date
            order by count_visits desc, last_visit_date desc, store_id asc
        ) = 1
)

select * from final
