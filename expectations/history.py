"""What a table's accepted rows of the recent past were like, for rules that compare with it."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from expectations.suites.arrivals.from_contract import History
from ml.shop.contract import Column, Table
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
        newest = max(parts, key=lambda part: (part.partition, part.sha256))
        names = [column.name for column in table.columns]
        return History(
            null_shares=_null_shares(table, pq.read_table(raw.versions.open_part(newest), columns=names)), has_rows=True
        )
    names = [column.name for column in table.columns if column.nullable or column.is_amount]
    start = first_day - timedelta(days=RECENT_DAYS)
    rows = raw.recent_rows(table.name, [*names, "_event_date"], start, first_day)
    return summarize(table, rows)


def summarize(table: Table, rows: pa.Table) -> History:
    """History that these rows make up. Columns that the frame lacks are not compared."""
    per_day = pc.value_counts(rows.column("_event_date")).field("counts").to_numpy(zero_copy_only=False)
    rows_per_day = float(np.median(per_day)) if len(per_day) >= FEWEST_DAYS else None
    if rows_per_day is not None and rows_per_day < FEWEST_VALUES:
        rows_per_day = None
    amounts = [column for column in table.columns if column.is_amount and column.name in rows.column_names]
    medians = {column.name: median for column in amounts if (median := _median(column, rows)) is not None}
    return History(medians, rows_per_day, _null_shares(table, rows), has_rows=True)


def _median(column: Column, rows: pa.Table) -> float | None:
    values = nonzero(rows.column(column.name)).drop_null()
    return float(np.median(values.to_numpy())) if len(values) >= FEWEST_VALUES else None


def nonzero(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values, null where they are 0: many shops give no discount on most lines."""
    return pc.if_else(pc.equal(values, 0), None, values)


def _null_shares(table: Table, rows: pa.Table) -> dict[str, float]:
    if rows.num_rows < FEWEST_VALUES:
        return {}
    names = [column.name for column in table.columns if column.nullable and column.name in rows.column_names]
    return {name: rows.column(name).null_count / rows.num_rows for name in names}
