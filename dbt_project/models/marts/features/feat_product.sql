{{ config(pre_hook="{{ delete_affected('as_of', 'as_of_date') }}") }}
with

purchases as (
    select * from {{ ref('int_purchases__sequenced') }}
),

calendar as (
    select * from {{ ref('int_calendar__expanded') }}
),

first_sales as (
    select
        product_id,
        min(order_date) as first_sale_date
    from purchases
    group by product_id
),

days_before as (
    select
        purchases.*,
        calendar.as_of_date,
        calendar.feature_at,
        calendar.days_before,
        -- The last purchase before the as-of date stands for the buyer, so that each counts once.
        purchases.next_date is null or purchases.next_date >= calendar.as_of_date as is_buyers_last,
        purchases.previous_date >= calendar.as_of_date - 91 as is_repeat
    from purchases
    inner join calendar on purchases.order_date = calendar.event_date
    where calendar.days_before <= 91
),

sales as (
    select
        product_id,
        as_of_date,
        feature_at,
        coalesce(sum(count_orders) filter (days_before <= 7), 0)::bigint as count_orders_7d,
        coalesce(sum(count_orders) filter (days_before <= 28), 0)::bigint as count_orders_28d,
        sum(count_orders)::bigint as count_orders_91d,
        count(*) filter (days_before <= 28) as count_shopping_days_28d,
        count(*) as count_shopping_days_91d,
        count(*) filter (is_buyers_last and days_before <= 28) as count_customers_28d,
        count(*) filter (is_buyers_last) as count_customers_91d,
        coalesce(sum(amount_cents) filter (days_before <= 28), 0)::bigint as amount_cents_28d,
        sum(amount_cents) filter (days_before <= 28)
        / nullif(sum(quantity) filter (days_before <= 28), 0)::double as mean_unit_price_cents_28d,
        sum(discount_cents) filter (days_before <= 28)
        / nullif(sum(amount_cents + discount_cents) filter (days_before <= 28), 0) as discount_share_28d,
        -- 1 when the last week sold as fast as the last four.
        4 * coalesce(sum(count_orders) filter (days_before <= 7), 0)
        / nullif(sum(count_orders) filter (days_before <= 28), 0) as trend_ratio_7d_28d,
        count(*) filter (is_buyers_last and is_repeat)
        / nullif(count(*) filter (is_buyers_last), 0) as repeat_customer_share_91d,
        sum(order_date - previous_date) filter (is_repeat)
        / nullif(count(*) filter (is_repeat), 0) as mean_days_between_purchases_91d
    from days_before
    group by product_id, as_of_date, feature_at
),

final as (
    select
        sales.*,
        sales.as_of_date - first_sales.first_sale_date as days_since_first_sale
    from sales
    inner join first_sales on sales.product_id = first_sales.product_id
)

select * from final
