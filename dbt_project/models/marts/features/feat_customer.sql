{{ config(pre_hook="{{ delete_affected('as_of', 'as_of_date') }}") }}
with

customer_days as (
    select * from {{ ref('int_customer_days__aggregated') }}
),

purchases as (
    select * from {{ ref('int_purchases__sequenced') }}
),

home_stores as (
    select * from {{ ref('int_customer_stores__ranked') }}
),

calendar as (
    select * from {{ ref('int_calendar__expanded') }}
),

days_before as (
    select
        customer_days.*,
        calendar.as_of_date,
        calendar.feature_at,
        calendar.days_before,
        -- The rhythm counts a gap when both of its ends lie in the window.
        case
            when customer_days.previous_date >= calendar.as_of_date - 364
                then customer_days.order_date - customer_days.previous_date
        end as gap_days
    from customer_days
    inner join calendar on customer_days.order_date = calendar.event_date
),

habits as (
    select
        customer_id,
        as_of_date,
        feature_at,
        coalesce(sum(count_orders) filter (days_before <= 7), 0)::bigint as count_orders_7d,
        coalesce(sum(count_orders) filter (days_before <= 28), 0)::bigint as count_orders_28d,
        coalesce(sum(count_orders) filter (days_before <= 91), 0)::bigint as count_orders_91d,
        sum(count_orders)::bigint as count_orders_364d,
        count(*) filter (days_before <= 28 and count_products > 0) as count_shopping_days_28d,
        count(*) filter (count_products > 0) as count_shopping_days_364d,
        coalesce(sum(count_lines) filter (days_before <= 28), 0)::bigint as count_lines_28d,
        coalesce(sum(amount_cents) filter (days_before <= 28), 0)::bigint as amount_cents_28d,
        coalesce(sum(amount_cents) filter (days_before <= 91), 0)::bigint as amount_cents_91d,
        sum(amount_cents)::bigint as amount_cents_364d,
        min(days_before)::bigint as days_since_last_order,
        median(gap_days) as median_days_between_orders,
        sum(gap_days) / nullif(count(gap_days), 0) as mean_days_between_orders,
        sum(count_repeat_products) filter (days_before <= 91)
        / nullif(sum(count_products) filter (days_before <= 91), 0) as repeat_share_91d,
        sum(count_lines) filter (days_before <= 91)
        / nullif(sum(count_orders) filter (days_before <= 91), 0) as mean_order_lines_91d,
        sum(discount_cents) filter (days_before <= 91)
        / nullif(sum(amount_cents + discount_cents) filter (days_before <= 91), 0) as discount_share_91d,
        count(*) filter (isodow(order_date) >= 6) / count(*) as weekend_share_364d
    from days_before
    group by customer_id, as_of_date, feature_at
),

variety as (
    select
        purchases.customer_id,
        calendar.as_of_date,
        count(*) filter (calendar.days_before <= 91) as count_products_91d,
        count(*) as count_products_364d
    from purchases
    inner join calendar on purchases.order_date = calendar.event_date
    -- The last purchase before the as-of date stands for the product, so that each counts once.
    where
        purchases.customer_id is not null
        and (purchases.next_date is null or purchases.next_date >= calendar.as_of_date)
    group by purchases.customer_id, calendar.as_of_date
),

final as (
    select
        habits.*,
        coalesce(variety.count_products_91d, 0) as count_products_91d,
        coalesce(variety.count_products_364d, 0) as count_products_364d,
        home_stores.home_store_id,
        home_stores.home_store_share as home_store_share_364d
    from habits
    left join variety
        on habits.customer_id = variety.customer_id and habits.as_of_date = variety.as_of_date
    left join home_stores
        on habits.customer_id = home_stores.customer_id and habits.as_of_date = home_stores.as_of_date
)

select * from final
