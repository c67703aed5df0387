"""What a customer's purchases say about the customer."""

from datetime import timedelta

from entities import customer
from feast import FeatureView, Field
from feast.types import Float64, Int64, String
from sources import feat_customer as source

feat_customer = FeatureView(
    name="feat_customer",
    entities=[customer],
    # Rows exist for every Monday and for the current day: a week, and a day of slack.
    ttl=timedelta(days=8),
    schema=[
        Field(name="customer_id", dtype=String),
        Field(name="count_orders_7d", dtype=Int64),
        Field(name="count_orders_28d", dtype=Int64),
        Field(name="count_orders_91d", dtype=Int64),
        Field(name="count_orders_364d", dtype=Int64),
        Field(name="count_shopping_days_28d", dtype=Int64),
        Field(name="count_shopping_days_364d", dtype=Int64),
        Field(name="count_lines_28d", dtype=Int64),
        Field(name="amount_cents_28d", dtype=Int64),
        Field(name="amount_cents_91d", dtype=Int64),
        Field(name="amount_cents_364d", dtype=Int64),
        Field(name="days_since_last_order", dtype=Int64),
        Field(name="median_days_between_orders", dtype=Float64),
        Field(name="mean_days_between_orders", dtype=Float64),
        Field(name="repeat_share_91d", dtype=Float64),
        Field(name="mean_order_lines_91d", dtype=Float64),
        Field(name="discount_share_91d", dtype=Float64),
        Field(name="weekend_share_364d", dtype=Float64),
        Field(name="count_products_91d", dtype=Int64),
        Field(name="count_products_364d", dtype=Int64),
        Field(name="home_store_id", dtype=String),
        Field(name="home_store_share_364d", dtype=Float64),
    ],
    source=source,
    online=True,
    description="A customer's habits as of the start of a shop day. One row per customer and as-of day.",
    owner="recommender",
    tags={"mart": "feat_customer"},
)
