"""Cutting a whole table into days by its event time."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.outcomes import DataFailed
from ml.shop.delimited_fast import LINE_COLUMN

_MOMENT = pa.timestamp("us", tz="UTC")


def cut_to_days(
    name: str, rows: pa.Table, unparsed: pa.Table, event_time: str, start: datetime, end: datetime
) -> tuple[pa.Table, pa.Table]:
    """The rows and unparsed lines of a file whose event time lies in [start, end).

    What has no readable event time goes with the row before it in the file (at the top: after it), so that over
    all days every row and line is delivered exactly once.

    Args:
        name: What messages call the file.

    Raises:
        DataFailed: The column is missing, of another type, or holds no time at all.
    """
    _require(name, rows, event_time)
    if not rows.num_rows and not unparsed.num_rows:
        return rows, unparsed
    moments = _moments(name, rows.column(event_time), event_time)
    if moments.null_count == len(moments):
        raise DataFailed(f"{name}: column {event_time} has no readable time in any row; expected UTC timestamps")
    is_within = pc.and_(
        pc.greater_equal(moments, pa.scalar(start.astimezone(UTC), _MOMENT)),
        pc.less(moments, pa.scalar(end.astimezone(UTC), _MOMENT)),
    )
    is_within = pc.fill_null_backward(pc.fill_null_forward(is_within))
    if not unparsed.num_rows:
        return rows.filter(is_within), unparsed
    row_before = np.searchsorted(rows.column(LINE_COLUMN).to_numpy(), unparsed.column("line").to_numpy()) - 1
    return rows.filter(is_within), unparsed.filter(pc.take(is_within, pa.array(np.maximum(row_before, 0))))


def days_of(name: str, rows: pa.Table, event_time: str, zone: ZoneInfo) -> tuple[date, date]:
    """First and last day of a file's rows, on a zone's calendar.

    Raises:
        DataFailed: The column is missing, of another type, or holds no time at all.
    """
    _require(name, rows, event_time)
    found = pc.min_max(_moments(name, rows.column(event_time), event_time)).as_py()
    if found["min"] is None:
        raise DataFailed(f"{name}: column {event_time} has no readable time in any row; expected UTC timestamps")
    return found["min"].astimezone(zone).date(), found["max"].astimezone(zone).date()


def _require(name: str, rows: pa.Table, event_time: str) -> None:
    if event_time not in rows.column_names:
        raise DataFailed(
            f"{name}: column {event_time} is missing; expected it to cut the table into days; "
            f"found {', '.join(column for column in rows.column_names if column != LINE_COLUMN)}"
        )


def _moments(name: str, column: pa.ChunkedArray, event_time: str) -> pa.Array:
    kind = column.type
    if pa.types.is_string(kind):
        parsed = pd.to_datetime(column.to_pandas(), utc=True, errors="coerce", format="ISO8601")
        return pa.Array.from_pandas(parsed.astype("datetime64[us, UTC]"), type=_MOMENT)
    if not pa.types.is_timestamp(kind):
        raise DataFailed(f"{name}: column {event_time} is {kind}; expected UTC timestamps")
    return column.cast(_MOMENT, safe=False).combine_chunks()
