"""What may be known as of a day: the purchases before it, the catalogue, and the truth of the week after it.

A *trip* is a customer-day with at least one purchase of merchandise; two orders of one day are one trip.
A guest's order has no customer: it says what is popular, as a buyer of its own, and nothing about anybody's habits.
A suspect order (confirmed as fraud, or of one who browses like a program) says nothing at all.
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

# Ids become codes in the database: a million strings would take a second to bring into Python.
_CUSTOMERS = """
    create or replace temp table history_customers as
    select customer_id, row_number() over (order by customer_id) - 1 as code
    from (
        select distinct customer_id from fct_order_lines
        where is_merchandise and not is_suspect and quantity > 0 and order_date < $as_of_date
            and customer_id is not null
    )
"""

_CATALOGUE = """
    create or replace temp table history_catalogue as
    select product_id, row_number() over (order by product_id) - 1 as code
    from fct_order_lines
    where is_merchandise and not is_suspect and quantity > 0 and order_date < $as_of_date
    group by product_id
    having count(distinct (customer_id, case when customer_id is null then order_id end, order_date)) >= $min_purchases
"""

_PURCHASES = """
    select distinct history_customers.code as customer, coalesce(history_catalogue.code, -1) as product,
           date_diff('day', lines.order_date, $as_of_date) as days_ago
    from fct_order_lines as lines
    inner join history_customers using (customer_id)
    left join history_catalogue using (product_id)
    where lines.is_merchandise and not lines.is_suspect and lines.quantity > 0 and lines.order_date < $as_of_date
"""

_GUEST_PURCHASES = """
    select history_catalogue.code as product, date_diff('day', lines.order_date, $as_of_date) as days_ago,
           count(distinct lines.order_id) as count_orders
    from fct_order_lines as lines
    inner join history_catalogue using (product_id)
    where lines.customer_id is null and lines.is_merchandise and not lines.is_suspect and lines.quantity > 0
        and lines.order_date < $as_of_date
    group by all
    order by all
"""

_STORE_PURCHASES = """
    select coalesce(lines.store_id, '') as store_id, history_catalogue.code as product,
           count(distinct (lines.customer_id, case when lines.customer_id is null then lines.order_id end))::double
               as count_customers
    from fct_order_lines as lines
    inner join history_catalogue using (product_id)
    where is_merchandise and not is_suspect and quantity > 0 and order_date < $as_of_date
        and order_date >= $window_start
    group by all
    order by all
"""

# The store of most trips in the window; ties go to the store with the later trip, then to the larger id.
_HOME_STORES = """
    select customer_id, arg_max(store_id, (count_days, last_date, store_id)) as store_id
    from (
        select customer_id, coalesce(store_id, '') as store_id,
               count(distinct order_date) as count_days, max(order_date) as last_date
        from fct_order_lines
        where is_merchandise and not is_suspect and quantity > 0 and order_date < $as_of_date
            and customer_id is not null
        group by all
    )
    group by customer_id
