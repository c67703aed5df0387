"""Customers' rows in one SQLite file in WAL mode: readers are never blocked by the writer.

Rows are written in transactions of some thousands; their version becomes readable with the last one. The file keeps
the room of removed versions for the next ones. A power cut may take the newest version away; then it is written again
from what is published.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from ml.stores.customer_rows import OlderRows, RowsAbsent, RowsUnavailable, RowsVersion, in_batches
from ml.stores.online_connections import OnlineFile

_WAIT_SECONDS = 5.0
_ROWS_A_TRANSACTION = 2000
_KEYS_A_QUERY = 30_000
_SCHEMA = """
create table if not exists versions (
    version text primary key, number integer not null, description text not null, is_complete integer not null
) without rowid;
create table if not exists rows (
    version integer not null, customer_id text not null, row blob not null, primary key (version, customer_id)
) without rowid;
create table if not exists pointer (one integer primary key check (one = 1), version text not null);
"""


class SqliteRows:
    """See `CustomerRows`. Rows are kept under a number of their version: its name would be as long as some rows."""

    def __init__(self, path: Path) -> None:
        self._file = OnlineFile(path, _SCHEMA, _WAIT_SECONDS, _unavailable)

    def read(self, customer_ids: Sequence[str], version: str | None = None) -> dict[str, bytes]:
        if version is None:
            current = self.version()
            if current is None:
                raise RowsAbsent("the rows of customers are not there; `shopwright recommender publish` writes them")
            version = current.id
        found: dict[str, bytes] = {}
        with self._file.transaction("deferred") as connection:
            row = connection.execute(
                "select number from versions where version = ? and is_complete", (version,)
            ).fetchone()
            if row is None:
                raise RowsAbsent("the rows of customers are not there in this version")
            for start in range(0, len(customer_ids), _KEYS_A_QUERY):
                some = list(customer_ids[start : start + _KEYS_A_QUERY])
                marks = ",".join("?" * len(some))
                query = f"select customer_id, row from rows where version = ? and customer_id in ({marks})"  # noqa: S608
                found.update(connection.execute(query, [row[0], *some]))
        return found

    def version(self) -> RowsVersion | None:
        with self._file.transaction("deferred") as connection:
            return _current(connection)

    def write(self, version: RowsVersion, rows: Iterable[tuple[str, bytes]], *, replaces_newer: bool = False) -> bool:
        with self._file.transaction("immediate") as connection:
            current = _current(connection)
            if current is not None and current.as_of_date > version.as_of_date and not replaces_newer:
                raise OlderRows(f"the rows of customers are as of {current.as_of_date}, after {version.as_of_date}")
            begun = connection.execute(
                "select number, is_complete from versions where version = ?", (version.id,)
            ).fetchone()
            if begun is not None and begun[1]:
                return False
            if begun is None:
                (highest,) = connection.execute("select coalesce(max(number), 0) from versions").fetchone()
                number = highest + 1
                added = (version.id, number, version.encode())
                connection.execute("insert into versions values (?, ?, ?, 0)", added)
            else:
                number = begun[0]
        for some in in_batches(rows, _ROWS_A_TRANSACTION):
            with self._file.transaction("immediate") as connection:
                connection.executemany(
                    "insert or replace into rows (version, customer_id, row) values (?, ?, ?)",
                    [(number, customer_id, row) for customer_id, row in some],
                )
        with self._file.transaction("immediate") as connection:
            connection.execute("update versions set is_complete = 1 where version = ?", (version.id,))
        return True

    def make_current(self, version: RowsVersion) -> None:
        with self._file.transaction("immediate") as connection:
            row = connection.execute(
                "select is_complete from versions where version = ? and is_complete", (version.id,)
            ).fetchone()
            if row is None:
                raise RowsAbsent("the rows of customers are not there in this version")
            before = _current(connection)
            connection.execute("insert or replace into pointer values (1, ?)", (version.id,))
            if before is not None and before.id == version.id:
                return
            kept = (version.id, before.id if before is not None else version.id)
            gone = connection.execute("select number from versions where version not in (?, ?)", kept).fetchall()
            connection.execute("delete from versions where version not in (?, ?)", kept)
        for number in gone:
            with self._file.transaction("immediate") as connection:
                connection.execute("delete from rows where version = ?", number)


def _unavailable(error: sqlite3.Error) -> RowsUnavailable:
    return RowsUnavailable(f"the rows of customers (SQLite): {error}")


def _current(connection: sqlite3.Connection) -> RowsVersion | None:
    row = connection.execute(
        "select description from versions inner join pointer using (version) where is_complete"
    ).fetchone()
    return None if row is None else RowsVersion.decode(row[0])
