"""What the records of one entity tell at a place: sums of windows, read from the records' JSON without objects.

An order waits for it, so tiles stay the lists that they are stored as (`ml.fraud.tiles`); each window adds up a few.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml.fraud.tiles import DAY, HOUR, HOURS_A_DAY, Head, Place

_ORDERS, _AMOUNT, _SQUARES, _FAILED, _FRAUDS, _SEEN, _LAST = range(7)
_EMPTY = Head().encode()

Tile = list[Any]
"""As `ml.fraud.tiles.Tile.as_json` gives it."""


class Sums(NamedTuple):
    """Sums of a span of time; squares are those of all time only."""

    orders: int
    amount_cents: int
    failed: int
    frauds: int
    squares: int = 0


class EntityView:
    """An entity as it stood at a place: what is not earlier does not count.

    Args:
        head: Its record; None where there is none.
        buckets: Records of its single orders by hour, those that are there of `hours_needed`.
    """

    def __init__(self, head: bytes | None, buckets: Mapping[int, bytes], place: Place) -> None:
        total, days, hours, self.newest, self._first, self._older = json.loads(_EMPTY if head is None else head)
        at = place[0]
        self._at = at
        self._hour, self._day = at // HOUR, at // DAY
        self._total: Tile = total
        self._days = [(int(day), tile) for day, tile in days.items()]
        self._hours = [(int(hour), tile) for hour, tile in hours.items()]
        self._today = [tile for hour, tile in self._hours if self._day * HOURS_A_DAY <= hour < self._hour]
        self._buckets: dict[int, tuple[list[Any], list[Any]]] = {}
        self._raw = buckets
        orders, frauds = self._bucket(self._hour)
        earlier = bisect_left(orders, [at, place[1]])  # orders stand in the order of their places
        self._now, self._not_yet = orders[:earlier], orders[earlier:]
        self._frauds_now = [known_at for known_at, _ in frauds]

    def ever(self) -> Sums:
        """Sums of all earlier orders and of the frauds known before."""
        total, at = self._total, self._at
        later = [tile for hour, tile in self._hours if hour > self._hour]
        rest = self._not_yet
        return Sums(
            total[_ORDERS] - sum([tile[_ORDERS] for tile in later]) - len(rest),
            total[_AMOUNT] - sum([tile[_AMOUNT] for tile in later]) - sum([one[2] for one in rest]),
            total[_FAILED] - sum([tile[_FAILED] for tile in later]) - sum([one[3] for one in rest]),
            total[_FRAUDS] - sum([tile[_FRAUDS] for tile in later]) - sum([one >= at for one in self._frauds_now]),
            total[_SQUARES] - sum([tile[_SQUARES] for tile in later]) - sum([one[2] ** 2 for one in rest]),
        )

    def since(self, start: int, *, is_tiled: bool) -> Sums:
        """Sums of [start, place); a tiled start is the start of a UTC day."""
        tiles, singles = self._parts(start, is_tiled=is_tiled)
        orders, amount_cents, failed, frauds = len(singles), 0, 0, 0
        for single in singles:
            amount_cents += single[2]
            failed += single[3]
        for tile in tiles:
            orders += tile[_ORDERS]
            amount_cents += tile[_AMOUNT]
            failed += tile[_FAILED]
            frauds += tile[_FRAUDS]
        known = self._frauds_now
        if not is_tiled and start // HOUR != self._hour:
            known = [*known, *(known_at for known_at, _ in self._bucket(start // HOUR)[1])]
        frauds += sum([start <= known_at < self._at for known_at in known])
        return Sums(orders, amount_cents, failed, frauds)

    def different(self, of: str, start: int, *, is_tiled: bool) -> int:
        """How many different values of another entity were seen in [start, place)."""
        tiles, singles = self._parts(start, is_tiled=is_tiled)
        values: set[str] = set()
        for tile in tiles:
            values.update(tile[_SEEN].get(of, ()))
        values.update([one[4][of] for one in singles if of in one[4]])
        return len(values)

    def first_at(self) -> int | None:
        """Of the earliest order; None when it was taken out again so late that the next one is not known."""
        return self._first[0][0] if self._first else None

    def last_at(self) -> int | None:
        """Of the newest earlier order; None as above."""
        if self._now:
            last: int = self._now[-1][0]
            return last
        before = [tile[_LAST][0] for hour, tile in self._hours if hour < self._hour and tile[_LAST]]
        return max(before or [at for at, _ in self._older], default=None)

    def _parts(self, start: int, *, is_tiled: bool) -> tuple[list[Tile], Sequence[list[Any]]]:
        """The whole tiles of a window, and its single orders."""
        if is_tiled:
            first = start // DAY
            return [*[tile for day, tile in self._days if first <= day < self._day], *self._today], self._now
        first = start // HOUR
        tiles = [tile for hour, tile in self._hours if first < hour < self._hour]
        if first == self._hour:
            return tiles, [one for one in self._now if one[0] >= start]
        edge = [one for one in self._bucket(first)[0] if one[0] >= start]
        return tiles, [*edge, *self._now] if edge else self._now

    def _bucket(self, hour: int) -> tuple[list[Any], list[Any]]:
        """Orders of an hour by place, each [at, order id, cents, is failed, seen]; and frauds, each [at, order id]."""
        known = self._buckets.get(hour)
        if known is None:
            raw = self._raw.get(hour)
            known = self._buckets[hour] = ([], []) if raw is None else tuple(json.loads(raw))
        return known
