"""Single orders and known frauds of an entity: by hour and, where an hour has many, by minute and by second.

A place in time is answered for exactly, so what lies around it must be known one by one. A few orders stand in the
record of their hour; of a crowd (a country, a busy terminal, the whole shop) the hour keeps sums of its minutes, and a
full minute sums of its seconds, each with a record of its own: who asks reads a few small records, however many orders
an hour has. Whether a record is divided follows from what it holds, and not from how it came to hold it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from ml.fraud.tiles import HOUR, MINUTE, SECOND, Columns, Place, SeenOrder, Tile, encode, from_columns, to_columns

SPANS = (HOUR, MINUTE, SECOND)
MOST_SINGLES = 32
"""Orders and frauds that a record holds one by one, unless it is a second's."""
_LETTERS = "hms"
_SMALLEST = len(SPANS) - 1

_decode = msgspec.msgpack.Decoder(tuple[list[SeenOrder], list[int], Columns | None]).decode

Single = SeenOrder | int
"""An order, or the moment at which a fraud became known."""


def span_key(head_key: str, level: int, number: int) -> str:
    """Key of a record; `level` is the place in `SPANS`, `number` counts spans since 1970."""
    return f"{head_key}:{_LETTERS[level]}{number}"


def span_suffixes(at: int) -> list[str]:
    """What the keys of the records around a moment end with, the hour's first."""
    return [f":{letter}{at // span}" for letter, span in zip(_LETTERS, SPANS, strict=True)]


@dataclass(slots=True)
class Bucket:
    """One span.

    Attributes:
        orders: One by one; none in a divided span.
        frauds: Moments of known frauds, one by one.
        parts: Sums of the next smaller spans, by number; None in a span that is not divided.
    """

    orders: list[SeenOrder] = field(default_factory=list)
    frauds: list[int] = field(default_factory=list)
    parts: dict[int, Tile] | None = None

    @property
    def size(self) -> int:
        if self.parts is None:
            return len(self.orders) + len(self.frauds)
        return sum(tile.size for tile in self.parts.values())

    @property
    def newest(self) -> Place | None:
        if self.parts is None:
            return max((order.place for order in self.orders), default=None)
        return max((tile.last for tile in self.parts.values() if tile.last), default=None)

    def change(self, single: Single, sign: int) -> None:
        """Put in (1) or take out (-1) where singles are kept."""
        if isinstance(single, int):
            if sign > 0:
                self.frauds.append(single)
            else:
                self.frauds.remove(single)
        elif sign > 0:
            self.orders.append(single)
        else:
            self.orders = [order for order in self.orders if order.order_id != single.order_id]

    def encode(self) -> bytes:
        orders = sorted(self.orders, key=lambda order: (order.at, order.order_id))
        return encode([orders, sorted(self.frauds), None if self.parts is None else to_columns(self.parts)])

    @classmethod
    def decode(cls, raw: bytes) -> "Bucket":
        orders, frauds, parts = _decode(raw)
        return cls(orders, frauds, None if parts is None else from_columns(parts))


class BucketRecords(Protocol):
    """The records that are being changed; one that becomes empty goes."""

    def bucket(self, key: str) -> Bucket: ...

    def drop(self, key: str) -> None: ...

    def fetch(self, keys: Iterable[str]) -> None:
        """Read these at once instead of one by one."""
        ...

    def note_absent(self, keys: Iterable[str]) -> None:
        """Nothing is kept under these, so that nobody reads for them."""
        ...


class SpanRecords:
    """Changes the records of spans.

    Args:
        cap: Different values that a tile remembers of another entity.
    """

    def __init__(self, records: BucketRecords, cap: int) -> None:
        self._records, self._cap = records, cap

    def change(self, head_key: str, single: Single, sign: int, of: Sequence[str], level: int = 0) -> None:
        """Put in (1) or take out (-1).

        Args:
            of: Other entities whose different values are counted at this one; orders that were single may become
                sums because of any change.
        """
        bucket = self._records.bucket(span_key(head_key, level, _moment(single) // SPANS[level]))
        if bucket.parts is None:
            bucket.change(single, sign)
            if bucket.size > MOST_SINGLES and level < _SMALLEST:
                self._divide(head_key, bucket, of, level)
        else:
            self._change_part(head_key, bucket.parts, single, sign, of, level + 1)
            if sign < 0 and bucket.size <= MOST_SINGLES:
                self._unite(head_key, bucket, level + 1)

    def newest_after(self, head_key: str, last: Place | None, single: Single, sign: int, level: int) -> Place | None:
        """The newest order of the span of a single that was changed, which was `last` before."""
        if isinstance(single, int):
            return last
        if sign > 0:
            return single.place if last is None else max(last, single.place)
        if last != single.place:
            return last
        return self._records.bucket(span_key(head_key, level, single.at // SPANS[level])).newest

    def forget(self, head_key: str, number: int, tile: Tile, level: int = 0) -> None:
        """Drop a span's record and those of its parts; `tile` is its sums."""
        key = span_key(head_key, level, number)
        if tile.size > MOST_SINGLES and level < _SMALLEST:
            for part, sums in (self._records.bucket(key).parts or {}).items():
                self.forget(head_key, part, sums, level + 1)
        self._records.drop(key)

    def _divide(self, head_key: str, bucket: Bucket, of: Sequence[str], level: int) -> None:
        singles: list[Single] = [*bucket.orders, *bucket.frauds]
        bucket.orders, bucket.frauds, bucket.parts = [], [], {}
        numbers = {_moment(single) // SPANS[level + 1] for single in singles}
        self._records.note_absent(span_key(head_key, level + 1, number) for number in numbers)
        for single in singles:
            self._change_part(head_key, bucket.parts, single, 1, of, level + 1)

    def _unite(self, head_key: str, bucket: Bucket, level: int) -> None:
        """The parts hold so little that none of them is divided."""
        keys = [span_key(head_key, level, number) for number in bucket.parts or {}]
        self._records.fetch(keys)
        bucket.parts = None
        for key in keys:
            part = self._records.bucket(key)
            bucket.orders += part.orders
            bucket.frauds += part.frauds
            self._records.drop(key)

    def _change_part(
        self, head_key: str, parts: dict[int, Tile], single: Single, sign: int, of: Sequence[str], level: int
    ) -> None:
        number = _moment(single) // SPANS[level]
        tile = parts.setdefault(number, Tile())
        if isinstance(single, int):
            tile.frauds += sign
        else:
            tile.count(single, sign, of, self._cap)
        self.change(head_key, single, sign, of, level)
        tile.last = self.newest_after(head_key, tile.last, single, sign, level)
        if tile.size == 0:
            del parts[number]


def _moment(single: Single) -> int:
    return single if isinstance(single, int) else single.at
