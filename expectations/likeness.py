"""Whether a column that nobody knows holds what another one used to hold, told from types and distributions."""

from datetime import timedelta
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expectations.casting import conform_text, conform_typed
from expectations.structure import misfits
from ml.shop.contract.table import ColumnType, Table
from ml.stores.landing import Batch

_SAMPLE = 5_000
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
_FACTOR = 2.0
"""How far apart the same quantiles of two alike columns may be."""
_SHARE = 0.5
_LATE_DAYS = 31


class Likeness(IntEnum):
    NONE = 0
    TYPE = 1
    VALUES = 2


def likeness(
    batch: Batch, table: Table, name: str, other: str, rows: pa.Table, recent: pa.ChunkedArray | None
) -> Likeness:
    """How like what column `name` used to hold the unknown column `other` of a delivery is.

    Args:
        recent: Values of `name` that were accepted of late; without them only types can be compared.
    """
    values = _as_column(batch, table, name, rows.column(other).slice(0, _SAMPLE))
    if values is None:
        return Likeness.NONE
    values = values.drop_null()
    kind = table.column(name).type
    if len(values) == 0:
        return Likeness.TYPE
    if kind in (ColumnType.TIMESTAMP, ColumnType.DATE) and name == table.event_time:
        return Likeness.VALUES if _falls_into(batch, values) else Likeness.NONE
    before = recent.slice(max(0, len(recent) - _SAMPLE)).drop_null() if recent is not None else None
    if before is None or len(before) == 0:
        return Likeness.TYPE
    if kind is ColumnType.STRING:
        alike = _same_words(values, before) or _same_shape(values, before)
    elif kind is ColumnType.BOOL:
        alike = abs(pc.mean(values).as_py() - pc.mean(before).as_py()) < _SHARE / 2
    elif kind in (ColumnType.INT64, ColumnType.FLOAT64):
        alike = _same_quantiles(_numbers(values), _numbers(before))
    else:
        alike = False
    return Likeness.VALUES if alike else Likeness.TYPE


def _as_column(batch: Batch, table: Table, name: str, values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """The values in the type of a contract column, if they can be read so."""
    rows = pa.table({name: values})
    if batch.format == "text":
        read = conform_text(table, rows)
        unreadable = read.unreadable.get(name)
        if unreadable is not None and pc.mean(unreadable.cast(pa.float64())).as_py():
            return None
        return read.rows.column(name)
    if misfits(table, rows):
        return None
    try:
        return conform_typed(table, rows).rows.column(name)
    except pa.ArrowInvalid:
        return None


def _falls_into(batch: Batch, values: pa.ChunkedArray) -> bool:
    days = values.cast(pa.date32(), safe=False)
    span = pc.min_max(days).as_py()
    first, last = batch.first_day - timedelta(days=_LATE_DAYS), batch.last_day + timedelta(days=1)
    return bool(first <= span["min"] and span["max"] <= last)


def _numbers(values: pa.ChunkedArray) -> np.ndarray:
    numbers: np.ndarray = values.cast(pa.float64()).to_numpy()
    return numbers


def _same_quantiles(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = zip(np.quantile(one, _QUANTILES), np.quantile(other, _QUANTILES), strict=True)
    return all(low == high or (low > 0 and high > 0 and 1 / _FACTOR <= low / high <= _FACTOR) for low, high in pairs)


def _same_words(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Whether most values were there before."""
    return bool(pc.mean(pc.is_in(one, other.unique()).cast(pa.float64())).as_py() > _SHARE)


def _same_shape(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Whether both are made like ids of one kind: hardly ever repeated, and of the same letters and digits."""
    if min(len(values.unique()) / len(values) for values in (one, other)) <= _SHARE:
        return False
    return _usual_shape(one) == _usual_shape(other)


def _usual_shape(values: pa.ChunkedArray) -> str | None:
    shapes = pc.replace_substring_regex(pc.replace_substring_regex(values, r"[A-Za-z]+", "a"), r"[0-9]+", "9")
    counts = pc.value_counts(shapes)
    best = max(counts.to_pylist(), key=lambda entry: entry["counts"])
    return str(best["values"]) if best["counts"] > _SHARE * len(values) else None
