"""What is kept of one entity: totals, and tiles by UTC day and by hour; `ml.fraud.spans` has the orders themselves.

A window's sum is made of the whole tiles inside it and of single orders at its edges. Everything but the order of
arrival decides what a record holds: events may come late, twice and in any order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

SECOND = 1_000_000
"""Microseconds."""
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
HOURS_A_DAY = 24
_PLACES_KEPT = 3

NUMBERS, ORDERS, AMOUNTS, SQUARES, FAILED, FRAUDS, SEEN, LASTS = range(8)
Columns = list[list[Any]]
"""Tiles by number, one list for each field (the names above), so that a window is summed by slices. `SEEN` and `LASTS`
are empty where no tile has any; squares are as `_kept_whole` gives them."""

_ENCODER = msgspec.msgpack.Encoder(order="deterministic")  # the same record is the same bytes
encode = _ENCODER.encode
decode = msgspec.msgpack.Decoder().decode

Place = tuple[int, str]
"""(microseconds since 1970, order id): events are ordered by it."""


class SeenOrder(msgspec.Struct, frozen=True, array_like=True):
    """An order as one of its entities remembers it; a list in its record.

    Attributes:
        seen: Other entity -> digest of its value, of those whose different values are counted.
    """

    at: int
    order_id: str
    amount_cents: int
    is_failed: bool
    seen: dict[str, str]

    @property
    def place(self) -> Place:
        return self.at, self.order_id


@dataclass(slots=True)
class Tile:
    """Sums of a span of time.

    Attributes:
        squares: Sum of squared cents, exact.
        frauds: Orders whose first fraud label became known in the span, whenever they were placed.
        seen: Other entity -> digest of a value -> orders.
        last: Newest order; None in tiles of days and in totals, which are not asked for it.
    """

    orders: int = 0
    amount_cents: int = 0
    squares: int = 0
    failed: int = 0
    frauds: int = 0
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    last: Place | None = None

    @property
    def size(self) -> int:
        """Orders and frauds."""
        return self.orders + self.frauds

    def count(self, order: SeenOrder, sign: int, of: Iterable[str] = (), cap: int = 0) -> None:
        """Add an order, or take it out again.

        Args:
            sign: 1 or -1.
            of: Other entities whose values are remembered; no more than `cap` different ones each.
        """
        self.orders += sign
        self.amount_cents += sign * order.amount_cents
        self.squares += sign * order.amount_cents**2
        self.failed += sign * order.is_failed
        for name in of:
            value = order.seen.get(name)
            if value is not None:
                self._see(name, value, sign, cap)

    def _see(self, name: str, value: str, sign: int, cap: int) -> None:
        values = self.seen.setdefault(name, {})
        if value in values or (sign > 0 and len(values) < cap):
            values[value] = values.get(value, 0) + sign
            if values[value] == 0:
                del values[value]
        if not values:
            del self.seen[name]


def to_columns(tiles: Mapping[int, Tile]) -> Columns:
    """Tiles as they are kept, by number."""
    numbers = sorted(tiles)
    ordered = [tiles[number] for number in numbers]
    return [
        numbers,
        [tile.orders for tile in ordered],
        [tile.amount_cents for tile in ordered],
        [_kept_whole(tile.squares) for tile in ordered],
        [tile.failed for tile in ordered],
        [tile.frauds for tile in ordered],
        [tile.seen for tile in ordered] if any(tile.seen for tile in ordered) else [],
        [tile.last for tile in ordered] if any(tile.last for tile in ordered) else [],
    ]


def from_columns(columns: Columns) -> dict[int, Tile]:
    """The inverse of `to_columns`."""
    *sums, seen, lasts = columns
    numbers = columns[NUMBERS]
    tiles = {
        number: Tile(orders, amount, int(squares), failed, frauds)
        for number, orders, amount, squares, failed, frauds in zip(*sums, strict=True)
    }
    for number, values in zip(numbers, seen, strict=False):  # an empty list: no tile has any
        tiles[number].seen = values
    for number, last in zip(numbers, lasts, strict=False):
        tiles[number].last = None if last is None else (last[0], last[1])
    return tiles


def _kept_whole(number: int) -> int | str:
    """A sum of squares is exact, however large; 64 bits are what a record's numbers have."""
    return number if number < 2**63 else str(number)


