"""How a product sells."""

from datetime import timedelta

from entities import product
from feast import FeatureView, Field
from feast.types import Float64, Int64, String
from sources import feat_product as source

feat_product = FeatureView(
    name="feat_product",
    entities=[product],
    # Rows exist for every Monday and for the current day: a week, and a day of slack.
    ttl=timedelta(days=8),
    schema=[
        Field(name="product_id", dtype=String),
        Field(name="count_orders_7d", dtype=Int64),
        Field(name="count_orders_28d", dtype=Int64),
        Field(name="count_orders_91d", dtype=Int64),
        Field(name="count_shopping_days_28d", dtype=Int64),
        Field(name="count_shopping_days_91d", dtype=Int64),
        Field(name="count_customers_28d", dtype=Int64),
        Field(name="count_customers_91d", dtype=Int64),
        Field(name="amount_cents_28d", dtype=Int64),
        Field(name="mean_unit_price_cents_28d", dtype=Float64),
        Field(name="discount_share_28d", dtype=Float64),
        Field(name="trend_ratio_7d_28d", dtype=Float64),
        Field(name="repeat_customer_share_91d", dtype=Float64),
        Field(name="mean_days_between_purchases_91d", dtype=Float64),
        Field(name="days_since_first_sale", dtype=Int64),
    ],
    source=source,
    # Hundreds of candidates a request: 300 online reads take 92 ms, so products are held in memory as a snapshot.
    online=False,
    description="How a product sells as of the start of a shop day. One row per product and as-of day.",
    owner="recommender",
    tags={"mart": "feat_product"},
)
