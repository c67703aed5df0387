"""What a shop's data suffices for: recommendations, fraud decisions, messages; and why not.

The figures are counted over contract tables as delivered. The thresholds are the platform's own where it has them
(label weeks, trips, catalogue); those of products that are not built yet are stated as such.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import duckdb
import pyarrow as pa

from ml.evaluation.time_splits import monday_cuts
from ml.recommender.config import RecommenderConfig
from ml.settings import WEEKDAYS, Settings

FEWEST_LABEL_WEEKS = 2
FEWEST_REGULARS = 10
"""Customers with enough shopping days; a training set of fewer is refused by the model-input gate."""
FEWEST_JUDGED = 30
"""Fewer regulars than this, and a ranker cannot be compared with its baseline: the baseline stays champion."""
LOW_REPEAT_SHARE = 0.2
FEWEST_CHARGEBACKS = 50
FEWEST_PAYMENTS = 1_000
_SHOWN_DAYS = 5
_NOT_BUILT = "the product itself is not built yet"

NEEDED_FOR = {
    "customers": "recommendations, messages",
    "products": "recommendations",
    "orders": "recommendations, fraud, messages",
    "order_lines": "recommendations",
    "demographics": "fairness audit",
    "promotions": "nothing yet",
    "campaigns": "nothing yet",
    "coupons": "nothing yet",
    "coupon_redemptions": "nothing yet",
    "interactions": "nothing yet",
    "exposures": "nothing yet",
    "payments": "fraud",
    "chargebacks": "fraud",
    "refunds": "fraud",
    "fraud_decisions": "fraud",
    "fraud_reviews": "fraud",
    "consents": "messages",
}


@dataclass(frozen=True)
class Span:
    """The days on which there are orders.

    Attributes:
        missing: Days between the first and the last without any, that the settings do not call closed.
    """

    first_day: date
    last_day: date
    missing: tuple[date, ...]

    @property
    def weeks(self) -> float:
        return ((self.last_day - self.first_day).days + 1) / 7

    def sentences(self) -> list[str]:
        told = [f"history: {self.first_day} to {self.last_day}, {self.weeks:.1f} weeks"]
        closed = self._closed_weekdays()
        if closed:
            listed = ", ".join(f'"{WEEKDAYS[number]}"' for number in closed)
            told.append(
                f"never an order on these weekdays: set SHOPWRIGHT_CLOSED_DAYS=[{listed}] if the shop is closed"
            )
        other = [day for day in self.missing if day.weekday() not in closed]
        if other:
            shown = ", ".join(map(str, other[:_SHOWN_DAYS])) + (" ..." if len(other) > _SHOWN_DAYS else "")
            told.append(f"{len(other)} other days without orders: {shown}; a new day without any is held back")
        return told if self.missing else [*told, "days without orders: none that are not expected"]

    def _closed_weekdays(self) -> list[int]:
        days = [self.first_day + timedelta(days=number) for number in range((self.last_day - self.first_day).days + 1)]
        missing = set(self.missing)
        return [
            number
            for number in range(7)
            if len(own := [day for day in days if day.weekday() == number]) >= 2 and set(own) <= missing
        ]


@dataclass(frozen=True)
class Sufficiency:
    """Whether the data suffices for one product.

    Attributes:
        against: Why it does not; empty when it does.
        figures: What was counted.
        notes: What will be poor although it suffices.
    """

    product: str
    against: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def is_enough(self) -> bool:
        return not self.against


def span_of(settings: Settings, orders: pa.Table) -> Span | None:
    """The days of the orders; None when there are none."""
    with duckdb.connect() as connection:
        connection.execute(f"set timezone = '{settings.timezone}'")
        connection.register("orders", orders)
        found = connection.sql(
            "select distinct ordered_at::date as day from orders where ordered_at is not null"
        ).fetchall()
    days = {row[0] for row in found}
    if not days:
        return None
    first, last = min(days), max(days)
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return Span(first, last, tuple(day for day in every if day not in days and not settings.is_closed(day)))


def judge_products(settings: Settings, tables: Mapping[str, pa.Table]) -> list[Sufficiency]:
    """What the tables suffice for.

    Args:
        tables: Contract tables in contract form; what could not be read is left out.
    """
    with duckdb.connect() as connection:
        connection.execute(f"set timezone = '{settings.timezone}'")
        for name, rows in tables.items():
            connection.register(name, rows)
        return [
            _recommendations(connection, tables),
            _fraud(connection, tables),
            _messages(connection, tables),
        ]


_REFERENCES = (
    ("orders", "customer_id", "customers"),
    ("order_lines", "order_id", "orders"),
    ("order_lines", "product_id", "products"),
)


def held_at_build(tables: Mapping[str, pa.Table]) -> list[str]:
    """Rows that name a customer, an order or a product that is not there."""
    told = []
    with duckdb.connect() as connection:
        for name, rows in tables.items():
            connection.register(name, rows)
        for table, key, other in _REFERENCES:
            if table in tables and other in tables:
                [(count,)] = connection.sql(
                    f"select count(*) from {table} anti join {other} using ({key}) where {key} is not null"  # noqa: S608
                ).fetchall()
                if count:
                    told.append(f"{table}: {count:,} rows whose {key} is not in {other}")
    return told


_BOUGHT = """
    create temp table bought as
    select orders.customer_id, orders.order_id, order_lines.product_id, orders.ordered_at::date as day
    from order_lines
    inner join (select distinct on (order_id) * from orders) as orders using (order_id)
    inner join (select distinct on (product_id) * from products) as products using (product_id)
    where products.is_merchandise and order_lines.quantity > 0
