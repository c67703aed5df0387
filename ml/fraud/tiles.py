"""What is kept of one entity: totals, tiles by UTC day and by hour, and the orders themselves by hour.

A window's sum is made of the whole tiles inside it and of single orders at its edges. Everything but the order of
arrival decides what a record holds: events may come late, twice and in any order.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

HOUR = 3_600_000_000
"""Microseconds."""
DAY = 24 * HOUR
HOURS_A_DAY = 24
_PLACES_KEPT = 3

Place = tuple[int, str]
"""(microseconds since 1970, order id): events are ordered by it."""


@dataclass(frozen=True, slots=True)
class SeenOrder:
    """An order as one of its entities remembers it.

    Attributes:
        seen: Other entity -> digest of its value, of those whose different values are counted.
    """

    at: int
    order_id: str
    amount_cents: int
    is_failed: bool
    seen: Mapping[str, str]

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
        last: Newest order of an hour; None in tiles of days and in totals.
    """

    orders: int = 0
    amount_cents: int = 0
    squares: int = 0
    failed: int = 0
    frauds: int = 0
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    last: Place | None = None

    @property
    def is_empty(self) -> bool:
        return self.orders == 0 and self.frauds == 0

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

    def as_json(self) -> list[object]:
        return [self.orders, self.amount_cents, self.squares, self.failed, self.frauds, self.seen, self.last]

    @classmethod
    def from_json(cls, raw: list[object]) -> "Tile":
        tile = cls(*raw)  # type: ignore[arg-type]  # what as_json wrote
        tile.last = tuple(raw[6]) if raw[6] else None  # type: ignore[arg-type, assignment]
        return tile


@dataclass(slots=True)
class Bucket:
    """The single orders and known frauds of one entity in one hour, by place."""

    orders: list[SeenOrder] = field(default_factory=list)
    frauds: list[Place] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not self.orders and not self.frauds

    def encode(self) -> bytes:
        orders = sorted(self.orders, key=lambda order: order.place)
        rows = [[order.at, order.order_id, order.amount_cents, order.is_failed, order.seen] for order in orders]
        return _dump([rows, sorted(self.frauds)])

    @classmethod
    def decode(cls, raw: bytes) -> "Bucket":
        orders, frauds = json.loads(raw)
        return cls([SeenOrder(*order) for order in orders], [(at, order_id) for at, order_id in frauds])


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
        days = {str(day): tile.as_json() for day, tile in sorted(self.days.items())}
        hours = {str(hour): tile.as_json() for hour, tile in sorted(self.hours.items())}
        return _dump([self.total.as_json(), days, hours, self.newest, self.first, self.older])

    @classmethod
    def decode(cls, raw: bytes) -> "Head":
        total, days, hours, newest, first, older = json.loads(raw)
        return cls(
            total=Tile.from_json(total),
            days={int(day): Tile.from_json(tile) for day, tile in days.items()},
            hours={int(hour): Tile.from_json(tile) for hour, tile in hours.items()},
            newest=newest,
            first=[(at, order_id) for at, order_id in first],
            older=[(at, order_id) for at, order_id in older],
        )

    def advance(self, at: int, retention: Retention) -> list[int]:
        """Take note of a moment and forget what is too old for it; returns the hours whose single orders go."""
        self.newest = max(self.newest, at)
        oldest_day, oldest_hour = retention.oldest_day(self.newest), retention.oldest_hour(self.newest)
        for day in [day for day in self.days if day < oldest_day]:
            del self.days[day]
        gone = [hour for hour in self.hours if hour < oldest_hour]
        for hour in gone:
            self._remember_older(self.hours.pop(hour).last)
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
            if number in tiles and tiles[number].is_empty:
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


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
