"""Whether a batch has the columns and types of the contract, told without quoting what it holds."""

import re

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from expectations.verdicts import RuleResult, Status
from ml.shop.contract import RESERVED_COLUMNS
from ml.shop.contract.table import Column, ColumnType, Table

LINE_COLUMN = "_line"
# A header that is really a row of data must not be quoted; only what looks like a column name is.
_LIKE_A_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")


def known_columns(table: Table) -> tuple[Column, ...]:
    """The columns that are read from a delivery."""
    return (*table.columns, *RESERVED_COLUMNS)


def check_structure(table: Table, rows: pa.Table, is_text: bool) -> list[RuleResult]:
    """Rules about columns and types. Text has no types: its fields are judged one by one."""
    results = [_columns_present(table, rows.schema), *_unknown_columns(table, rows.schema)]
    if not is_text and results[0].status is Status.PASSED:
        results.append(_column_types(table, rows))
    return results


def _columns_present(table: Table, schema: pa.Schema) -> RuleResult:
    missing = missing_columns(table, schema)
    twice = sorted({column.name for column in known_columns(table) if schema.names.count(column.name) > 1})
    problems = [f"{name} is missing" for name in missing] + [f"{name} comes twice" for name in twice]
    if missing:
        problems += [f"unknown column {name}" for name in nameable_unknown(table, schema)]
    if missing and not {column.name for column in table.columns} & set(schema.names):
        problems = ["no column of the contract: is the header missing, or the delimiter another one?"]
    required = ", ".join(column.name for column in table.columns if not column.may_be_absent)
    return RuleResult(
        "columns_present",
        "batch",
        Status.FAILED if problems else Status.PASSED,
        "; ".join(problems) or "all of them",
        f"columns {required}",
    )


def missing_columns(table: Table, schema: pa.Schema) -> list[str]:
    """Columns that must be delivered and are not."""
    return [column.name for column in table.columns if column.name not in schema.names and not column.may_be_absent]


def unknown_columns(table: Table, schema: pa.Schema) -> set[str]:
    """Delivered columns that the contract does not know."""
    return set(schema.names) - {column.name for column in known_columns(table)} - {LINE_COLUMN}


def _unknown_columns(table: Table, schema: pa.Schema) -> list[RuleResult]:
    unknown = unknown_columns(table, schema)
    if not unknown:
        return []
    names = ", ".join(nameable_unknown(table, schema)) or "names withheld"
    observed = f"{len(unknown)} more, not stored: {names}"
    return [RuleResult("unknown_columns", "batch", Status.WARNED, observed, "only columns of the contract")]


def nameable_unknown(table: Table, schema: pa.Schema) -> list[str]:
    """Unknown columns whose names may be told: none, where the header may be a row of data."""
    known = {column.name for column in known_columns(table)} | {LINE_COLUMN}
    if not known & set(schema.names):
        return []
    return sorted({name for name in schema.names if name not in known and _LIKE_A_NAME.fullmatch(name)})


def _column_types(table: Table, rows: pa.Table) -> RuleResult:
    wrong = misfits(table, rows)
    problems = []
    for column in known_columns(table):
        if column.name in wrong:
            unit = " cents" if column.is_amount else ""
            problems.append(f"{column.name}: expected {column.type}{unit}, got {rows.schema.field(column.name).type}")
    return RuleResult(
        "column_types",
        "batch",
        Status.FAILED if problems else Status.PASSED,
        "; ".join(problems) or "all of them",
        "the contract's types",
    )


def misfits(table: Table, rows: pa.Table) -> list[str]:
    """Columns of typed rows whose type is not the contract's and cannot be read as it without loss."""
    return [
        column.name
        for column in known_columns(table)
        if rows.column_names.count(column.name) == 1 and not _fits(column, rows.column(column.name))
    ]


def _fits(column: Column, values: pa.ChunkedArray) -> bool:
    kind = values.type
    if pt.is_null(kind):
        return True
    match column.type:
        case ColumnType.STRING:
            return _is_text(kind.value_type if pt.is_dictionary(kind) else kind)
        case ColumnType.INT64:
            return pt.is_integer(kind) or (pt.is_floating(kind) and _is_integral(values))
        case ColumnType.FLOAT64:
            return bool(pt.is_floating(kind) or pt.is_integer(kind) or pt.is_decimal(kind))
        case ColumnType.BOOL:
            return bool(pt.is_boolean(kind))
        case ColumnType.DATE:
            return bool(pt.is_date(kind))
        case ColumnType.TIMESTAMP:
            return bool(pt.is_timestamp(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind))


def _is_integral(values: pa.ChunkedArray) -> bool:
    """Whether floating numbers are all whole; NaN counts as null."""
    numbers = pc.drop_null(pc.if_else(pc.is_nan(values), None, values))
    within = pc.less(pc.abs(numbers), 2.0**53)
    return bool(pc.all(pc.and_(within, pc.equal(pc.floor(numbers), numbers)), min_count=0).as_py())
