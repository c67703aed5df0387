"""Lists of entities that a shop has made up its mind about: block declines, watch reviews, allow approves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml.fraud.declaration import declaration
from ml.fraud.order_table import OrderTable

ListName = Literal["block", "allow", "watch"]
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_NEVER, _END = -(2**63), 2**63 - 1
LISTS: tuple[ListName, ...] = ("block", "allow", "watch")


@dataclass(frozen=True)
class ListEntry:
    """One entity on a list.

    Attributes:
        entity: Such as `device`; see `listable_entities`.
        value: Personal: never shown whole.
        expires_at: Orders from this moment on are no longer meant; None: until removed.
    """

    list_name: ListName
    entity: str
    value: str
    expires_at: datetime | None = None


def listable_entities() -> dict[str, str]:
    """Entity -> the column of an order that names it."""
    return {**declaration().entities, "billing_address": "billing_address_hash"}


class ListIndex:
    """Entries ready to be looked up: those in force and those expired, an order is meant before the expiry."""

    def __init__(self, entries: Sequence[ListEntry]) -> None:
        columns = listable_entities()
        self._held: dict[tuple[str, str], dict[str, int]] = {}
        for entry in entries:
            if entry.entity not in columns:
                continue
            values = self._held.setdefault((f"{entry.list_name}:{entry.entity}", columns[entry.entity]), {})
            expiry = _nanoseconds(entry.expires_at)
            values[entry.value] = max(expiry, values.get(entry.value, expiry))

    def meant(self, orders: OrderTable, times: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.bool_]]:
        """Which orders each list means, as `<list>:<entity>` -> shape (n,). Only names that mean an order are in it.

        Args:
            times: When the orders were attempted, nanoseconds since 1970.
        """
        found: dict[str, npt.NDArray[np.bool_]] = {}
        for (name, column), held in self._held.items():
            expires = [held.get(value, _NEVER) for value in orders.texts(column).tolist()]
            meant = times < np.array(expires, dtype=np.int64)
            if meant.any():
                found[name] = meant
        return found


def mask(value: str) -> str:
    """Enough of a value to tell two apart, too little to know it."""
    return f"{value[:2]}…{value[-2:]}" if len(value) >= 12 else "…"


def _nanoseconds(expiry: datetime | None) -> int:
    if expiry is None:
        return _END
    aware = expiry if expiry.tzinfo is not None else expiry.replace(tzinfo=UTC)
    return min((aware - _EPOCH) // _MICROSECOND * 1000, _END)
