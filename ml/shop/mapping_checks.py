"""What a mapping says, held against the contract: everything that can be known without the shop's files."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TypeAlias

from ml.shop.contract import CONTRACT, RESERVED_COLUMNS
from ml.shop.contract.table import Column, ColumnType, Table, TableKind
from ml.shop.delimited import DELIMITERS
from ml.shop.mapping import POSITION, ColumnRule, FileRule, Mapping, TableRule
from ml.shop.mapping_yaml import Path_

Problem: TypeAlias = tuple[Path_, str]
_NUMBERS = (ColumnType.INT64, ColumnType.FLOAT64)
_OF_FROM = ("values", "otherwise", "remove", "format", "zone")


def problems_of(mapping: Mapping) -> Iterator[Problem]:
    """Every problem with the place where it stands."""
    for name, file in mapping.files.items():
        yield from _file_problems(("files", name), file)
    for name, table in mapping.tables.items():
        place: Path_ = ("tables", name)
        if name not in CONTRACT:
            yield place, f"unknown table; allowed are {', '.join(CONTRACT)}"
        elif table.file not in mapping.files:
            yield (*place, "file"), f"unknown file; allowed are {', '.join(mapping.files)}"
        else:
            yield from _table_problems(place, CONTRACT[name], table, mapping.files[table.file])


def _file_problems(place: Path_, file: FileRule) -> Iterator[Problem]:
    parts = file.path.split("/")
    if file.path.startswith("/") or ".." in parts:
        yield (*place, "path"), "expected a path within the shop's folder"
    if file.path.count("{day}") > 1 or ("{day}" in file.path and "*" in file.path):
        yield (*place, "path"), "expected either * or one {day}"
    if file.delimiter not in DELIMITERS:
        yield (*place, "delimiter"), f"allowed are {', '.join(map(repr, DELIMITERS))}"
    if file.decimal == file.thousands:
        yield (*place, "thousands"), "is the sign before the fraction already"
    if file.time is not None:
        yield from _zone_problems((*place, "time"), file.time.as_rule())


def _table_problems(place: Path_, contract: Table, table: TableRule, file: FileRule) -> Iterator[Problem]:
    known = {column.name: column for column in (*contract.columns, *RESERVED_COLUMNS)}
    missing = [
        column.name for column in contract.columns if not column.may_be_absent and column.name not in table.columns
    ]
    if missing:
        yield (*place, "columns"), f"{', '.join(missing)} is missing; {contract.name} cannot do without"
    for name, rule in table.columns.items():
        here = (*place, "columns", name)
        if name not in known:
            yield here, f"unknown column; allowed are {', '.join(known)}"
            continue
        yield from _column_problems(here, known[name], rule, file)
        yield from _take_problems(here, known[name], rule, table)
    if contract.kind is TableKind.EVENT:
        event_time = table.columns.get(contract.event_time or "")
        if event_time is not None and event_time.source is None:
            yield (
                (*place, "columns", contract.event_time or ""),
                "expected a column of the file (from): it places rows in time",
            )


def _column_problems(here: Path_, column: Column, rule: ColumnRule, file: FileRule) -> Iterator[Problem]:
    given = [key for key in _OF_FROM if getattr(rule, key) is not None]
    if rule.source is None:
        yield from (((*here, key), "only together with from") for key in given)
    if rule.otherwise is not None and rule.values is None:
        yield (*here, "otherwise"), "only together with values"
    if rule.values is not None and (rule.factor is not None or column.type is ColumnType.TIMESTAMP):
        yield (*here, "values"), "neither for a timestamp nor together with factor"
    if rule.format is not None and column.type not in (ColumnType.TIMESTAMP, ColumnType.DATE):
        yield (*here, "format"), f"only for a timestamp or a date; {column.name} is {column.type}"
    if rule.zone is not None and column.type is not ColumnType.TIMESTAMP:
        yield (*here, "zone"), f"only for a timestamp; {column.name} is {column.type}"
    for key in ("factor", "product"):
        if getattr(rule, key) is not None and column.type not in _NUMBERS:
            yield (*here, key), f"only for a number; {column.name} is {column.type}"
    if rule.factor is not None and rule.source is None and rule.product is None:
        yield (*here, "factor"), "only together with from or product"
    if rule.template is not None:
        yield from _template_problems(here, column, rule)
    if rule.where is not None and column.type is not ColumnType.BOOL:
        yield (*here, "where"), f"only for true or false; {column.name} is {column.type}"
    if (rule.delete_where is not None) != (column.name == "_op"):
        yield here, "delete_where goes with _op, and _op with delete_where"
    if column.type is ColumnType.TIMESTAMP and rule.source is not None and not inherits_time(rule, file):
        yield from _zone_problems(here, rule)
    if rule.constant is not None:
        yield from _constant_problems(here, column, rule.constant)


def inherits_time(rule: ColumnRule, file: FileRule) -> bool:
    """Whether a column is read as the file's time is: it is that column, and says nothing else about it."""
    return file.time is not None and file.time.source == rule.source and rule.format is None and rule.zone is None


def _zone_problems(here: Path_, rule: ColumnRule) -> Iterator[Problem]:
    carries_offset = rule.format is not None and all("%z" in form for form in rule.format)
    if rule.zone is None and not carries_offset:
        yield here, "zone is missing: whose clock is it? (zone: Europe/London, or zone: UTC)"


def _template_problems(here: Path_, column: Column, rule: ColumnRule) -> Iterator[Problem]:
    if column.type is not ColumnType.STRING:
        yield (*here, "template"), f"only for text; {column.name} is {column.type}"
    if not [part for part in rule.parts if part != POSITION]:
        yield (*here, "template"), "expected at least one column in braces, such as {Invoice}"


def _constant_problems(here: Path_, column: Column, value: bool | int | Decimal | str) -> Iterator[Problem]:
    place = (*here, "constant")
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if column.type is ColumnType.BOOL and not isinstance(value, bool):
        yield place, "expected true or false"
    elif column.type is ColumnType.INT64 and not (is_number and isinstance(value, int)):
        yield place, "expected a whole number"
    elif column.type is ColumnType.FLOAT64 and not is_number:
        yield place, "expected a number"
    elif column.allowed and value not in column.allowed:
        yield place, f"allowed are {', '.join(column.allowed)}"


def _take_problems(here: Path_, column: Column, rule: ColumnRule, table: TableRule) -> Iterator[Problem]:
    needed = needs_take(rule, table)
    if rule.take is not None and table.one_row_per is None:
        yield (*here, "take"), "only together with one_row_per"
    if table.one_row_per is not None and POSITION in rule.parts:
        yield (*here, "template"), "{#} counts rows of the file: not together with one_row_per"
    if needed and rule.take is None:
        yield here, "take is missing: one_row_per makes one row of many; allowed are first, last, min, max, sum"
    if rule.take == "sum" and column.type not in _NUMBERS:
        yield (*here, "take"), f"sum is only for a number; {column.name} is {column.type}"


def needs_take(rule: ColumnRule, table: TableRule) -> bool:
    """Whether the rows that become one may differ in what the rule reads."""
    return table.one_row_per is not None and not set(rule.reads()) <= set(table.one_row_per)
