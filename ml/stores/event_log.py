"""The log of posted events: what is acknowledged here is on disk, in one order for all who read it.

A SQLite file under the state folder, written with full synchronisation. It has one writer at a time, so positions
become visible in their order: who has read up to one has missed none before it. The log is kept whole: from it the
state of fraud features is built anew when it is lost or when the declaration of windows changes.
"""

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from ml.outcomes import ToolFailed
from ml.settings import Settings, wall_clock

_WAIT_SECONDS = 10.0
_SCHEMA = """
create table if not exists events (
    position integer primary key autoincrement, body text not null, taken_at text not null
);
create table if not exists set_aside (position integer primary key, reason text not null);
create table if not exists identity (one integer primary key check (one = 1), id text not null);
"""


class LogUnavailable(ToolFailed):
    """The log cannot be read or written; nothing that was asked to be appended is in it."""


@dataclass(frozen=True)
class LoggedEvent:
    """An event as it was posted."""

    position: int
    body: str


class EventLog:
    """Events in the order in which they were taken in, from position 1 on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    @classmethod
    def from_settings(cls, settings: Settings) -> "EventLog":
        return cls(settings.shop_dir / "fraud" / "events.db")

    def identity(self) -> str:
        """Tells this log from another one that took its place; positions mean nothing in another log."""
        with self._transaction("immediate") as connection:
            connection.execute("insert or ignore into identity (one, id) values (1, ?)", (uuid4().hex,))
            return str(connection.execute("select id from identity").fetchone()[0])

    def append(self, bodies: Sequence[str]) -> int:
        """Take events in, all or none, and return the position of the last one once they are on disk."""
        taken_at = wall_clock().isoformat()
        with self._transaction("immediate") as connection:
            connection.executemany(
                "insert into events (body, taken_at) values (?, ?)", [(body, taken_at) for body in bodies]
            )
            return self._end(connection)

    def read_after(self, position: int, limit: int) -> list[LoggedEvent]:
        with self._transaction("deferred") as connection:
            rows = connection.execute(
                "select position, body from events where position > ? order by position limit ?", (position, limit)
            ).fetchall()
        return [LoggedEvent(*row) for row in rows]

    def end(self) -> int:
        """Position of the newest event; 0 for an empty log."""
        with self._transaction("deferred") as connection:
            return self._end(connection)

    def set_aside(self, reasons: Mapping[int, str]) -> None:
        """Note that events cannot be applied, and why; they stay in the log."""
        with self._transaction("immediate") as connection:
            rows = list(reasons.items())
            connection.executemany("insert or ignore into set_aside (position, reason) values (?, ?)", rows)

    def count_set_aside(self) -> int:
        with self._transaction("deferred") as connection:
            return int(connection.execute("select count(*) from set_aside").fetchone()[0])

    def _end(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("select coalesce(max(position), 0) from events").fetchone()[0])

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection()
            connection.execute(f"begin {kind}")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise LogUnavailable(f"the log of events (SQLite): {error}") from error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.executescript(_SCHEMA)
            self._local.connection = connection
        return connection
