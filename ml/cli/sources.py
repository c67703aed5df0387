"""What the shop delivers, whole: the configured source, simulated payments where they are asked for, what was posted
while the shop was open, and the platform's own decisions and reviews, which flow back as tables of the contract."""

from datetime import date, datetime
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
from sqlalchemy import Table, select

from ml.cli.joined_delivery import joined
from ml.cli.posted_rows import POSTED_TABLES, PostedRows
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.shop.delivery import Delivery
from ml.shop.sources import ShopSource, open_source
from ml.stores.fraud_tables import decisions, review_cases
from ml.stores.operations import Operations

OWN_TABLES = ("fraud_decisions", "fraud_reviews")
_PLATFORM = "shopwright"


class ComposedSource(ShopSource, Protocol):
    """A source put together from several."""

    def name_of(self, table: str) -> str:
        """Where a table comes from."""
        ...


def open_shop(settings: Settings, operations: Operations) -> ComposedSource:
    """The source that the settings choose, with what belongs to it.

    Raises:
        DataFailed: The source is not what the settings say it is.
    """
    shop = open_source(settings)
    if settings.simulates_payments:
        from ml.shop.fraud_simulation.source import SimulatedPaymentsSource  # only who simulates loads it

        return OwnRecordsSource(
            SimulatedPaymentsSource(shop, settings, lambda: decided_so_far(operations)), settings, operations
        )
    return OwnRecordsSource(shop, settings, operations)


class OwnRecordsSource:
    """Everything that another source has, what was posted, and the platform's own decisions where there are payments
    and the source has no decisions.

    A decision is delivered with the shop day of `decided_at`. What was posted stands beside what the source delivers;
    of two rows with one key the newest `updated_at` counts, as everywhere.
    """

    def __init__(self, shop: ShopSource, settings: Settings, operations: Operations) -> None:
        self._shop = shop
        self._settings = settings
        self._operations = operations
        self._posted = PostedRows(settings)

    @property
    def name(self) -> str:
        return self._shop.name

    def name_of(self, table: str) -> str:
        if table in (*OWN_TABLES, *POSTED_TABLES) and table not in self._shop.tables():
            return _PLATFORM
        told: str = self._shop.name_of(table) if hasattr(self._shop, "name_of") else self._shop.name
        return told

    def tables(self) -> tuple[str, ...]:
        found = set(self._shop.tables())
        found |= {table for table in POSTED_TABLES if table not in found and self._posted.has(table)}
        if "payments" in found:
            found |= set(OWN_TABLES)
        return tuple(table for table in CONTRACT if table in found)

    def read(self, table: str, first_day: date, end_day: date) -> Delivery:
        if self.name_of(table) != _PLATFORM:
            delivery = self._shop.read(table, first_day, end_day)
        elif table in OWN_TABLES:
            delivery = Delivery(table, self._own_rows(table, first_day, end_day), "typed")
        else:
            return Delivery(table, self._posted.read(table, first_day, end_day), "typed")
        is_posted = table in POSTED_TABLES and self._posted.has(table)
        return joined(delivery, self._posted.read(table, first_day, end_day)) if is_posted else delivery

    def _own_rows(self, table: str, first_day: date, end_day: date) -> pa.Table:
        start, end = self._settings.day_start(first_day), self._settings.day_start(end_day)
        made = _decisions_made if table == "fraud_decisions" else _verdicts_given
        return pa.Table.from_pylist(made(self._operations, start, end), CONTRACT[table].schema)


def decided_so_far(operations: Operations) -> pd.DataFrame:
    """What was done with each order: order_id, action, decided_at. What an analyst found to be fraud was not shipped:
    from the verdict on, that counts as declined."""
    with operations.transaction() as connection:
        made = connection.execute(
            select(decisions.c.order_id, decisions.c.action, decisions.c.decided_at).order_by(decisions.c.order_id)
        ).all()
        stopped = connection.execute(
            select(review_cases.c.order_id, review_cases.c.decided_at)
            .where(review_cases.c.verdict == "fraud")
            .order_by(review_cases.c.order_id)
        ).all()
    rows = {row.order_id: (row.order_id, row.action, row.decided_at) for row in made}
    for row in stopped:
        if row.order_id not in rows or rows[row.order_id][1] != "decline":
            rows[row.order_id] = (row.order_id, "decline", row.decided_at)
    return pd.DataFrame(list(rows.values()), columns=["order_id", "action", "decided_at"])


def _decisions_made(operations: Operations, start: datetime, end: datetime) -> list[dict[str, Any]]:
    names = [column.name for column in CONTRACT["fraud_decisions"].columns]
    return _within(operations, decisions, names, start, end)


def _verdicts_given(operations: Operations, start: datetime, end: datetime) -> list[dict[str, Any]]:
    found = _within(operations, review_cases, ["order_id", "decided_at", "verdict", "decided_by"], start, end)
    return [
        {
            "review_id": f"review-{row['order_id']}",
            "order_id": row["order_id"],
            "decided_at": row["decided_at"],
            "verdict": row["verdict"],
            "analyst": row["decided_by"],
        }
        for row in found
        if row["verdict"] is not None
    ]


def _within(
    operations: Operations, table: Table, names: list[str], start: datetime, end: datetime
) -> list[dict[str, Any]]:
    statement = (
        select(*(table.c[name] for name in names))
        .where(table.c.decided_at >= start, table.c.decided_at < end)
        .order_by(table.c.decided_at, table.c.order_id)
    )
    with operations.transaction() as connection:
        return [dict(row._mapping) for row in connection.execute(statement)]
