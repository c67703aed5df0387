"""The frames that expectations judge, made of a batch's rows."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from expectations.casting import Conformed
from expectations.history import RECENT_DAYS, nonzero, summarize
from expectations.suites.arrivals.from_contract import DAY_ROWS, EVENT_DAY, NONZERO, UNREADABLE, History
from ml.settings import Settings
from ml.shop.contract import ColumnType, Table
from ml.stores.landing import Batch

_SPLIT_AFTER_DAYS = 14
"""A first batch longer than this is compared with itself: its second half with its first."""


def open_days(settings: Settings, first: date, last: date) -> list[date]:
    """Days of [first, last] on which the shop is not closed."""
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return [day for day in days if not settings.is_closed(day)]


def delivered_frame(table: Table, conformed: Conformed) -> pd.DataFrame:
    # Great Expectations hashes and copies its frames. That is cheaper for dictionaries than for texts, where texts
    # repeat: not in a column that is the key by itself.
    texts = {column.name for column in table.columns if column.type is ColumnType.STRING}
    frame: pd.DataFrame = conformed.rows.to_pandas(
        categories=sorted(texts - {table.key[0]} if len(table.key) == 1 else texts)
    )
    return frame.assign(**{UNREADABLE.format(name): mask.to_pandas() for name, mask in conformed.unreadable.items()})


def baseline(table: Table, batch: Batch, left: pa.Table, history: History) -> tuple[date, History]:
    """From which day on the batch is judged against history; a long first batch brings its own history."""
    days = (batch.last_day - batch.first_day).days + 1
    if history.has_rows or table.event_time is None or days <= _SPLIT_AFTER_DAYS or left.num_rows == 0:
        return batch.first_day, history
    middle = batch.first_day + timedelta(days=days // 2)
    event_date = pc.field("_event_date")
    start, end = (pa.scalar(day, pa.date32()) for day in (middle - timedelta(days=RECENT_DAYS), middle))
    earlier = left.filter((event_date >= start) & (event_date < end))
    # Null shares are not compared within one batch: a column may have been introduced half-way.
    return middle, replace(summarize(table, earlier), null_shares={}, has_rows=False)


def accepted_frame(table: Table, left: pa.Table, judged_from: date) -> pd.DataFrame:
    """Event days as ordinals, and amounts without zeros from a day on (late rows are not judged by today's prices)."""
    event_days = left.column("_event_date")
    is_judged = pc.greater_equal(event_days, pa.scalar(judged_from, pa.date32()))
    columns = {EVENT_DAY: _ordinals(event_days)}
    for column in table.columns:
        if column.is_amount:
            values = nonzero(pc.if_else(is_judged, left.column(column.name), None))
            columns[NONZERO.format(column.name)] = values.cast(pa.float64()).to_numpy()
    return pd.DataFrame(columns)


def _ordinals(days: pa.ChunkedArray) -> np.ndarray:
    since_epoch: np.ndarray = days.cast(pa.int32()).to_numpy()
    return since_epoch + date(1970, 1, 1).toordinal()


def judged_days(settings: Settings, batch: Batch, left: pa.Table, judged_from: date) -> pd.DataFrame:
    """Rows per open day of the batch, days without rows included; of a long batch the recent days."""
    start = max(judged_from, batch.last_day - timedelta(days=RECENT_DAYS - 1))
    counts = pc.value_counts(left.column("_event_date"))
    found = dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
    return pd.DataFrame(
        {DAY_ROWS: [found.get(day, 0) for day in open_days(settings, start, batch.last_day)]}, dtype="int64"
    )
