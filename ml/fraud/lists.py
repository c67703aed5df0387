"""Lists of entities that a shop has made up its mind about: block declines, watch reviews, allow approves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.declaration import declaration

ListName = Literal["block", "allow", "watch"]
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


def on_lists(orders: pd.DataFrame, entries: Sequence[ListEntry]) -> dict[str, npt.NDArray[np.bool_]]:
    """Which orders each list means, as `<list>:<entity>` -> shape (n,). Only names that mean an order are in it.

    Args:
        orders: With attempted_at; a list entry about a column that is absent means no order.
        entries: In force or expired; an order is meant when its attempt lies before the expiry.
    """
    columns = listable_entities()
    moments = pd.to_datetime(orders["attempted_at"], utc=True)
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for (name, entity), held in _grouped(entries).items():
        column = columns.get(entity)
        if column is None or column not in orders.columns:
            continue
        expires = orders[column].astype(object).map(held)  # NaT-free: an entry without expiry ends with time itself
        meant = np.asarray((moments < pd.to_datetime(expires, utc=True)).to_numpy(), dtype=np.bool_)
        if meant.any():
            found[f"{name}:{entity}"] = meant
    return found


def mask(value: str) -> str:
    """Enough of a value to tell two apart, too little to know it."""
    return f"{value[:2]}…{value[-2:]}" if len(value) >= 12 else "…"


def _grouped(entries: Sequence[ListEntry]) -> Mapping[tuple[str, str], Mapping[str, pd.Timestamp]]:
    """(list, entity) -> value -> its latest expiry."""
    end = pd.Timestamp("2262-01-01", tz="UTC")
    grouped: dict[tuple[str, str], dict[str, pd.Timestamp]] = {}
    for entry in entries:
        expiry = pd.Timestamp(entry.expires_at) if entry.expires_at is not None else end
        values = grouped.setdefault((entry.list_name, entry.entity), {})
        values[entry.value] = max(expiry, values.get(entry.value, expiry))
    return grouped
