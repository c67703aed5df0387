"""What a table's accepted rows of the recent past were like, for rules that compare with it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.suites.arrivals.from_contract import History
from ml.shop.contract.table import Table
from ml.stores.raw import RawStore

RECENT_DAYS = 28
FEWEST_DAYS = 7
FEWEST_VALUES = 20
"""Below so many values or rows a day a median says little."""


def history_before(raw: RawStore, table: Table, first_day: date) -> History:
    """History of a table before a day, from the raw store."""
    current = raw.versions.current()
    parts = current.parts_of(table.name) if current else ()
    if not parts:
        return History()
    if table.event_time is None:
        newest = max(parts, key=lambda part: (part.partition, part.sha256)).partition.split("/")[0]
        names = [column.name for column in table.columns]
        rows = pa.concat_tables(
            pq.read_table(raw.versions.open_part(part), columns=names)
            for part in parts
            if part.partition.split("/")[0] == newest
        )
        return History(null_shares=_null_shares(table, rows), has_rows=True)
    names = [column.name for column in table.columns if column.nullable or column.is_amount]
    start = first_day - timedelta(days=RECENT_DAYS)
    rows = raw.recent_rows(table.name, [*names, "_event_date"], start, first_day)
    return summarize(table, rows)


def recent_values(raw: RawStore, table: Table, first_day: date, column: str) -> pa.ChunkedArray | None:
    """Values of a column that were accepted before a day, of late; None when there are none."""
    if table.event_time is not None:
        start = first_day - timedelta(days=RECENT_DAYS)
        values = raw.recent_rows(table.name, [column], start, first_day).column(column)
    else:
        current = raw.versions.current()
        parts = current.parts_of(table.name) if current else ()
        if not parts:
            return None
        newest = max(parts, key=lambda part: (part.partition, part.sha256))
        values = pq.read_table(raw.versions.open_part(newest), columns=[column]).column(column)
    return values if len(values) else None


def summarize(table: Table, rows: pa.Table) -> History:
    """History that these rows make up. Columns that the frame lacks are not compared."""
    per_day = pc.value_counts(rows.column("_event_date")).field("counts").to_numpy(zero_copy_only=False)
    amounts = {
        column.name: nonzero(rows.column(column.name)).drop_null().to_numpy()
        for column in table.columns
        if column.is_amount and column.name in rows.column_names
    }
    return replace(summary_of(per_day, amounts), null_shares=_null_shares(table, rows))


def summary_of(rows_of_days: Sequence[int] | np.ndarray, amounts: Mapping[str, np.ndarray]) -> History:
    """History of some days.

    Args:
        rows_of_days: How many rows each day had.
        amounts: Amount column -> its non-zero values.
    """
    rows_per_day = float(np.median(rows_of_days)) if len(rows_of_days) >= FEWEST_DAYS else None
    if rows_per_day is not None and rows_per_day < FEWEST_VALUES:
        rows_per_day = None
    medians = {name: median for name, values in amounts.items() if (median := median_of(values)) is not None}
    return History(medians, rows_per_day, has_rows=True)


def median_of(values: np.ndarray) -> float | None:
    """Their median, if there are enough of them to tell."""
    return float(np.median(values)) if len(values) >= FEWEST_VALUES else None


def nonzero(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values, null where they are 0: many shops give no discount on most lines."""
    return pc.if_else(pc.equal(values, 0), None, values)


def _null_shares(table: Table, rows: pa.Table) -> dict[str, float]:
    if rows.num_rows < FEWEST_VALUES:
        return {}
    names = [column.name for column in table.columns if column.nullable and column.name in rows.column_names]
    return {name: rows.column(name).null_count / rows.num_rows for name in names}
