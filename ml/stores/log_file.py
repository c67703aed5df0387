"""The SQLite file of the serving log: its tables, and how threads and processes share it.

Who writes waits for the file itself, in steps of less than a millisecond: SQLite's own waiting sleeps up to 100 ms,
which would be the answer time of a shop with several serving processes.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml.outcomes import ToolFailed
from ml.stores.durable import PRIVATE_FOLDER

_WAIT_SECONDS = 10.0
_STEP_SECONDS = 0.0005
_HASTY_SECONDS = 0.01
_WAL_PAGES = 2000
"""The write-ahead file is moved into the main one by a commit that finds it this long (8 MB): only a writer can begin
it anew. What `checkpoint` has moved before is not moved again, so little is left to that commit."""
_TROUBLE = (sqlite3.Error, OSError)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_SCHEMA = """
create table if not exists entries (
    position integer primary key autoincrement,
    kind text not null,
    key text not null,
    body text not null,
    digest text not null,
    event_at integer not null,
    taken_at integer not null,
    flows_back integer not null,
    unique (kind, key)
);
create index if not exists entries_by_event_at on entries (kind, event_at);
create index if not exists entries_by_taken_at on entries (kind, taken_at) where flows_back;
create table if not exists requests (
    key text primary key, digest text not null, taken_at integer not null, outcomes text not null
) without rowid;
create index if not exists requests_by_taken_at on requests (taken_at);
create table if not exists spends (
    day text not null, name text not null, amount integer not null, primary key (day, name)
) without rowid;
create table if not exists profiling (
    customer_id text primary key, changed_at integer not null, is_granted integer not null
) without rowid;
create table if not exists conflicts (kind text not null, key_digest text not null, at integer not null);
create table if not exists set_aside (position integer primary key, reason text not null);
create table if not exists identity (one integer primary key check (one = 1), id text not null);
"""


class LogUnavailable(ToolFailed):
    """The log cannot be read or written; nothing that was asked to be appended is in it."""


class LogFile:
    """Connections to the file, for each thread its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def exists(self) -> bool:
        return self._path.exists()

    def read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of one statement, which sees all that was committed before it."""
        return self._fetch(self._reader, query, values)

    def look(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The same for who cannot wait: a file that is held is given up after a few milliseconds.

        Readers wait for no writer; only a process that dies or is stopped while it opens or mends the file holds it.
        """
        return self._fetch(self._hasty_reader, query, values)

    def _fetch(
        self, connect: Callable[[], sqlite3.Connection], query: str, values: Sequence[Any]
    ) -> list[tuple[Any, ...]]:
        try:
            return connect().execute(query, values).fetchall()
        except _TROUBLE as error:
            raise _unavailable(error) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction of the one writer; on disk when the block is left, undone when it raises."""
        try:
            connection = self._connection("writer", 0)  # `_begin` waits
            self._begin(connection)
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise
        except _TROUBLE as error:
            raise _unavailable(error) from error

    def checkpoint(self) -> None:
        self._fetch(self._reader, "pragma wal_checkpoint(passive)", ())

    def _reader(self) -> sqlite3.Connection:
        return self._connection("reader", _WAIT_SECONDS)

    def _hasty_reader(self) -> sqlite3.Connection:
        return self._connection("hasty_reader", _HASTY_SECONDS)

    def _begin(self, connection: sqlite3.Connection) -> None:
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                connection.execute("begin immediate")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode not in _BUSY or time.monotonic() > until:
                    raise
            time.sleep(_STEP_SECONDS)

    def _connection(self, use: str, wait_seconds: float) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, use, None)
        if connection is None:
            self._path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.executescript(_SCHEMA)
            connection.execute(f"pragma wal_autocheckpoint = {_WAL_PAGES}")
            connection.execute(f"pragma busy_timeout = {int(wait_seconds * 1000)}")
            setattr(self._local, use, connection)
        return connection


def _unavailable(error: Exception) -> LogUnavailable:
    return LogUnavailable(f"the serving log (SQLite): {type(error).__name__}: {error}")
