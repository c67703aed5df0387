"""How the online stores are reached: a SQLite file on one machine, or a Redis that is asked once and not again."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ml.outcomes import ToolFailed
from ml.settings import PREFIX, Settings, SettingsError
from ml.stores.durable import PRIVATE_FOLDER

if TYPE_CHECKING:
    from redis import Redis

_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def redis_url(settings: Settings) -> str | None:
    """Of the Redis that holds the online stores; None where they are files of this machine.

    Raises:
        SettingsError: The URL is of no known kind.
    """
    if settings.state_url is None:
        return None
    url = settings.state_url.get_secret_value()
    if not url.startswith(_REDIS_SCHEMES):
        raise SettingsError(f"{PREFIX}STATE_URL: expected a URL that begins with {', '.join(_REDIS_SCHEMES)}")
    return url


class OnlineFile:
    """A SQLite file in WAL mode: readers are never blocked. For each thread a connection of its own.

    A power cut may take away the last commits, which are written again from what they were made of. A file that was
    deleted or replaced is opened anew: SQLite alone would go on in the one that nobody else sees any more.

    Args:
        schema: Statements that make the tables where they are not there.
        unavailable: Makes the error that callers know, from SQLite's.
    """

    def __init__(
        self, path: Path, schema: str, wait_seconds: float, unavailable: Callable[[sqlite3.Error], ToolFailed]
    ) -> None:
        self._path, self._schema, self._wait_seconds, self._unavailable = path, schema, wait_seconds, unavailable
        self._local = threading.local()

    @contextmanager
    def transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """All or nothing.

        Args:
            kind: `deferred` to read, `immediate` to write.
        """
        try:
            connection = self._connection()
            connection.execute(f"begin {kind}")
            try:
                yield connection
            except BaseException:
                connection.execute("rollback")
                raise
            connection.execute("commit")
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None and self._local.inode != _inode(self._path):
            connection.close()
            connection = None
        if connection is None:
            self._path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=self._wait_seconds, isolation_level=None)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            connection.executescript(self._schema)
            self._local.connection, self._local.inode = connection, _inode(self._path)
        return connection


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def redis_asked_once(url: str, timeout_seconds: float) -> "Redis":
    """A client without retries: a frozen server costs one time limit and not ten.

    Args:
        timeout_seconds: Of connecting and of each answer.
    """
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
    )
    return client