@dataclass(frozen=True)
class Retention:
    """How far back single orders, hour tiles and day tiles are kept, behind the newest thing known of the entity.

    Attributes:
        hours_us: Of single orders and hour tiles, microseconds.
        days_us: Of day tiles.
        ahead_us: How much older than the newest thing known a question may be.
    """

    hours_us: int
    days_us: int
    ahead_us: int

    def oldest_hour(self, newest: int) -> int:
        return (newest - self.hours_us) // HOUR

    def oldest_day(self, newest: int) -> int:
        return (newest - self.days_us) // DAY


@dataclass(slots=True)
class Head:
    """All that is kept of an entity, but for its single orders.

    Attributes:
        newest: Newest order or label, microseconds.
        first: The earliest orders, a few, so that one may be taken out again.
        older: The newest orders among those that are no longer kept singly, a few.
    """

    total: Tile = field(default_factory=Tile)
    days: dict[int, Tile] = field(default_factory=dict)
    hours: dict[int, Tile] = field(default_factory=dict)
    newest: int = 0
    first: list[Place] = field(default_factory=list)
    older: list[Place] = field(default_factory=list)

    def encode(self) -> bytes:
        total = self.total
        sums = [total.orders, total.amount_cents, _kept_whole(total.squares), total.failed, total.frauds]
        return encode([sums, to_columns(self.days), to_columns(self.hours), self.newest, self.first, self.older])

    @classmethod
    def decode(cls, raw: bytes) -> "Head":
        (orders, amount, squares, failed, frauds), days, hours, newest, first, older = decode(raw)
        return cls(
            total=Tile(orders, amount, int(squares), failed, frauds),
            days=from_columns(days),
            hours=from_columns(hours),
            newest=newest,
            first=[(at, order_id) for at, order_id in first],
            older=[(at, order_id) for at, order_id in older],
        )

    def advance(self, at: int, retention: Retention) -> dict[int, Tile]:
        """Take note of a moment and forget what is too old for it; returns the hours whose single orders go."""
        if at <= self.newest:  # what was too old then is gone, and no older tile is begun
            return {}
        self.newest = at
        oldest_day, oldest_hour = retention.oldest_day(at), retention.oldest_hour(at)
        for day in [day for day in self.days if day < oldest_day]:
            del self.days[day]
        gone = {hour: self.hours.pop(hour) for hour in [hour for hour in self.hours if hour < oldest_hour]}
        for tile in gone.values():
            self._remember_older(tile.last)
        return gone

    def tiles_at(self, at: int, retention: Retention) -> tuple[Tile | None, Tile | None]:
        """The tiles of the day and of the hour of a moment; None for what is not kept."""
        day = hour = None
        if at // DAY >= retention.oldest_day(self.newest):
            day = self.days.setdefault(at // DAY, Tile())
        if at // HOUR >= retention.oldest_hour(self.newest):
            hour = self.hours.setdefault(at // HOUR, Tile())
        return day, hour

    def drop_empty(self, at: int) -> None:
        """Tiles from which everything was taken out again."""
        for tiles, number in ((self.days, at // DAY), (self.hours, at // HOUR)):
            if number in tiles and tiles[number].size == 0:
                del tiles[number]

    def place(self, order: SeenOrder, *, is_single: bool) -> None:
        """Remember when an order was, among the earliest and, if it is not kept singly, among the older ones."""
        self.first = sorted({*self.first, order.place})[:_PLACES_KEPT]
        if not is_single:
            self._remember_older(order.place)

    def displace(self, order: SeenOrder) -> None:
        """Forget when an order was."""
        self.first = [place for place in self.first if place != order.place]
        self.older = [place for place in self.older if place != order.place]
        if not self.first and self.total.orders > 0:
            kept = [*self.older, *(tile.last for tile in self.hours.values() if tile.last)]
            self.first = sorted(kept)[:1]

    def _remember_older(self, place: Place | None) -> None:
        if place is not None:
            self.older = sorted({*self.older, place})[-_PLACES_KEPT:]
