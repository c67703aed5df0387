"""The state store of fraud features: records under keys, committed together with how far the event log was applied.

SQLite under the state folder, or Redis when `SHOPWRIGHT_STATE_URL` names one. One process writes, any number read. What
is applied twice or by two is refused by the position, which is part of every commit. A state that was lost, that is
being built anew or that was built by another declaration is never read as if it held no orders.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.stores.online_connections import OnlineFile, redis_asked_once, redis_url

if TYPE_CHECKING:
    from redis.client import Pipeline

READER_TIMEOUT_SECONDS = 0.05
WRITER_TIMEOUT_SECONDS = 5.0
_POSITION = "position"
_KEYS_A_QUERY = 30_000
_SQLITE_WAIT_SECONDS = 5.0
_SCHEMA = "create table if not exists state (key text primary key, record blob) without rowid"


class StateUnavailable(ToolFailed):
    """The state cannot be read or written now, or holds less than it should; nothing is known about an order."""


class StateConflict(ToolFailed):
    """Somebody else committed in between; nothing was written."""


@dataclass(frozen=True)
class Position:
    """How far the state has come.

    Attributes:
        applied: Position in the event log up to which all events are in the state.
        needed: Position that it must have reached before it is read: the log's end when it was begun.
        built_by: Digest of the declaration that its records are made by.
        log_id: The event log that the positions are of.
    """

    applied: int
    needed: int
    built_by: str
    log_id: str

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, raw: bytes) -> "Position":
        return cls(**json.loads(raw))


class StateStore(Protocol):
    """Records under keys.

    Both implementations raise StateUnavailable when the store does not answer in time or has no room.
    """

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Records by key as of one commit; absent ones are left out.

        Raises:
            StateUnavailable: Also for a state that is not fit to be read (see the module).
        """
        ...

    def read_unfinished(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The same for who builds it, whatever its position."""
        ...

    def position(self) -> Position | None:
        """None for a state that was never begun, or was lost."""
        ...

    def commit(self, updates: Mapping[str, bytes | None], position: Position, after: Position) -> None:
        """Write records (None takes one away) and the position, all or nothing.

        Raises:
            StateConflict: The position is not `after` any more.
        """
        ...

    def begin(self, position: Position) -> None:
        """Empty the state and set its position."""
        ...


def open_state_store(settings: Settings, built_by: str, *, is_writer: bool = False) -> StateStore:
    """The state store of this shop.

    Args:
        built_by: Digest of the declaration that the reader goes by.
        is_writer: Waits longer; readers have an order waiting for them.

    Raises:
        SettingsError: The URL is of no known kind.
    """
    url = redis_url(settings)
    if url is None:
        return SqliteState(settings.shop_dir / "fraud" / "state.db", built_by)
    timeout = WRITER_TIMEOUT_SECONDS if is_writer else READER_TIMEOUT_SECONDS
    return RedisState(url, f"shopwright:{settings.shop_id}:fraud_state", built_by, timeout)


def _refuse_unfit(position: Position | None, built_by: str) -> None:
    if position is None:
        raise StateUnavailable("the state of fraud features is not there; `shopwright fraud follow` builds it")
    if position.built_by != built_by:
        raise StateUnavailable("the state of fraud features was built by another declaration; it is built anew")
    if position.applied < position.needed:
        raise StateUnavailable("the state of fraud features is being built and has not caught up yet")


def _unavailable(error: sqlite3.Error) -> StateUnavailable:
    return StateUnavailable(f"the state of fraud features (SQLite): {error}")


class SqliteState:
    """In one SQLite file in WAL mode: readers are never blocked.

    A commit that a power cut takes away is applied again from the log, since the position goes with it.
    """

    def __init__(self, path: Path, built_by: str) -> None:
        self._built_by = built_by
        self._file = OnlineFile(path, _SCHEMA, _SQLITE_WAIT_SECONDS, _unavailable)

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = self.read_unfinished([_POSITION, *keys])
        position = found.pop(_POSITION, None)
        _refuse_unfit(None if position is None else Position.decode(position), self._built_by)
        return found

    def read_unfinished(self, keys: Sequence[str]) -> dict[str, bytes]:
        with self._file.transaction("deferred") as connection:
            rows: list[tuple[str, bytes]] = []
            for start in range(0, len(keys), _KEYS_A_QUERY):
                some = list(keys[start : start + _KEYS_A_QUERY])
                marks = ",".join("?" * len(some))
                rows += connection.execute(f"select key, record from state where key in ({marks})", some)  # noqa: S608
        return dict(rows)

    def position(self) -> Position | None:
        raw = self.read_unfinished([_POSITION]).get(_POSITION)
        return None if raw is None else Position.decode(raw)

    def commit(self, updates: Mapping[str, bytes | None], position: Position, after: Position) -> None:
        written = {key: record for key, record in updates.items() if record is not None}
        gone = [(key,) for key, record in updates.items() if record is None]
        with self._file.transaction("immediate") as connection:
            row = connection.execute("select record from state where key = ?", (_POSITION,)).fetchone()
            if row is None or Position.decode(row[0]) != after:
                raise StateConflict("the state of fraud features was changed by another process")
            connection.executemany("delete from state where key = ?", gone)
            records = [*written.items(), (_POSITION, position.encode())]
            connection.executemany("insert or replace into state (key, record) values (?, ?)", records)

    def begin(self, position: Position) -> None:
        with self._file.transaction("immediate") as connection:
            connection.execute("delete from state")
            connection.execute("insert into state (key, record) values (?, ?)", (_POSITION, position.encode()))


class RedisState:
    """In one hash of Redis, so that it is there as a whole or not at all, whatever is evicted or flushed.

    Args:
        timeout_seconds: Of connecting and of each answer; there are no retries.
    """

    def __init__(self, url: str, name: str, built_by: str, timeout_seconds: float = READER_TIMEOUT_SECONDS) -> None:
        self._name, self._built_by = name, built_by
        self._redis = redis_asked_once(url, timeout_seconds)

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        found = self.read_unfinished([_POSITION, *keys])
        position = found.pop(_POSITION, None)
        _refuse_unfit(None if position is None else Position.decode(position), self._built_by)
        return found

    def read_unfinished(self, keys: Sequence[str]) -> dict[str, bytes]:
        if not keys:
            return {}
        with self._answering():
            records: Any = self._redis.hmget(self._name, list(keys))
        return {key: record for key, record in zip(keys, records, strict=True) if record is not None}

    def position(self) -> Position | None:
        raw = self.read_unfinished([_POSITION]).get(_POSITION)
        return None if raw is None else Position.decode(raw)

    def commit(self, updates: Mapping[str, bytes | None], position: Position, after: Position) -> None:
        from redis.exceptions import WatchError

        written: dict[Any, Any] = {key: record for key, record in updates.items() if record is not None}
        gone = [key for key, record in updates.items() if record is None]
        with self._answering(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.watch(self._name)  # type: ignore[no-untyped-call]
            raw: Any = pipeline.hget(self._name, _POSITION)  # answered at once: nothing is queued yet
            if raw is None or Position.decode(raw) != after:
                raise StateConflict("the state of fraud features was changed by another process")
            pipeline.multi()
            self._queue(pipeline, written | {_POSITION: position.encode()}, gone)
            try:
                pipeline.execute()
            except WatchError:
                raise StateConflict("the state of fraud features was changed by another process") from None

    def begin(self, position: Position) -> None:
        with self._answering(), self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(self._name)
            self._queue(pipeline, {_POSITION: position.encode()}, [])
            pipeline.execute()

    def _queue(self, pipeline: "Pipeline", written: dict[Any, Any], gone: list[str]) -> None:
        if gone:
            pipeline.hdel(self._name, *gone)
        pipeline.hset(self._name, mapping=written)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as error:
            # Only the kind of error: its text may hold the URL, and the URL a password.
            raise StateUnavailable(f"the state of fraud features (Redis): {type(error).__name__}") from error
