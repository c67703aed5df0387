"""What the shop posted and was answered, as rows of the contract's tables: the serving log flows back.

A row belongs to the shop day of its event. What was posted when that day had landed already comes with the next days
that land, as a source's late rows do; where the moment of a landing leaves it open, a row comes twice and counts once.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Any

import pyarrow as pa

from ml.settings import Settings, wall_clock
from ml.shop.contract import CONTRACT, RESERVED_COLUMNS
from ml.shop.contract.table import ColumnType
from ml.stores.landing import Landing
from ml.stores.serving_log import Logged, ServingLog

Row = dict[str, Any]

_READING = timedelta(hours=1)
"""Reading a table for its landing takes no longer."""
_KINDS = {
    "orders": ("order",),
    "order_lines": ("order",),
    "interactions": ("interaction",),
    "payments": ("payment", "decision"),
    "consents": ("consent",),
    "exposures": ("exposure",),
    "chargebacks": ("label",),
    "refunds": ("label",),
    "fraud_reviews": ("label",),
}
POSTED_TABLES = tuple(_KINDS)
_UPDATED_AT = next(column for column in RESERVED_COLUMNS if column.name == "updated_at")


class PostedRows:
    """Rows of the serving log by table and days."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._log = ServingLog.from_settings(settings)
        self._landing = Landing(settings.shop_dir / "landing")

    def has(self, table: str) -> bool:
        """Whether anything of this table was ever posted."""
        return any(self._log.has_flowing_back(kind) for kind in _KINDS[table]) if self._log.exists() else False

    def read(self, table: str, first_day: date, end_day: date) -> pa.Table:
        """Rows of a table that belong to the shop days [first_day, end_day), with `updated_at`.

        Raises:
            LogUnavailable: The log cannot be read.
        """
        start, end = self._settings.day_start(first_day), self._settings.day_start(end_day)
        late_from, late_until = self._late(table, first_day, end_day)
        entries = chain.from_iterable(
            chain(
                self._log.flowing_back(kind, start, end),
                self._log.flowing_back_late(kind, start, late_from, late_until),
            )
            for kind in _KINDS[table]
        )
        return _typed(table, (row for entry in entries for row in self._rows(table, entry)))

    def _late(self, table: str, first_day: date, end_day: date) -> tuple[datetime, datetime]:
        """When entries of earlier days were posted that come with these days: since the days before them landed, and
        until these did, if they did."""
        landed = self._landing.deliveries(table)
        newest = max((batch.last_day for batch in landed if batch.last_day < first_day), default=None)
        before = [batch.landed_at for batch in landed if batch.last_day == newest]
        own = [
            batch.landed_at
            for batch in landed
            if (batch.first_day, batch.last_day) == (first_day, end_day - timedelta(days=1))
        ]
        since = min(before) - _READING if before else datetime(1970, 1, 1, tzinfo=UTC)
        return since, min(own, default=wall_clock())

    def _rows(self, table: str, entry: Logged) -> Iterator[Row]:
        body = json.loads(entry.body)
        if entry.kind == "decision":
            if self._log.find("payment", body["attempt"]["payment_id"]) is not None:
                return  # told how the attempt ended, whichever came first
            # Until then it counts as failed.
            body = {"outcome": "failed"} | body["attempt"]
        for row in _ROWS.get(table, _itself)(body):
            yield {"currency": self._settings.currency} | row | {"updated_at": entry.taken_at}


def _itself(body: Row) -> Iterator[Row]:
    yield body


def _lines(order: Row) -> Iterator[Row]:
    of_order = {name: order[name] for name in ("order_id", "ordered_at", "currency")}
    yield from (of_order | line for line in order["lines"])


def _interaction(body: Row) -> Iterator[Row]:
    yield body | {"interaction_type": body["type"]}


def _shown(exposure: Row) -> Iterator[Row]:
    of_exposure = {name: value for name, value in exposure.items() if name != "items"}
    yield from (of_exposure | item for item in exposure["items"])


def _chargeback(label: Row) -> Iterator[Row]:
    if label["label_source"] == "chargeback":
        yield label | {"chargeback_id": label["label_id"], "reported_at": label["known_at"]}


def _refund(label: Row) -> Iterator[Row]:
    if label["label_source"] == "refund":
        reason = "fraud" if label["is_fraud"] else None
        yield label | {"refund_id": label["label_id"], "refunded_at": label["known_at"], "reason": reason}


def _review(label: Row) -> Iterator[Row]:
    if label["label_source"] == "review":
        verdict = "fraud" if label["is_fraud"] else "legitimate"
        yield label | {"review_id": label["label_id"], "decided_at": label["known_at"], "verdict": verdict}


_ROWS: Mapping[str, Callable[[Row], Iterator[Row]]] = {
    "order_lines": _lines,
    "interactions": _interaction,
    "exposures": _shown,
    "chargebacks": _chargeback,
    "refunds": _refund,
    "fraud_reviews": _review,
}


def _typed(table: str, rows: Iterable[Row]) -> pa.Table:
    columns = (*CONTRACT[table].columns, _UPDATED_AT)
    moments = {column.name for column in columns if column.type is ColumnType.TIMESTAMP}
    schema = pa.schema([pa.field(column.name, column.type.arrow) for column in columns])
    return pa.Table.from_pylist(
        [
            {
                name: datetime.fromisoformat(value) if name in moments and isinstance(value, str) else value
                for name, value in row.items()
                if name in schema.names
            }
            for row in rows
        ],
        schema,
    )
