"""What the state of fraud features is made of: its keys, and the records that are not an entity's tiles."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Protocol

import msgspec

from ml.fraud.declaration import Declaration
from ml.fraud.events import OrderEvent
from ml.fraud.tiles import DAY, SECOND, Place, Retention, decode, encode

SHOP = "shop"
"""The entity that every order belongs to."""
_FORMAT = 2  # of the records; a higher one has the state built anew


class StateReader(Protocol):
    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Records by key, as of one moment; absent ones are left out."""
        ...


@dataclass(frozen=True)
class OrderRecord:
    """What is kept of an order, so that a duplicate changes nothing and a label finds the order's entities.

    Attributes:
        at: None as long as only a label has come.
        digests: Entity -> digest of its value; null ones are left out.
        fraud_at: When the earliest fraud label became known.
    """

    order_id: str
    at: int | None = None
    payment_id: str = ""
    amount_cents: int = 0
    is_failed: bool = False
    digests: Mapping[str, str] = field(default_factory=dict)
    fraud_at: int | None = None

    @property
    def fraud_counts_from(self) -> int | None:
        """A label that was there before its order counts from the order on."""
        return None if self.fraud_at is None or self.at is None else max(self.fraud_at, self.at)

    def encode(self) -> bytes:
        return encode([getattr(self, name) for name in _ORDER_FIELDS])

    @classmethod
    def decode(cls, raw: bytes) -> "OrderRecord":
        return cls(*decode(raw))


_ORDER_FIELDS = tuple(OrderRecord.__dataclass_fields__)


def state_digest(declaration: Declaration) -> str:
    """Names what records are made by: with another declaration the state has to be built anew."""
    text = json.dumps([_FORMAT, asdict(declaration)], sort_keys=True, default=dict)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def retention(declaration: Declaration) -> Retention:
    """How long what is kept: the longest windows, and a day more for questions that come late."""
    seconds = declaration.window_seconds
    untiled = [seconds[window] * SECOND for window in seconds if not declaration.is_tiled(window)]
    return Retention(
        hours_us=max([DAY, *untiled]) + DAY, days_us=max([DAY, *(one * SECOND for one in seconds.values())]) + DAY,
        ahead_us=DAY,
    )  # fmt: skip


@dataclass(slots=True)
class Pair:
    """Orders of two values together: how many, and those of the last while singly, so that later ones can be told.

    Attributes:
        recent: In their order.
    """

    orders: int = 0
    recent: list[Place] = field(default_factory=list)

    def count(self, place: Place, sign: int, kept_us: int) -> None:
        """Put an order in (1) or take it out (-1); singly stay those at most `kept_us` older than the newest."""
        self.orders += sign
        index = bisect_left(self.recent, place)
        if self.recent[index : index + 1] == [place]:
            del self.recent[index]
        if sign > 0:
            self.recent.insert(index, place)
        if self.recent:
            oldest = self.recent[-1][0] - kept_us
            del self.recent[: bisect_left(self.recent, (oldest, ""))]

    def encode(self) -> bytes:
        return encode([self.orders, self.recent])

    @classmethod
    def decode(cls, raw: bytes) -> "Pair":
        return cls(*_decode_pair(raw))


_decode_pair = msgspec.msgpack.Decoder(tuple[int, list[Place]]).decode


def digests_of(event: OrderEvent, declaration: Declaration) -> dict[str, str]:
    values = {entity: event.values.get(column) for entity, column in declaration.entities.items()}
    return {SHOP: ""} | {entity: digest(value) for entity, value in values.items() if value is not None}


@lru_cache(maxsize=4096)  # an order's values are asked for when its records are read and again when they are looked at
def digest(value: str) -> str:
    return hashlib.blake2b(value.encode(), digest_size=12).hexdigest()


def order_key(order_id: str) -> str:
    return f"order:{digest(order_id)}"


def head_key(entity: str, digest: str) -> str:
    return f"{entity}:{digest}"


def pair_keys(digests: Mapping[str, str], declaration: Declaration) -> dict[tuple[str, str], str]:
    pairs = [pair for pair in declaration.pairs if pair[0] in digests and pair[1] in digests]
    return {pair: f"{pair[0]}+{pair[1]}:{digests[pair[0]]}{digests[pair[1]]}" for pair in pairs}


def others_of(entity: str, declaration: Declaration) -> set[str]:
    """The entities whose different values are counted at an entity."""
    return {one.of for one in declaration.sharing if one.entity == entity}
