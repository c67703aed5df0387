"""What may be known as of a day: the purchases before it, the catalogue, and the truth of the week after it.

A *trip* is a customer-day with at least one purchase of merchandise; two orders of one day are one trip.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import TypeAlias

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from ml.outcomes import DataFailed
from ml.recommender.config import HistoryConfig

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Matrix: TypeAlias = sparse.csr_matrix

_PURCHASES = """
    select distinct customer_id, product_id, order_date
    from fct_order_lines
    where is_merchandise and quantity > 0 and order_date < $as_of_date
"""

_STORE_PURCHASES = """
    select coalesce(store_id, '') as store_id, product_id, count(distinct customer_id)::double as count_customers
    from fct_order_lines
    where is_merchandise and quantity > 0 and order_date < $as_of_date and order_date >= $window_start
    group by all
"""

# The store of most trips in the window; ties go to the store with the later trip, then to the larger id.
_HOME_STORES = """
    select customer_id, arg_max(store_id, (count_days, last_date, store_id)) as store_id
    from (
        select customer_id, coalesce(store_id, '') as store_id,
               count(distinct order_date) as count_days, max(order_date) as last_date
        from fct_order_lines
        where is_merchandise and quantity > 0 and order_date < $as_of_date
        group by all
    )
    group by customer_id
"""

_TRUTH = """
    select distinct customer_id, product_id
    from fct_order_lines
    where is_merchandise and quantity > 0 and order_date >= $as_of_date and order_date < $end_date
    order by customer_id, product_id
"""


@dataclass(frozen=True)
class Purchases:
    """Distinct customer-product-days as parallel arrays; products outside the catalogue have code -1."""

    customer: Integers
    product: Integers
    trips_ago: Integers
    days_ago: Integers


@dataclass(frozen=True)
class History:
    """Everything before the start of `as_of_date`.

    Attributes:
        connection: Where the mart views are, for the pair features.
        customers: Ids of customers with a purchase, sorted; arrays over customers follow it.
        products: Ids of the catalogue, sorted; arrays over products follow it.
        count_trips: Trips per customer.
        popularity: Purchases per product in the recent window, ties broken by purchases of all time.
        home_store: Row of `store_popularity` per customer.
        store_popularity: Stores x products: customers who bought it there in the recent window.
    """

    as_of_date: date
    connection: duckdb.DuckDBPyConnection
    customers: pd.Index
    products: pd.Index
    purchases: Purchases
    count_trips: Integers
    popularity: Floats
    home_store: Integers
    store_popularity: Matrix

    @cached_property
    def catalogue_purchases(self) -> Purchases:
        """Purchases of products of the catalogue only."""
        kept = self.purchases.product >= 0
        bought = self.purchases
        return Purchases(bought.customer[kept], bought.product[kept], bought.trips_ago[kept], bought.days_ago[kept])

    @cached_property
    def popular_order(self) -> Integers:
        """Products from the most to the least popular."""
        return np.argsort(-self.popularity, kind="stable")

    def matrix(self, weights: Floats) -> Matrix:
        """Customers x products: the sum of the weights of the catalogue purchases."""
        bought = self.catalogue_purchases
        shape = (len(self.customers), len(self.products))
        return sparse.csr_matrix((weights, (bought.customer, bought.product)), shape=shape)


def read_history(connection: duckdb.DuckDBPyConnection, as_of_date: date, config: HistoryConfig) -> History:
    """Read the history as of a day from mart views.

    Raises:
        DataFailed: Nothing was bought before the day, or nothing often enough to be recommended.
    """
    bought = connection.execute(_PURCHASES, {"as_of_date": as_of_date}).df()
    if bought.empty:
        raise DataFailed(f"fct_order_lines: no purchase of merchandise before {as_of_date}")
    counts = bought["product_id"].value_counts()
    products = pd.Index(sorted(counts.index[counts >= config.catalogue_min_purchases]))
    if products.empty:
        raise DataFailed(
            f"fct_order_lines: before {as_of_date} no product was bought {config.catalogue_min_purchases} times"
        )
    customer, customers = pd.factorize(bought["customer_id"], sort=True)
    purchases, count_trips = _place_in_trips(bought, customer, products, as_of_date)
    window = {"as_of_date": as_of_date, "window_start": as_of_date - timedelta(days=config.popularity_days)}
    stores, store_popularity = _store_popularity(connection, window, products)
    homes = connection.execute(_HOME_STORES, {"as_of_date": as_of_date}).df().set_index("customer_id")["store_id"]
    return History(
        as_of_date=as_of_date,
        connection=connection,
        customers=pd.Index(customers),
        products=products,
        purchases=purchases,
        count_trips=count_trips,
        popularity=_popularity(purchases, len(products), config.popularity_days),
        home_store=stores.get_indexer(homes.reindex(customers)).astype(np.int64),
        store_popularity=store_popularity,
    )


def _place_in_trips(
    bought: pd.DataFrame, customer: npt.NDArray[np.intp], products: pd.Index, as_of_date: date
) -> tuple[Purchases, Integers]:
    elapsed = pd.Timestamp(as_of_date) - pd.to_datetime(bought["order_date"])
    days_ago: Integers = elapsed.dt.days.to_numpy().astype(np.int64)
    # One number per customer-day, ordered by customer and then from the newest day to the oldest.
    stride = int(days_ago.max()) + 1
    trip_keys, trip = np.unique(customer.astype(np.int64) * stride + days_ago, return_inverse=True)
    trip_customer = trip_keys // stride
    count_trips = np.bincount(trip_customer)
    first_trip = np.concatenate([[0], np.cumsum(count_trips)[:-1]])
    trips_ago = trip - first_trip[customer]
    codes = products.get_indexer(pd.Index(bought["product_id"])).astype(np.int64)
    return Purchases(customer.astype(np.int64), codes, trips_ago.astype(np.int64), days_ago), count_trips.astype(
        np.int64
    )


def _popularity(purchases: Purchases, count_products: int, days: int) -> Floats:
    known = purchases.product >= 0
    lately = known & (purchases.days_ago <= days)
    recent = np.bincount(purchases.product[lately], minlength=count_products)
    ever = np.bincount(purchases.product[known], minlength=count_products)
    return np.asarray(recent + ever / (ever.max() + 1.0), dtype=np.float64)


def _store_popularity(
    connection: duckdb.DuckDBPyConnection, window: dict[str, date], products: pd.Index
) -> tuple[pd.Index, Matrix]:
    rows = connection.execute(_STORE_PURCHASES, window).df()
    store, stores = pd.factorize(rows["store_id"], sort=True)
    product = products.get_indexer(rows["product_id"])
    kept = product >= 0
    values = rows["count_customers"].to_numpy(np.float64)[kept]
    shape = (len(stores), len(products))
    return pd.Index(stores), sparse.csr_matrix((values, (store[kept], product[kept])), shape=shape)


def read_truth(connection: duckdb.DuckDBPyConnection, as_of_date: date) -> pd.DataFrame:
    """What each customer bought in the week from `as_of_date`: customer_id, product_id, once each."""
    truth: pd.DataFrame = connection.execute(
        _TRUTH, {"as_of_date": as_of_date, "end_date": as_of_date + timedelta(days=7)}
    ).df()
    return truth