"""

_TRUTH = """
    with lines as (
        select customer_id, product_id, order_date from fct_order_lines
        where is_merchandise and not is_suspect and quantity > 0 and customer_id is not null
    )
    select customer_id, product_id,
           (customer_id, product_id) in (
               select (customer_id, product_id) from lines where order_date < $as_of_date
           ) as is_repeat
    from (
        select distinct customer_id, product_id from lines
        where order_date >= $as_of_date and order_date < $end_date
    )
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
        popularity: Purchases per product in the recent window, guests' orders included, ties broken by purchases of
            all time.
        home_store: Row of `store_popularity` per customer.
        stores: Ids of the stores that sold something lately, sorted; empty for orders without a store.
        store_popularity: Stores x products: customers and guests' orders that bought it there in the recent window.
    """

    as_of_date: date
    connection: duckdb.DuckDBPyConnection
    customers: pd.Index
    products: pd.Index
    purchases: Purchases
    count_trips: Integers
    popularity: Floats
    home_store: Integers
    stores: pd.Index
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
    day = {"as_of_date": as_of_date}
    connection.execute(_CUSTOMERS, day)
    connection.execute(_CATALOGUE, {**day, "min_purchases": config.catalogue_min_purchases})
    customers, products = _ids(connection, "history_customers"), _ids(connection, "history_catalogue")
    if customers.empty:
        raise DataFailed(f"fct_order_lines: no purchase of merchandise before {as_of_date}")
    if products.empty:
        raise DataFailed(
            f"fct_order_lines: before {as_of_date} no product was bought {config.catalogue_min_purchases} times"
        )
    purchases, count_trips = _place_in_trips(connection.execute(_PURCHASES, day).fetchnumpy(), len(customers))
    guests = connection.execute(_GUEST_PURCHASES, day).fetchnumpy()
    window = {**day, "window_start": as_of_date - timedelta(days=config.popularity_days)}
    stores, store_popularity = _store_popularity(connection, window, len(products))
    homes = connection.execute(_HOME_STORES, day).df().set_index("customer_id")["store_id"]
    return History(
        as_of_date=as_of_date,
        connection=connection,
        customers=customers,
        products=products,
        purchases=purchases,
        count_trips=count_trips,
        popularity=_popularity(purchases, guests, len(products), config.popularity_days),
        home_store=stores.get_indexer(pd.Index(homes.reindex(customers))).astype(np.int64),
        stores=stores,
        store_popularity=store_popularity,
    )


def _ids(connection: duckdb.DuckDBPyConnection, table: str) -> pd.Index:
    """Ids of a table of codes, in the order of their codes."""
    rows: pd.DataFrame = connection.table(table).order("code").df()
    ids: pd.Index = pd.Index(rows.iloc[:, 0])
    return ids


def _place_in_trips(bought: dict[str, Integers], count_customers: int) -> tuple[Purchases, Integers]:
    customer, product, days_ago = (bought[name].astype(np.int64) for name in ("customer", "product", "days_ago"))
    # One number per customer-day, ordered by customer and then from the newest day to the oldest.
    stride = int(days_ago.max()) + 1
    trip_keys, trip = np.unique(customer * stride + days_ago, return_inverse=True)
    count_trips = np.bincount(trip_keys // stride, minlength=count_customers).astype(np.int64)
    first_trip = np.concatenate([[0], np.cumsum(count_trips)[:-1]])
    return Purchases(customer, product, (trip - first_trip[customer]).astype(np.int64), days_ago), count_trips


def _popularity(purchases: Purchases, guests: dict[str, Integers], count_products: int, days: int) -> Floats:
    known = purchases.product >= 0
    product = np.concatenate([purchases.product[known], guests["product"].astype(np.int64)])
    days_ago = np.concatenate([purchases.days_ago[known], guests["days_ago"].astype(np.int64)])
    count = np.concatenate([np.ones(int(known.sum())), guests["count_orders"].astype(np.float64)])
    lately = days_ago <= days
    recent = np.bincount(product[lately], count[lately], minlength=count_products)
    ever = np.bincount(product, count, minlength=count_products)
    return np.asarray(recent + ever / (ever.max() + 1.0), dtype=np.float64)


def _store_popularity(
    connection: duckdb.DuckDBPyConnection, window: dict[str, date], count_products: int
) -> tuple[pd.Index, Matrix]:
    rows = connection.execute(_STORE_PURCHASES, window).df()
    store, stores = pd.factorize(rows["store_id"], sort=True)
    shape = (len(stores), count_products)
    return pd.Index(stores), sparse.csr_matrix((rows["count_customers"], (store, rows["product"])), shape=shape)


def read_truth(connection: duckdb.DuckDBPyConnection, as_of_date: date) -> pd.DataFrame:
    """What each customer bought in the week from `as_of_date`.

    Returns:
        customer_id, product_id, is_repeat (bought before the day); one row per pair.
    """
    truth: pd.DataFrame = connection.execute(
        _TRUTH, {"as_of_date": as_of_date, "end_date": as_of_date + timedelta(days=7)}
    ).df()
    return truth
