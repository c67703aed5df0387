"""Quarantined rows as a file that a person edits, and the edited file read back.

A row of the file is tied to its entry by `_row`, its position there. `_batch_id` and `_rule` say which entry the
file is of; other columns whose names begin with an underscore are for the reader. Lines that could not be split
into columns come with their text and empty columns to fill in.
"""

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from math import isnan
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from ml.outcomes import DataFailed
from ml.shop.contract import CONTRACT, RESERVED_COLUMNS
from ml.shop.contract.table import ColumnType
from ml.shop.delimited import read_delimited
from ml.stores.quarantine import UNPARSED_RULE, EntryKey

ROW_COLUMN = "_row"
LINE_COLUMN = "_line"  # where a row stands in its text file, as `read_delimited` notes it
SUFFIXES = (".csv", ".parquet")
_ENTRY_COLUMNS = {"_batch_id": "batch_id", "_rule": "rule"}
_SHOWN = 10
_PRIVATE_FILE = 0o600


@dataclass(frozen=True)
class Repaired:
    """Rows of an entry as somebody offers them again.

    Attributes:
        rows: Contract columns that were delivered, in the contract's order; rows in the order of their positions.
        positions: Of each row within its entry, ascending.
    """

    rows: pa.Table
    positions: np.ndarray
    format: Literal["typed", "text"]


def contract_columns(table: str, names: Sequence[str]) -> list[str]:
    """Those of the names that are columns of a contract table, or reserved ones, in the contract's order."""
    return [column.name for column in (*CONTRACT[table].columns, *RESERVED_COLUMNS) if column.name in names]


def as_offered(key: EntryKey, rows: pa.Table, positions: np.ndarray, *, is_text: bool) -> Repaired:
    """Rows of an entry just as they were delivered."""
    names = contract_columns(key.table, rows.column_names)
    return Repaired(rows.select(names).take(positions), positions, "text" if is_text else "typed")


def write_export(path: Path, key: EntryKey, rows: pa.Table, positions: Sequence[int], delivered: Sequence[str]) -> None:
    """Write rows of an entry as a CSV or Parquet file that only its owner can read.

    Args:
        rows: Rows of the entry with all values, those at `positions`.
        delivered: Columns that the source delivered; a line that could not be split gets them, empty.

    Raises:
        FileExistsError: There is a file of that name; it is left alone.
    """
    exported = _exported(key, rows, positions, delivered)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
    try:
        if path.suffix == ".parquet":
            with os.fdopen(descriptor, "wb") as file:
                pq.write_table(exported, file)
        else:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as text:
                _write_csv(csv.writer(text), key.table, exported)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _exported(key: EntryKey, rows: pa.Table, positions: Sequence[int], delivered: Sequence[str]) -> pa.Table:
    count = rows.num_rows
    columns: dict[str, pa.Array | pa.ChunkedArray] = {
        ROW_COLUMN: pa.array(positions, pa.int64()),
        "_batch_id": pa.array([key.batch_id] * count, pa.string()),
        "_rule": pa.array([key.rule] * count, pa.string()),
    }
    if key.rule == UNPARSED_RULE:
        for name in ("source_file", "line", "text", "reason"):
            columns[f"_{name}" if name != "line" else "_source_line"] = rows.column(name)
        columns |= {name: pa.nulls(count, pa.string()) for name in contract_columns(key.table, delivered)}
    else:
        if LINE_COLUMN in rows.column_names:
            columns["_source_line"] = rows.column(LINE_COLUMN)
        columns |= {name: rows.column(name) for name in contract_columns(key.table, rows.column_names)}
    return pa.table(columns)


def _write_csv(writer: Any, table: str, rows: pa.Table) -> None:
    whole = {column.name for column in CONTRACT[table].columns if column.type is ColumnType.INT64}
    writer.writerow(rows.column_names)
    for row in rows.to_pylist():
        writer.writerow([_as_text(value, is_whole=name in whole) for name, value in row.items()])


