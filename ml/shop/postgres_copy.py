"""Rows of one PostgreSQL relation as Arrow, streamed by COPY."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import LiteralString

import pyarrow as pa
import pyarrow.csv as pc
from psycopg import Connection, sql

from ml.outcomes import DataFailed
from ml.shop.contract.table import ColumnType

CHUNK_ROWS = 50_000
_CHUNK_BYTES = 16 * 1024**2

_KINDS = {
    **dict.fromkeys(("int2", "int4", "int8"), ColumnType.INT64),
    # A numeric is read as a double: exact for whole numbers up to 2^53, which is what the contract's cents need.
    **dict.fromkeys(("float4", "float8", "numeric"), ColumnType.FLOAT64),
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "uuid", "name"), ColumnType.STRING),
    **dict.fromkeys(("timestamptz", "timestamp"), ColumnType.TIMESTAMP),
    "bool": ColumnType.BOOL,
    "date": ColumnType.DATE,
}

# How each kind travels: as text that does not depend on the session's or the server's settings.
_TERMS: dict[ColumnType, LiteralString] = {
    ColumnType.INT64: "{}",
    ColumnType.FLOAT64: "{}::float8",
    ColumnType.STRING: "{}::text",
    ColumnType.BOOL: "{}",
    ColumnType.DATE: "{} - date '1970-01-01'",
    ColumnType.TIMESTAMP: "(extract(epoch from {}) * 1000000)::bigint",
}
_CARRIERS = {ColumnType.DATE: pa.int32(), ColumnType.TIMESTAMP: pa.int64()}

_COLUMNS = """
select c.relname, a.attname, coalesce(b.typname, t.typname), coalesce(b.typtype, t.typtype)
from pg_catalog.pg_class as c
join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_type as t on t.oid = a.atttypid
left join pg_catalog.pg_type as b on b.oid = t.typbasetype and t.typtype = 'd'
where
    n.nspname = %s
    and c.relname = any(%s)
    and c.relkind in ('r', 'p', 'v', 'm', 'f')
    and has_column_privilege(c.oid, a.attnum, 'select')
order by c.relname, a.attnum
"""


@dataclass(frozen=True)
class SourceColumn:
    """A column that the role may read.

    Attributes:
        type: PostgreSQL's name of its type, such as int8.
        kind: The type as the contract names it; None for what the contract has no type for (JSON, arrays, bytes).
    """

    name: str
    type: str
    kind: ColumnType | None

    @property
    def is_moment(self) -> bool:
        return self.kind is ColumnType.TIMESTAMP

    @property
    def has_zone(self) -> bool:
        return self.type == "timestamptz"


def readable_columns(
    connection: Connection, schema: str, relations: Sequence[str]
) -> dict[str, tuple[SourceColumn, ...]]:
    """The columns that the role may read of the tables and views that are there, by relation."""
    found: dict[str, list[SourceColumn]] = {}
    for relation, name, type_name, type_kind in connection.execute(_COLUMNS, (schema, list(relations))):
        kind = ColumnType.STRING if type_kind == "e" else _KINDS.get(type_name)
        found.setdefault(relation, []).append(SourceColumn(name, type_name, kind))
    return {relation: tuple(columns) for relation, columns in found.items()}


def select_rows(
    schema: str,
    relation: str,
    columns: Sequence[SourceColumn],
    where: sql.Composable,
    order_by: Sequence[SourceColumn],
) -> sql.Composed:
    """The query for rows in one order. Text is ordered by its bytes: collations differ between servers and versions."""
    terms = [
        sql.SQL(_TERMS[column.kind or ColumnType.STRING]).format(sql.Identifier(column.name)) for column in columns
    ]
    order = [
        sql.SQL('{}::text collate "C"' if column.kind in (None, ColumnType.STRING) else "{}").format(
            sql.Identifier(column.name)
        )
        for column in order_by
    ]
    return sql.SQL("select {} from {} where {}{}").format(
        sql.SQL(", ").join(terms),
        sql.Identifier(schema, relation),
        where,
        sql.SQL(" order by {}").format(sql.SQL(", ").join(order)) if order else sql.SQL(""),
    )


def stream(connection: Connection, query: sql.Composed, columns: Sequence[SourceColumn]) -> Iterator[pa.Table]:
    """The query's rows in pieces, each whole rows. All of them are of one moment: the start of the query."""
    with connection.cursor() as cursor, cursor.copy(sql.SQL("copy ({}) to stdout (format csv)").format(query)) as copy:
        lines, size = [], 0
        for line in copy:  # the server sends one message per row
            lines.append(bytes(line))
            size += len(line)
            if len(lines) >= CHUNK_ROWS or size >= _CHUNK_BYTES:
                yield as_arrow(lines, columns)
                lines, size = [], 0
        yield as_arrow(lines, columns)


def as_arrow(lines: Sequence[bytes], columns: Sequence[SourceColumn]) -> pa.Table:
    """Rows of COPY's CSV, where a field without quotes and signs is null and `""` is an empty text."""
    schema = pa.schema([pa.field(column.name, _arrow_type(column)) for column in columns])
    if not lines:
        return schema.empty_table()
    content = b"".join(lines)
    names = [str(position) for position in range(len(columns))]
    try:
        read = pc.read_csv(
            io.BytesIO(content),
            pc.ReadOptions(column_names=names, block_size=len(content) + 1, use_threads=False),
            pc.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            pc.ConvertOptions(
                column_types={name: _carrier(column) for name, column in zip(names, columns, strict=True)},
                null_values=[""],
                true_values=["t"],
                false_values=["f"],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:
        raise DataFailed("a text is not valid UTF-8, or a value is not of its column's type") from None
    assert read.num_rows == len(lines), f"{len(lines)} rows were sent, {read.num_rows} were read"
    return pa.table([values.cast(field.type) for values, field in zip(read.columns, schema, strict=True)], schema)


def _arrow_type(column: SourceColumn) -> pa.DataType:
    return (column.kind or ColumnType.STRING).arrow


def _carrier(column: SourceColumn) -> pa.DataType:
    kind = column.kind or ColumnType.STRING
    return _CARRIERS.get(kind, kind.arrow)
