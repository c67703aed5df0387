"""The online store of the recommender: one compact row per customer, under the version that it was published in.

SQLite under the state folder, or Redis when `SHOPWRIGHT_STATE_URL` names one. Publishing writes a version whole, marks
it as complete, and only then may the pointer to it move; a reader asks for rows of the version that it has loaded, so
that no answer mixes two. The version before stays until the next one, for readers that have not switched yet.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Protocol

from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.stores.online_connections import redis_url

READER_TIMEOUT_SECONDS = 0.05
WRITER_TIMEOUT_SECONDS = 10.0


class RowsUnavailable(ToolFailed):
    """The rows cannot be read or written now; nothing is known about a customer."""


class RowsAbsent(RowsUnavailable):
    """The store answers and does not have this version whole: it was lost, or is being written."""


class OlderRows(ToolFailed):
    """What is in the store is of a newer day; nothing was written."""


@dataclass(frozen=True)
class RowsVersion:
    """One version of all customers' rows.

    Attributes:
        id: Named for the content: sha256 of the published part, hexadecimal.
        as_of_date: YYYY-MM-DD; the rows know the days before it.
        customers: Rows.
    """

    id: str
    as_of_date: str
    customers: int

    def encode(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def decode(cls, raw: str | bytes) -> "RowsVersion":
        return cls(**json.loads(raw))


class CustomerRows(Protocol):
    """Rows by customer. For use by several threads."""

    def read(self, customer_ids: Sequence[str], version: str | None = None) -> dict[str, bytes]:
        """Rows by customer in one round trip, all of one version; customers without a row are left out.

        Args:
            version: Whose rows; None: the current one (two round trips).

        Raises:
            RowsAbsent: The store does not have this version whole.
            RowsUnavailable: The store does not answer in time.
        """
        ...

    def version(self) -> RowsVersion | None:
        """The current version; None before the first, or when the store has lost it."""
        ...

    def write(self, version: RowsVersion, rows: Iterable[tuple[str, bytes]], *, replaces_newer: bool = False) -> bool:
        """Write a version whole; readers go on with the current one. One that is there whole is left as it is.

        Args:
            replaces_newer: Also when the current version is of a newer day, as after a rollback.

        Returns:
            Whether something was written.

        Raises:
            OlderRows: The current version is of a newer day.
            RowsUnavailable: The store does not answer, or has no room; the version is not readable.
        """
        ...

    def make_current(self, version: RowsVersion) -> None:
        """Make a complete version current, and remove all but it and the one that was current before."""
        ...


def open_customer_rows(settings: Settings, *, is_writer: bool = False) -> CustomerRows:
    """The online store of this shop. Nothing is connected to yet.

    Raises:
        SettingsError: The URL is of no known kind.
    """
    from ml.stores.customer_rows_redis import RedisRows
    from ml.stores.customer_rows_sqlite import SqliteRows

    url = redis_url(settings)
    if url is None:
        return SqliteRows(settings.shop_dir / "serving" / "customers.db")
    timeout = WRITER_TIMEOUT_SECONDS if is_writer else READER_TIMEOUT_SECONDS
    return RedisRows(url, f"shopwright:{settings.shop_id}:customer_rows", timeout)


def in_batches(rows: Iterable[tuple[str, bytes]], size: int) -> Iterator[list[tuple[str, bytes]]]:
    """The rows in lists of at most `size`."""
    left = iter(rows)
    while some := list(islice(left, size)):
        yield some
