-- Features of a customer and a product as of the start of shop day $as_of_date, from days before it only.
-- Reads the mart fct_order_lines and dim_products, and the relation `candidates` (customer_id, product_id)
-- that the caller registers. A trip is a customer-day with a purchase of merchandise.
-- One row per candidate pair.
with

order_lines as (
    select
        customer_id,
        product_id,
        coalesce(store_id, '') as store_id,
        order_date,
        quantity,
        amount_cents,
        discount_cents
    from fct_order_lines
    where is_merchandise and not is_suspect and quantity > 0 and order_date < $as_of_date
),

asked_pairs as (
    select distinct
        customer_id,
        product_id
    from candidates
),

asked_customers as (
    select distinct customer_id from asked_pairs
),

products as (
    select
        product_id,
        subcategory,
        category,
        manufacturer_id
    from dim_products
),

purchases as (
    select
        order_lines.customer_id,
        order_lines.product_id,
        order_lines.order_date,
        sum(order_lines.quantity) as quantity,
        sum(order_lines.amount_cents) as amount_cents,
        sum(coalesce(order_lines.discount_cents, 0)) as discount_cents
    from order_lines
    inner join asked_customers on order_lines.customer_id = asked_customers.customer_id
    group by order_lines.customer_id, order_lines.product_id, order_lines.order_date
),

shopping_days as (
    select distinct
        customer_id,
        order_date
    from purchases
),

trips as (
    select
        customer_id,
        order_date,
        row_number() over (partition by customer_id order by order_date desc) - 1 as trips_ago
    from shopping_days
),

customer_trips as (
    select
        customer_id,
        count(*) as count_trips,
        count(*) filter (order_date >= $as_of_date - 84) as count_trips_84d
    from shopping_days
    group by customer_id
),

described_purchases as (
    select
        purchases.customer_id,
        purchases.product_id,
        purchases.order_date,
        purchases.quantity,
        purchases.amount_cents,
        purchases.discount_cents,
        trips.trips_ago,
        date_diff('day', purchases.order_date, $as_of_date) as days_ago,
        products.subcategory,
        products.category,
        products.manufacturer_id
    from purchases
    inner join trips
        on purchases.customer_id = trips.customer_id and purchases.order_date = trips.order_date
    left join products on purchases.product_id = products.product_id
),

asked_purchases as (
    select described_purchases.*
    from described_purchases
    inner join asked_pairs
        on
            described_purchases.customer_id = asked_pairs.customer_id
            and described_purchases.product_id = asked_pairs.product_id
),

pair_purchases as (
    select
        *,
        date_diff('day', lag(order_date) over bought, order_date) as gap_days,
        lag(trips_ago) over bought - trips_ago as gap_trips
    from asked_purchases
    window bought as (partition by customer_id, product_id order by order_date)
),

pair_habits as (
    select
        customer_id,
        product_id,
        count(*) as count_purchases,
        count(*) filter (days_ago <= 28) as count_purchases_28d,
        count(*) filter (days_ago <= 84) as count_purchases_84d,
        min(days_ago) as days_since_last_purchase,
        min(trips_ago) as trips_since_last_purchase,
        sum(power(0.95, trips_ago)) as recency_weight_95,
        sum(power(0.80, trips_ago)) as recency_weight_80,
        sum(power(0.99, trips_ago)) as recency_weight_99,
        sum(power(0.98, days_ago)) as recency_weight_daily_98,
        avg(gap_days) as mean_gap_days,
        stddev_pop(gap_days) as std_gap_days,
        arg_max(gap_days, order_date) as last_gap_days,
        avg(gap_trips) as mean_gap_trips,
        arg_max(quantity, order_date) as last_quantity,
        avg(quantity) as mean_quantity,
        sum(discount_cents) / nullif(sum(discount_cents + amount_cents), 0) as discount_share
    from pair_purchases
    group by customer_id, product_id
),

subcategory_days as (
    select
        customer_id,
        subcategory,
        trips_ago,
        days_ago,
        count(*) as count_products
    from described_purchases
    where subcategory is not null
    group by customer_id, subcategory, trips_ago, days_ago
),

subcategory_habits as (
    select
        customer_id,
        subcategory,
        min(days_ago) as subcategory_days_since_last_purchase,
        sum(count_products) as count_subcategory_purchases,
        count(*) as count_subcategory_trips,
        sum(power(0.95, trips_ago)) as subcategory_recency_weight,
        (max(days_ago) - min(days_ago)) / nullif(count(*) - 1, 0) as mean_subcategory_gap_days
    from subcategory_days
    group by customer_id, subcategory
),

category_habits as (
    select
        customer_id,
        category,
        sum(power(0.95, trips_ago)) as category_recency_weight
    from described_purchases
    where category is not null
    group by customer_id, category
),