def _as_text(value: object, *, is_whole: bool) -> str:
    """A value as the gate reads it from text."""
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and is_whole and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def read_repaired(path: Path, key: EntryKey, entry: pa.Table, delivered_as: Literal["typed", "text"]) -> Repaired:
    """Read an edited export. It may hold fewer rows than the entry, each once, and no others.

    Args:
        entry: All rows of the entry.
        delivered_as: How the source delivered the batch.

    Raises:
        DataFailed: The file cannot be read, or does not fit the entry. The message names columns, positions and
            lines, never a value.
    """
    if path.suffix not in SUFFIXES:
        raise DataFailed(f"{path.name}: expected a file whose name ends in {' or '.join(SUFFIXES)}")
    rows = _read_csv(path) if path.suffix == ".csv" else _read_parquet(path)
    if rows.num_rows == 0:
        raise DataFailed(f"{path.name}: has no row")
    _check_entry_columns(path.name, key, rows)
    positions = _positions(path.name, rows, entry.num_rows)
    known = [] if key.rule == UNPARSED_RULE else contract_columns(key.table, entry.column_names)
    missing = [name for name in known if name not in rows.column_names]
    if missing:
        raise DataFailed(f"{path.name}: column {', '.join(missing)} is missing; the rows in quarantine have it")
    order = np.argsort(positions)
    kept = rows.select(contract_columns(key.table, rows.column_names)).take(order)
    is_text = path.suffix == ".csv" or (delivered_as == "text" and all(_is_text(field.type) for field in kept.schema))
    return Repaired(kept, positions[order], "text" if is_text else "typed")


def _read_csv(path: Path) -> pa.Table:
    found = read_delimited(path, path.name)
    if found.unparsed.num_rows:
        lines = _listed(sorted(set(found.unparsed.column("line").to_pylist())))
        raise DataFailed(f"{path.name}: line {lines} cannot be split into the header's columns")
    return found.rows


def _read_parquet(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            rows = file.read()
    except (pa.ArrowException, OSError):
        raise DataFailed(f"{path.name}: not a readable Parquet file") from None
    repeated = sorted({name for name in rows.column_names if rows.column_names.count(name) > 1})
    if repeated:
        raise DataFailed(f"{path.name}: has the column {', '.join(repeated)} more than once")
    return rows


def _check_entry_columns(name: str, key: EntryKey, rows: pa.Table) -> None:
    for column, attribute in _ENTRY_COLUMNS.items():
        expected = getattr(key, attribute)
        if column in rows.column_names and set(rows.column(column).to_pylist()) != {expected}:
            raise DataFailed(
                f"{name}: {column} is not {expected} in every row; was it exported from another entry of quarantine?"
            )


def _positions(name: str, rows: pa.Table, count: int) -> np.ndarray:
    if ROW_COLUMN not in rows.column_names:
        raise DataFailed(f"{name}: column {ROW_COLUMN} is missing; `shopwright quarantine export` writes it")
    found = [_position(value) for value in rows.column(ROW_COLUMN).to_pylist()]
    unreadable = [index for index, value in enumerate(found) if value is None]
    if unreadable:
        lines = rows.column(LINE_COLUMN).to_pylist() if LINE_COLUMN in rows.column_names else None
        where = [lines[index] if lines else index + 1 for index in unreadable]
        raise DataFailed(
            f"{name}: {ROW_COLUMN} is empty or no whole number in {'line' if lines else 'row'} {_listed(where)}"
        )
    positions = np.array(found, dtype=np.int64)
    unique, counts = np.unique(positions, return_counts=True)
    repeated = unique[counts > 1]
    if len(repeated):
        raise DataFailed(f"{name}: {ROW_COLUMN} {_listed(repeated.tolist())} comes more than once")
    strange = unique[(unique < 0) | (unique >= count)]
    if len(strange):
        raise DataFailed(
            f"{name}: {ROW_COLUMN} {_listed(strange.tolist())} is not in the entry, whose rows are 0 to {count - 1}"
        )
    return positions


def _position(value: object) -> int | None:
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\s*\d{1,18}\s*", value) else None
    if isinstance(value, float):  # pandas writes whole numbers so where some are missing
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_null(kind))


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    return shown if len(numbers) <= _SHOWN else f"{shown} and {len(numbers) - _SHOWN} more"


def original_orders(entry: pa.Table, positions: np.ndarray) -> list[str]:
    """The orders that rows of an entry named when they were set aside; a row that named none is left out."""
    if "order_id" not in entry.column_names:
        return []
    named = pc.cast(entry.column("order_id"), pa.string()).take(positions)
    return [order for order in named.to_pylist() if order]
