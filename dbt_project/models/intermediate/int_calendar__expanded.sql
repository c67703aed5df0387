{{ config(materialized='view') }}
with

clock as (
    select * from {{ source('raw', 'clock') }}
),

orders as (
    select * from {{ ref('stg_shop__orders') }}
),

history as (
    select
        min(order_date) as first_day,
        (select clock.target_day from clock) as target_day,
        (select clock.timezone from clock) as timezone
    from orders
),

mornings as (
    select
        timezone,
        unnest(generate_series(first_day + 1, target_day + 1, interval 1 day))::date as as_of_date,
        target_day + 1 as newest_as_of_date
    from history
),

as_of_dates as (
    select
        as_of_date,
        as_of_date::timestamp at time zone timezone as feature_at
    from mornings
    where
        (isodow(as_of_date) = 1 or as_of_date = newest_as_of_date)
        and {{ affected('as_of', 'as_of_date') }}
),

final as (
    select
        as_of_dates.as_of_date,
        as_of_dates.feature_at,
        as_of_dates.as_of_date - window_days.days_before::integer as event_date,
        window_days.days_before::integer as days_before
    from as_of_dates
    cross join generate_series(1, {{ var('longest_window_days', 364) }}) as window_days (days_before)
)

select * from final
