"""The ranker's inputs: one row per candidate pair, from the candidate stage, one SQL and two feature services."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.outcomes import DataFailed
from ml.recommender.candidates import CANDIDATE_FEATURES
from ml.recommender.dataset import History

KEYS = ("customer_id", "product_id")

CUSTOMER_SERVICE = "recommender_customer"
PRODUCT_SERVICE = "recommender_product"

# Columns of the feature services that the ranker uses, by the name it gives them.
CUSTOMER_FEATURES: Mapping[str, str] = {
    "customer_count_orders_28d": "count_orders_28d",
    "customer_count_orders_91d": "count_orders_91d",
    "customer_days_since_last_order": "days_since_last_order",
    "customer_mean_days_between_orders": "mean_days_between_orders",
    "customer_repeat_share_91d": "repeat_share_91d",
    "customer_mean_order_lines_91d": "mean_order_lines_91d",
    "customer_discount_share_91d": "discount_share_91d",
    "customer_count_products_91d": "count_products_91d",
}
PRODUCT_FEATURES: Mapping[str, str] = {
    "product_count_orders_7d": "count_orders_7d",
    "product_count_orders_28d": "count_orders_28d",
    "product_count_orders_91d": "count_orders_91d",
    "product_count_customers_91d": "count_customers_91d",
    "product_mean_unit_price_cents_28d": "mean_unit_price_cents_28d",
    "product_discount_share_28d": "discount_share_28d",
    "product_trend_ratio_7d_28d": "trend_ratio_7d_28d",
    "product_repeat_customer_share_91d": "repeat_customer_share_91d",
    "product_mean_days_between_purchases_91d": "mean_days_between_purchases_91d",
}
# Served, and not fed to the ranker: text, windows longer than a young shop's history (they drift with its age), and
# figures that say what another one says. A contract test fails for a column that is in neither list.
CUSTOMER_FEATURES_NOT_FED = frozenset(
    {
        "count_orders_7d",
        "count_orders_364d",
        "count_shopping_days_28d",
        "count_shopping_days_364d",
        "count_lines_28d",
        "amount_cents_28d",
        "amount_cents_91d",
        "amount_cents_364d",
        "median_days_between_orders",
        "weekend_share_364d",
        "count_products_364d",
        "home_store_id",
        "home_store_share_364d",
    }
)
PRODUCT_FEATURES_NOT_FED = frozenset(
    {
        "count_shopping_days_28d",
        "count_shopping_days_91d",
        "count_customers_28d",
        "amount_cents_28d",
        "days_since_first_sale",
    }
)
# Columns of feature_repo/pairs/customer_product.sql.
PAIR_FEATURES = (
    "count_purchases",
    "count_purchases_28d",
    "count_purchases_84d",
    "trip_share",
    "trip_share_84d",
    "days_since_last_purchase",
    "trips_since_last_purchase",
    "recency_weight_95",
    "recency_weight_80",
    "recency_weight_99",
    "recency_weight_daily_98",
    "mean_gap_days",
    "std_gap_days",
    "last_gap_days",
    "mean_gap_trips",
    "overdue_ratio",
    "overdue_ratio_trips",
    "last_quantity",
    "mean_quantity",
    "discount_share",
    "subcategory_days_since_last_purchase",
    "subcategory_overdue_ratio",
    "subcategory_trip_share",
    "subcategory_recency_weight",
    "share_of_subcategory",
    "category_recency_weight",
    "manufacturer_recency_weight",
    "count_store_customers_28d",
    "count_store_customers_7d",
    "store_customer_share_28d",
)
# Features that are null in every row of a shop whose products lack the attribute.
ATTRIBUTE_OF: Mapping[str, str] = {
    "subcategory_days_since_last_purchase": "subcategory",
    "subcategory_overdue_ratio": "subcategory",
    "share_of_subcategory": "subcategory",
}
FEATURES = (*CANDIDATE_FEATURES, *PAIR_FEATURES, *CUSTOMER_FEATURES, *PRODUCT_FEATURES)


@dataclass(frozen=True)
class FeatureTables:
    """What features are made of, as of one day.

    Attributes:
        pair_sql: Query with parameter $as_of_date over the mart views and the relation `candidates`.
        customer: customer_id and the columns of the customer service; absent customers get missing values.
        product: product_id and the columns of the product service.
    """

    pair_sql: str
    customer: pd.DataFrame
    product: pd.DataFrame


# Gives the feature tables for a history's day and the pairs asked about; the core itself reads no stores.
Feed = Callable[[History, pd.DataFrame], FeatureTables]


def add_features(history: History, pairs: pd.DataFrame, tables: FeatureTables) -> pd.DataFrame:
    """Join `FEATURES` to candidate pairs as float32; rows and other columns stay as they are.

    Raises:
        DataFailed: A source of features lacks a column.
    """
    pair_features = _pair_features(history, pairs, tables.pair_sql)
    joined = (
        pd.concat([pairs.reset_index(drop=True), pair_features], axis=1)
        .merge(
            _renamed(tables.customer, "customer_id", CUSTOMER_FEATURES, CUSTOMER_SERVICE),
            on="customer_id",
            how="left",
            validate="many_to_one",
        )
        .merge(
            _renamed(tables.product, "product_id", PRODUCT_FEATURES, PRODUCT_SERVICE),
            on="product_id",
            how="left",
            validate="many_to_one",
        )
    )
    assert len(joined) == len(pairs), f"{len(pairs)} pairs became {len(joined)} rows"
    others = [name for name in pairs.columns if name not in FEATURES]
    return joined[[*others, *FEATURES]].astype(dict.fromkeys(FEATURES, np.float32))


def _pair_features(history: History, pairs: pd.DataFrame, pair_sql: str) -> pd.DataFrame:
    """Pair features in the order of the pairs; the join is one to one."""
    asked = pairs[list(KEYS)].assign(position=np.arange(len(pairs)))
    history.connection.register("candidates", asked)
    query = f"""
        select features.* exclude (customer_id, product_id), candidates.position
        from candidates inner join ({pair_sql}) as features using (customer_id, product_id)
        order by candidates.position
    """  # noqa: S608  # the declared SQL, not input
    try:
        found = history.connection.execute(query, {"as_of_date": history.as_of_date}).df()
    finally:
        history.connection.unregister("candidates")
    assert np.array_equal(found["position"], asked["position"]), (
        f"the pair SQL gave {len(found)} rows for {len(pairs)} pairs; expected one for each"
    )
    features: pd.DataFrame = found[_present(found, list(PAIR_FEATURES), "the pair SQL")]
    return features


def _renamed(table: pd.DataFrame, key: str, names: Mapping[str, str], service: str) -> pd.DataFrame:
    found = table[_present(table, [key, *names.values()], service)]
    return found.rename(columns={column: name for name, column in names.items()})


def _present(table: pd.DataFrame, columns: list[str], where: str) -> list[str]:
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise DataFailed(f"features: {where} lacks {', '.join(absent)}")
    return columns