manufacturer_habits as (
    select
        customer_id,
        manufacturer_id,
        sum(power(0.95, trips_ago)) as manufacturer_recency_weight
    from described_purchases
    where manufacturer_id is not null
    group by customer_id, manufacturer_id
),

customer_stores as (
    select
        order_lines.customer_id,
        order_lines.store_id,
        count(distinct order_lines.order_date) as count_days,
        max(order_lines.order_date) as last_date
    from order_lines
    inner join asked_customers on order_lines.customer_id = asked_customers.customer_id
    group by order_lines.customer_id, order_lines.store_id
),

-- The store of most trips; ties go to the store with the later trip, then to the larger id.
home_stores as (
    select
        customer_id,
        arg_max(store_id, (count_days, last_date, store_id)) as store_id
    from customer_stores
    group by customer_id
),

store_products as (
    select
        store_id,
        product_id,
        count(distinct customer_id) as count_store_customers_28d,
        count(distinct customer_id) filter (order_date >= $as_of_date - 7) as count_store_customers_7d
    from order_lines
    where order_date >= $as_of_date - 28
    group by store_id, product_id
),

stores as (
    select
        store_id,
        count(distinct customer_id) as count_customers_28d
    from order_lines
    where order_date >= $as_of_date - 28
    group by store_id
),

final as (
    select
        asked_pairs.customer_id,
        asked_pairs.product_id,
        coalesce(pair_habits.count_purchases, 0) as count_purchases,
        coalesce(pair_habits.count_purchases_28d, 0) as count_purchases_28d,
        coalesce(pair_habits.count_purchases_84d, 0) as count_purchases_84d,
        coalesce(pair_habits.count_purchases, 0) / customer_trips.count_trips as trip_share,
        coalesce(pair_habits.count_purchases_84d, 0) / nullif(customer_trips.count_trips_84d, 0) as trip_share_84d,
        pair_habits.days_since_last_purchase,
        pair_habits.trips_since_last_purchase,
        coalesce(pair_habits.recency_weight_95, 0) as recency_weight_95,
        coalesce(pair_habits.recency_weight_80, 0) as recency_weight_80,
        coalesce(pair_habits.recency_weight_99, 0) as recency_weight_99,
        coalesce(pair_habits.recency_weight_daily_98, 0) as recency_weight_daily_98,
        pair_habits.mean_gap_days,
        pair_habits.std_gap_days,
        pair_habits.last_gap_days,
        pair_habits.mean_gap_trips,
        pair_habits.days_since_last_purchase / nullif(pair_habits.mean_gap_days, 0) as overdue_ratio,
        pair_habits.trips_since_last_purchase / nullif(pair_habits.mean_gap_trips, 0) as overdue_ratio_trips,
        pair_habits.last_quantity,
        pair_habits.mean_quantity,
        pair_habits.discount_share,
        subcategory_habits.subcategory_days_since_last_purchase,
        subcategory_habits.subcategory_days_since_last_purchase
        / nullif(subcategory_habits.mean_subcategory_gap_days, 0) as subcategory_overdue_ratio,
        coalesce(subcategory_habits.count_subcategory_trips, 0) / customer_trips.count_trips as subcategory_trip_share,
        coalesce(subcategory_habits.subcategory_recency_weight, 0) as subcategory_recency_weight,
        pair_habits.count_purchases / subcategory_habits.count_subcategory_purchases as share_of_subcategory,
        coalesce(category_habits.category_recency_weight, 0) as category_recency_weight,
        coalesce(manufacturer_habits.manufacturer_recency_weight, 0) as manufacturer_recency_weight,
        coalesce(store_products.count_store_customers_28d, 0) as count_store_customers_28d,
        coalesce(store_products.count_store_customers_28d, 0)
        / nullif(stores.count_customers_28d, 0) as store_customer_share_28d,
        coalesce(store_products.count_store_customers_7d, 0) as count_store_customers_7d
    from asked_pairs
    left join customer_trips on asked_pairs.customer_id = customer_trips.customer_id
    left join pair_habits
        on asked_pairs.customer_id = pair_habits.customer_id and asked_pairs.product_id = pair_habits.product_id
    left join products on asked_pairs.product_id = products.product_id
    left join subcategory_habits
        on
            asked_pairs.customer_id = subcategory_habits.customer_id
            and products.subcategory = subcategory_habits.subcategory
    left join category_habits
        on asked_pairs.customer_id = category_habits.customer_id and products.category = category_habits.category
    left join manufacturer_habits
        on
            asked_pairs.customer_id = manufacturer_habits.customer_id
            and products.manufacturer_id = manufacturer_habits.manufacturer_id
    left join home_stores on asked_pairs.customer_id = home_stores.customer_id
    left join store_products
        on home_stores.store_id = store_products.store_id and asked_pairs.product_id = store_products.product_id
    left join stores on home_stores.store_id = stores.store_id
)

select * from final
