"""Customers' rows in Redis: one hash per version, so that a version is there as a whole or not at all.

A field of its own marks a hash as complete and is read with every row: a hash that was flushed, evicted or is being
written is never read as if it held no customers.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ml.stores.customer_rows import OlderRows, RowsAbsent, RowsUnavailable, RowsVersion, in_batches
from ml.stores.online_connections import redis_asked_once

_COMPLETE = "\0complete"  # no customer id holds a NUL
_ROWS_A_COMMAND = 100  # under a megabyte: others are not kept waiting for milliseconds


class RedisRows:
    """See `CustomerRows`.

    Args:
        name: Prefix of the keys: `<name>` says which version is current and which one was before, `<name>:<version>`
            holds its rows.
        timeout_seconds: Of connecting and of each answer; there are no retries.
    """

    def __init__(self, url: str, name: str, timeout_seconds: float) -> None:
        self._name = name
        self._redis = redis_asked_once(url, timeout_seconds)

    def read(self, customer_ids: Sequence[str], version: str | None = None) -> dict[str, bytes]:
        if version is None:
            current = self.version()
            if current is None:
                raise RowsAbsent("the rows of customers are not there; `shopwright recommender publish` writes them")
            version = current.id
        with self._answering():
            found: Any = self._redis.hmget(self._key(version), [_COMPLETE, *customer_ids])
        if found[0] is None:
            raise RowsAbsent("the rows of customers are not there in this version")
        return {key: row for key, row in zip(customer_ids, found[1:], strict=True) if row is not None}

    def version(self) -> RowsVersion | None:
        with self._answering():
            name: Any = self._redis.hget(self._name, "current")
            raw: Any = None if name is None else self._redis.hget(self._key(name.decode()), _COMPLETE)
        return None if raw is None else RowsVersion.decode(raw)

    def write(self, version: RowsVersion, rows: Iterable[tuple[str, bytes]], *, replaces_newer: bool = False) -> bool:
        current = self.version()
        if current is not None and current.as_of_date > version.as_of_date and not replaces_newer:
            raise OlderRows(f"the rows of customers are as of {current.as_of_date}, after {version.as_of_date}")
        key = self._key(version.id)
        with self._answering():
            if self._redis.hexists(key, _COMPLETE):
                return False
            for some in in_batches(rows, _ROWS_A_COMMAND):
                mapping: dict[Any, Any] = dict(some)
                self._redis.hset(key, mapping=mapping)
            self._redis.hset(key, _COMPLETE, version.encode())
        return True

    def make_current(self, version: RowsVersion) -> None:
        with self._answering():
            if not self._redis.hexists(self._key(version.id), _COMPLETE):
                raise RowsAbsent("the rows of customers are not there in this version")
            raw: Any = self._redis.hget(self._name, "current")
            before = version.id if raw is None else raw.decode()
            if raw is not None and before == version.id:
                return
            self._redis.hset(self._name, "current", version.id)
            kept = {self._key(name) for name in (version.id, before)}
            found: Any = self._redis.scan_iter(match=self._key("*"), count=1000)
            for gone in [key for key in found if key.decode() not in kept]:
                self._redis.unlink(gone)

    def _key(self, version: str) -> str:
        return f"{self._name}:{version}"

    @contextmanager
    def _answering(self) -> Iterator[None]:
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as error:
            # Only the kind of error: its text may hold the URL, and the URL a password.
            raise RowsUnavailable(f"the rows of customers (Redis): {type(error).__name__}") from error
