"""A shop's tables in PostgreSQL, in contract form: tables or views of one schema, read by day.

Every table has a column that says when a row was last written (`SHOPWRIGHT_SOURCE_CURSOR`). A day's batch is the
rows that were written on that shop day, whatever day they tell of; the first batch is everything up to its end. An
entity table without the column is a snapshot for any day; an event table without it cannot be read.

Nothing is remembered between reads: which rows belong to a day follows from the day. When the database goes away
in the middle, reading goes on at the newest moment that has come, whose rows are taken again as a whole.

Read by COPY and not by dlt, which was tried: docs/adr/0003-postgres-by-copy.md has the figures and the reasons.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Connection, sql

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import PREFIX, Settings
from ml.shop.contract import CONTRACT, REQUIRED_TABLES
from ml.shop.contract.table import Table, TableKind
from ml.shop.delivery import Delivery
from ml.shop.postgres_copy import SourceColumn, readable_columns, select_rows, stream
from ml.shop.postgres_session import Interrupted, session
from ml.shop.postgres_settling import await_settled

# Waits between tries that brought nothing new; a restart of PostgreSQL takes seconds, a failover up to half a minute.
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
_WRITTEN = "updated_at"
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Plan:
    """What is read of a table, and in what order.

    Attributes:
        cursor: Column of the moment a row was written; None for a snapshot.
        since: First moment; None for the beginning of time.
        until: First moment after.
    """

    columns: tuple[SourceColumn, ...]
    order: tuple[SourceColumn, ...]
    cursor: SourceColumn | None
    since: datetime | None
    until: datetime


class PostgresSource:
    """The schema that `SHOPWRIGHT_SOURCE_SCHEMA` names, in the database of `SHOPWRIGHT_SOURCE_URL`."""

    name = "postgres"

    def __init__(self, settings: Settings, waits: Sequence[float] | None = None) -> None:
        self._settings = settings
        self._schema = settings.source_schema
        self._waits = WAITS if waits is None else waits

    def tables(self) -> tuple[str, ...]:
        found = self._patiently(lambda connection: readable_columns(connection, self._schema, list(CONTRACT)))
        missing = [table for table in REQUIRED_TABLES if table not in found]
        if missing:
            raise DataFailed(
                f"schema {self._schema}: required table {', '.join(missing)} is missing, or the role may not read it; "
                f"found {', '.join(found) or 'no table of the contract'}"
            )
        return tuple(table for table in CONTRACT if table in found)

    def read(self, table: str, first_day: date, end_day: date) -> Delivery:
        contract = CONTRACT[table]
        try:
            columns = self._columns_of(table)
            cursor = self._cursor_of(contract, columns)
            plan = _Plan(
                columns,
                _order_of(contract, columns, cursor),
                cursor,
                # The first batch of a shop brings what is older too.
                None if first_day == self._settings.first_day else self._settings.day_start(first_day),
                self._settings.day_start(end_day),
            )
            if cursor is not None:
                self._patiently(lambda connection: await_settled(connection, end_day, plan.until))
                self._patiently(lambda connection: self._refuse_unwritten(connection, table, cursor))
            rows = self._rows(table, plan)
        except DataFailed as error:
            raise DataFailed(f"{self._schema}.{table}: {error}") from None
        return Delivery(table, _with_contract_name(rows, cursor), "typed")

    def unfit_columns(self) -> list[str]:
        """What a read of each table would fail by, one sentence each, without reading a row.

        Raises:
            DataFailed: A required table is missing.
            ToolFailed: The database cannot be reached.
        """
        problems = []
        for table in self.tables():
            columns = self._columns_of(table)
            try:
                self._cursor_of(CONTRACT[table], columns)
            except DataFailed as error:
                problems.append(f"{table}: {error}")
            kinds = {column.name: column for column in columns}
            for column in CONTRACT[table].columns:
                found = kinds.get(column.name)
                if found is None and not column.may_be_absent:
                    problems.append(f"{table}.{column.name} is missing")
                elif found is not None and not _may_fit(column.type.value, found):
                    problems.append(f"{table}.{column.name} is {found.type}, the contract wants {column.type}")
        return problems

    def _columns_of(self, table: str) -> tuple[SourceColumn, ...]:
        found = self._patiently(lambda connection: readable_columns(connection, self._schema, [table]))
        if table not in found:
            raise DataFailed("no such table, or the role may not read it")
        strange = [c for c in found[table] if c.kind is None and c.name in CONTRACT[table].schema.names]
        if strange:
            told = ", ".join(f"{column.name} is {column.type}" for column in strange)
            raise DataFailed(f"{told}, for which the contract has no type")
        return found[table]

    def _cursor_of(self, table: Table, columns: Sequence[SourceColumn]) -> SourceColumn | None:
        name = self._settings.source_cursor
        found = next((column for column in columns if column.name == name), None)
        if found is None and table.kind is TableKind.ENTITY:
            return None
        if found is None:
            raise DataFailed(
                f"no column {name} ({PREFIX}SOURCE_CURSOR), so it cannot be told which rows a day wrote; add one that "
                "each insert and update sets"
            )
        if not found.is_moment:
            raise DataFailed(f"{name} is {found.type}; a cursor must be a timestamp (timestamptz, or timestamp in UTC)")
        return found

    def _refuse_unwritten(self, connection: Connection, table: str, cursor: SourceColumn) -> None:
        """Rows without a moment would belong to no day, and never come."""
        query = sql.SQL("select count(*) from {0} where {1} is null or not isfinite({1})").format(
            sql.Identifier(self._schema, table), sql.Identifier(cursor.name)
        )
        count = (connection.execute(query).fetchone() or (0,))[0]
        if count:
            raise DataFailed(
                f"{count} row{'s have' if count != 1 else ' has'} no {cursor.name}, so no day would ever bring them; "
                "fill it, and declare it NOT NULL"
            )

    def _rows(self, table: str, plan: _Plan) -> pa.Table:
        """All rows of a plan, over as many conversations as it takes."""
        pieces: list[pa.Table] = []
        since, failures = plan.since, 0
        while True:
            query = select_rows(self._schema, table, plan.columns, _between(plan, since), plan.order)
            try:
                with session(self._settings) as connection:
                    for piece in stream(connection, query, plan.columns):
                        pieces.append(piece)  # noqa: PERF402 - what came before an interruption stays
                return pa.concat_tables(pieces)
            except Interrupted as error:
                before = since
                pieces, since = go_on_from(pieces, plan.cursor, since)
                failures = 1 if since != before else failures + 1
                self._wait(failures, error)

    def _patiently(self, work: Callable[[Connection], _T]) -> _T:
        """Work that begins anew after an interruption."""
        failures = 0
        while True:
            try:
                with session(self._settings) as connection:
                    return work(connection)
            except Interrupted as error:
                failures += 1
                self._wait(failures, error)

    def _wait(self, failures: int, error: Interrupted) -> None:
        if failures > len(self._waits):
            tries = f"{failures} tries over {sum(self._waits):.0f} s" if self._waits else "one try"
            raise ToolFailed(f"{error}; {tries} brought nothing new") from None
        time.sleep(self._waits[failures - 1])


def go_on_from(
    pieces: list[pa.Table], cursor: SourceColumn | None, since: datetime | None
) -> tuple[list[pa.Table], datetime | None]:
    """What is kept of rows that came in order before an interruption, and the moment from which to go on.

    The newest moment's rows may not all have come: they are dropped here and read again.
    """
    moments = [piece[cursor.name] for piece in pieces if piece.num_rows] if cursor is not None else []
    if cursor is None or not moments:
        return [], since
    newest = moments[-1][-1]
    kept = [piece.filter(pc.less(piece[cursor.name], newest)) for piece in pieces]
    moment: datetime = newest.as_py().astimezone(UTC)
    return kept, moment


def _between(plan: _Plan, since: datetime | None) -> sql.Composable:
    if plan.cursor is None:
        return sql.SQL("true")
    name = sql.Identifier(plan.cursor.name)
    until = sql.SQL("{} < {}").format(name, _moment(plan.cursor, plan.until))
    if since is None:
        return until
    return sql.SQL("{} >= {} and {}").format(name, _moment(plan.cursor, since), until)


def _moment(cursor: SourceColumn, moment: datetime) -> sql.Literal:
    """A moment as the cursor's column has it; a time without a zone is UTC, as everywhere in the contract."""
    return sql.Literal(moment.astimezone(UTC) if cursor.has_zone else moment.astimezone(UTC).replace(tzinfo=None))


def _order_of(table: Table, columns: Sequence[SourceColumn], cursor: SourceColumn | None) -> tuple[SourceColumn, ...]:
    """The same rows in the same order make the same batch."""
    keys = [column for name in table.key for column in columns if column.name == name]
    return (cursor, *keys) if cursor is not None else tuple(keys)


def _with_contract_name(rows: pa.Table, cursor: SourceColumn | None) -> pa.Table:
    """The cursor under the contract's name for it, unless the table has a column of that name."""
    if cursor is None or _WRITTEN in rows.column_names:
        return rows
    names: list[Any] = [_WRITTEN if name == cursor.name else name for name in rows.column_names]
    return rows.rename_columns(names)


def _may_fit(wanted: str, found: SourceColumn) -> bool:
    """Whether the column's type can be what the contract wants; numbers may be whole in a type for fractions."""
    kinds = {wanted} | ({"int64", "float64"} if wanted in ("int64", "float64") else set())
    return found.kind is not None and found.kind.value in kinds