"""
_BUYERS = """
    select count(*), count(*) filter (days >= 2), count(*) filter (days >= $trips)
    from (select customer_id, count(distinct day) as days from bought where customer_id is not null group by all)
"""
_CATALOGUE = """
    select count(*) from (
        select product_id from bought group by product_id
        having count(distinct (customer_id, case when customer_id is null then order_id end, day)) >= $purchases
    )
"""


def _recommendations(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> Sufficiency:
    absent = [name for name in ("customers", "products", "orders", "order_lines") if name not in tables]
    if absent:
        return Sufficiency("recommendations", tuple(f"{name} cannot be read" for name in absent))
    config = RecommenderConfig()
    connection.execute(_BOUGHT)
    first, last = connection.sql("select min(day), max(day) from bought").fetchall()[0]
    if first is None:
        return Sufficiency("recommendations", ("no line has a known order and a product that is merchandise",))
    [(customers, returning, regulars)] = connection.execute(_BUYERS, {"trips": config.split.min_trips}).fetchall()
    purchases = config.history.catalogue_min_purchases
    [(catalogue,)] = connection.execute(_CATALOGUE, {"purchases": purchases}).fetchall()
    [(orders, guests)] = connection.sql("select count(*), count(*) filter (customer_id is null) from orders").fetchall()
    weeks = len(monday_cuts(first, last, config.split.min_history_days))
    trips = config.split.min_trips
    share = returning / customers if customers else 0.0
    against = []
    if weeks < FEWEST_LABEL_WEEKS:
        against.append(
            f"{weeks} whole weeks (Monday to Sunday) after the first {config.split.min_history_days} days; "
            f"{FEWEST_LABEL_WEEKS} are needed, one to learn from and one to decide by"
        )
    if regulars < FEWEST_REGULARS:
        against.append(f"{regulars} customers with {trips} or more shopping days; {FEWEST_REGULARS} are needed")
    if catalogue < config.shown:
        against.append(f"{catalogue} products bought {purchases} times or more; {config.shown} are needed")
    notes = []
    if share < LOW_REPEAT_SHARE:
        notes.append("few customers come back: expect little more than what is popular")
    if FEWEST_REGULARS <= regulars < FEWEST_JUDGED:
        notes.append(
            f"with fewer than {FEWEST_JUDGED} such customers a ranker cannot be compared: a baseline will serve"
        )
    figures = (
        f"{weeks} label weeks",
        f"{customers:,} customers, {share:.0%} of them on two days or more, {regulars:,} on {trips} or more",
        f"{guests / orders:.0%} of {orders:,} orders by guests" if orders else "no orders",
        f"{catalogue:,} products bought {purchases} times or more",
    )
    return Sufficiency("recommendations", tuple(against), figures, tuple(notes))


def _fraud(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> Sufficiency:
    absent = [name for name in ("payments", "chargebacks", "orders") if name not in tables]
    if absent:
        return Sufficiency("fraud", (f"there are no {' and no '.join(absent)}",))
    [(payments,)] = connection.sql("select count(*) from payments").fetchall()
    [(chargebacks,)] = connection.sql("""
        select count(distinct chargeback_id) from chargebacks semi join payments using (order_id)
    """).fetchall()
    against = []
    if payments < FEWEST_PAYMENTS:
        against.append(f"{payments:,} payments; {FEWEST_PAYMENTS:,} are needed")
    if chargebacks < FEWEST_CHARGEBACKS:
        against.append(f"{chargebacks:,} chargebacks of paid orders; {FEWEST_CHARGEBACKS} are needed to learn from")
    figures = (f"{payments:,} payments", f"{chargebacks:,} chargebacks of paid orders")
    return Sufficiency("fraud", tuple(against), figures)


_REACHABLE = """
    select count(distinct customer_id) from customers
    semi join (
        select customer_id from consents where purpose = 'marketing'
        group by customer_id having arg_max(is_granted, changed_at)
    ) using (customer_id)
    where coalesce(email, '') <> ''
"""


def _messages(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> Sufficiency:
    if "customers" not in tables:
        return Sufficiency("messages", ("customers cannot be read",))
    [(customers, emails)] = connection.sql(
        "select count(*), count(*) filter (coalesce(email, '') <> '') from customers"
    ).fetchall()
    figures = [f"{emails:,} of {customers:,} customers with an e-mail address"]
    against = [] if emails else ["no customer has an e-mail address"]
    if "consents" not in tables:
        against.append("there are no consents: nobody may be written to")
    else:
        [(reachable,)] = connection.sql(_REACHABLE).fetchall()
        figures.append(f"{reachable:,} of them agreed to marketing")
        if not reachable:
            against.append("nobody with an e-mail address agreed to marketing")
    return Sufficiency("messages", tuple(against), tuple(figures), (_NOT_BUILT,))
