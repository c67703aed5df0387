"""Hand-made mart views for the recommender: a database in memory with the columns that it reads."""

from collections.abc import Sequence
from datetime import date, timedelta

import duckdb
import pandas as pd

from ml.recommender.dataset import History
from ml.recommender.features import CUSTOMER_FEATURES, PRODUCT_FEATURES, FeatureTables
from ml.stores.features import pair_sql

Line = tuple[str | None, str, int]
"""customer (None: a guest, one order a line), product, day (0 is 2024-01-01, a Monday)"""

FIRST_DAY = date(2024, 1, 1)


def day(offset: int) -> date:
    return FIRST_DAY + timedelta(days=offset)


def mart_views(
    lines: Sequence[Line], not_merchandise: Sequence[str] = (), suspect: Sequence[Line] = ()
) -> duckdb.DuckDBPyConnection:
    """Mart views over lines of one unit each, all in store s1; products pN have subcategory and category of N.

    Args:
        suspect: More lines, of orders that are suspect.
    """
    given = [*lines, *suspect]
    rows = pd.DataFrame(given, columns=["customer_id", "product_id", "offset"])
    order_lines = rows.assign(
        order_id=[f"o{number}" for number in range(len(rows))],
        store_id="s1",
        order_date=[day(offset) for offset in rows["offset"]],
        quantity=1.0,
        amount_cents=300,
        discount_cents=100,
        is_merchandise=~rows["product_id"].isin(not_merchandise),
        is_suspect=[position >= len(lines) for position in range(len(given))],
    ).drop(columns="offset")
    products = pd.DataFrame({"product_id": sorted(rows["product_id"].unique())})
    products = products.assign(
        name="Product " + products["product_id"],
        subcategory="type " + products["product_id"].str[-1],
        category="kind",
        manufacturer_id="m1",
    )
    connection = duckdb.connect(config={"threads": 1})
    for name, frame in {"order_lines": order_lines, "products": products}.items():
        connection.register(f"given_{name}", frame)
    connection.execute("create table fct_order_lines as select * from given_order_lines")
    connection.execute("create table dim_products as select * from given_products")
    return connection


def empty_feed(_history: History, _pairs: pd.DataFrame) -> FeatureTables:
    """Feature services that know nobody."""
    return FeatureTables(
        pair_sql(),
        pd.DataFrame(columns=["customer_id", *CUSTOMER_FEATURES.values()]),
        pd.DataFrame(columns=["product_id", *PRODUCT_FEATURES.values()]),
    )
