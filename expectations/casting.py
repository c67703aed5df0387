"""Brings delivered rows into the contract's columns and types; what cannot be read is marked, not guessed."""

from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from expectations.structure import known_columns
from ml.shop.contract.table import Column, ColumnType, Table

# How each type is written as text. A time without an offset is UTC, as the contract says.
_PATTERNS = {
    ColumnType.INT64: r"[+-]?\d{1,18}",
    ColumnType.FLOAT64: r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?",
    ColumnType.BOOL: r"(?i)true|false|t|f|1|0",
    ColumnType.DATE: r"\d{4}-\d{2}-\d{2}",
    ColumnType.TIMESTAMP: r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?( ?(Z|[+-]\d{2}(:?\d{2})?))?)?",
}
_SQL_TYPES = {
    ColumnType.INT64: "bigint",
    ColumnType.FLOAT64: "double",
    ColumnType.BOOL: "boolean",
    ColumnType.DATE: "date",
    ColumnType.TIMESTAMP: "timestamptz",
}


@dataclass(frozen=True)
class Conformed:
    """Rows in the contract's columns and types, in the order of delivery.

    Attributes:
        rows: Contract columns, then the reserved ones; an absent column is null.
        unreadable: Column -> whether its text could not be read as its type, per row (text deliveries only).
    """

    rows: pa.Table
    unreadable: dict[str, pa.ChunkedArray]


def conform_typed(table: Table, rows: pa.Table) -> Conformed:
    """Cast typed rows whose structure has been accepted.

    Raises:
        pa.ArrowInvalid: A number does not fit into its contract type.
    """
    columns = {column.name: _cast(column, rows) for column in known_columns(table)}
    return Conformed(pa.table(columns), {})


def _cast(column: Column, rows: pa.Table) -> pa.ChunkedArray:
    if column.name not in rows.column_names:
        return pa.chunked_array([pa.nulls(rows.num_rows, column.type.arrow)])
    values = rows.column(column.name)
    if pt.is_floating(values.type) and column.type in (ColumnType.INT64, ColumnType.FLOAT64):
        values = pc.if_else(pc.is_nan(values), None, values)
    if column.type is ColumnType.TIMESTAMP and pt.is_timestamp(values.type):
        # Nanoseconds are cut to microseconds; a coarser unit that overflows is an error.
        return values.cast(column.type.arrow, safe=values.type.unit != "ns")
    return values.cast(column.type.arrow)


def conform_text(table: Table, rows: pa.Table) -> Conformed:
    """Read the contract's types out of text columns. An empty field is null."""
    readable = [column for column in known_columns(table) if column.name in rows.column_names]
    typed = [column for column in readable if column.type is not ColumnType.STRING]
    terms = [_value_term(column) for column in readable] + [_unreadable_term(column) for column in typed]
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("delivered", rows)
        # No term of this statement comes from the data: names and patterns are the contract's.
        read = connection.sql(f"select {', '.join(terms)} from delivered").to_arrow_table()  # noqa: S608
    values = {column.name: _cast(column, read) for column in known_columns(table)}
    unreadable = {column.name: read.column(f"unreadable {column.name}") for column in typed}
    return Conformed(pa.table(values), unreadable)


def _value_term(column: Column) -> str:
    name = f'"{column.name}"'
    if column.type is ColumnType.STRING:
        return f"nullif({name}, '') as {name}"
    return f"{_read_term(column)} as {name}"


def _read_term(column: Column) -> str:
    name, pattern, kind = f'"{column.name}"', _PATTERNS[column.type], _SQL_TYPES[column.type]
    return f"case when regexp_full_match(trim({name}), '{pattern}') then try_cast(trim({name}) as {kind}) end"


def _unreadable_term(column: Column) -> str:
    name = f'"{column.name}"'
    return f"(trim(coalesce({name}, '')) <> '' and ({_read_term(column)}) is null) as \"unreadable {column.name}\""
