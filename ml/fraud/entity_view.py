"""What the records of one entity tell at a place: sums of windows, read from the records' columns without objects.

An order waits for it, so tiles stay the lists that they are stored as (`ml.fraud.tiles.Columns`): a window is a few
slices of them and a few single orders.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, NamedTuple

from ml.fraud.spans import SPANS, span_key
from ml.fraud.tiles import (
    AMOUNTS,
    DAY,
    FAILED,
    FRAUDS,
    HOUR,
    HOURS_A_DAY,
    LASTS,
    NUMBERS,
    ORDERS,
    SEEN,
    SQUARES,
    Columns,
    Head,
    Place,
    decode,
)

_EMPTY = Head().encode()
_AT, _CENTS, _IS_FAILED, _SEEN_WITH = 0, 2, 3, 4  # of a single order: [at, order id, cents, is failed, seen]

_Bound = list[Any]
"""The start of a single order's row: [at], or [at, order id]."""


class Sums(NamedTuple):
    """Sums of a span of time; squares are those of all time only."""

    orders: int
    amount_cents: int
    failed: int
    frauds: int
    squares: int = 0


class _Range:
    """What lies in a range of time: slices of tiles, single orders and moments of frauds."""

    __slots__ = ("frauds", "orders", "slices")

    def __init__(self) -> None:
        self.slices: list[tuple[Columns, int, int]] = []
        self.orders: list[list[Any]] = []
        self.frauds = 0

    def add(self, columns: Columns, first: int, end: int) -> None:
        """The tiles of the numbers [first, end)."""
        numbers = columns[NUMBERS]
        start, stop = bisect_left(numbers, first), bisect_left(numbers, end)
        if start < stop:
            self.slices.append((columns, start, stop))

    def extend(self, other: "_Range") -> None:
        self.slices += other.slices
        self.orders += other.orders
        self.frauds += other.frauds

    def sums(self) -> Sums:
        """Without squares."""
        orders, frauds, amount_cents, failed = len(self.orders), self.frauds, 0, 0
        for single in self.orders:
            amount_cents += single[_CENTS]
            failed += single[_IS_FAILED]
        for columns, start, stop in self.slices:
            orders += sum(columns[ORDERS][start:stop])
            amount_cents += sum(columns[AMOUNTS][start:stop])
            failed += sum(columns[FAILED][start:stop])
            frauds += sum(columns[FRAUDS][start:stop])
        return Sums(orders, amount_cents, failed, frauds)

    def squares(self) -> int:
        squares = sum([int(single[_CENTS]) ** 2 for single in self.orders])
        for columns, start, stop in self.slices:
            squares += sum(map(int, columns[SQUARES][start:stop]))
        return squares

    def last_at(self) -> int | None:
        """Of the newest order."""
        newest = [self.orders[-1][_AT]] if self.orders else []
        for columns, start, stop in self.slices:
            newest += [last[0] for last in columns[LASTS][start:stop] if last]
        return max(newest, default=None)


class EntityView:
    """An entity as it stood at a place: what is not earlier does not count.

    Args:
        key: Of its record.
        records: Those that are there of its own and of the spans around the moments that are asked about.
    """

    def __init__(self, key: str, records: Mapping[str, bytes], place: Place) -> None:
        self._key, self._records = key, records
        head = _decoded(key, records.get(key, _EMPTY))
        self._total, self._days, self._hours, self.newest, self._first, self._older = head
        at, order_id = place
        self._hour, self._day = at // HOUR, at // DAY
        self._place: _Bound = [at, order_id]
        self._now = self._in_hour(self._hour, None, self._place)

    def ever(self) -> Sums:
        """Sums of all earlier orders and of the frauds known before."""
        later = self._in_hour(self._hour, self._place, None)
        numbers = self._hours[NUMBERS]
        if numbers and numbers[-1] > self._hour:
            later.add(self._hours, self._hour + 1, numbers[-1] + 1)
        orders, amount_cents, squares, failed, frauds = self._total
        if not later.slices and not later.orders and not later.frauds:
            return Sums(orders, amount_cents, failed, frauds, int(squares))
        rest = later.sums()
        return Sums(
            orders - rest.orders,
            amount_cents - rest.amount_cents,
            failed - rest.failed,
            frauds - rest.frauds,
            int(squares) - later.squares(),
        )

    def since(self, start: int, *, is_tiled: bool) -> Sums:
        """Sums of [start, place); a tiled start is the start of a UTC day."""
        return self._range(start, is_tiled=is_tiled).sums()

    def different(self, of: str, start: int, *, is_tiled: bool) -> int:
        """How many different values of another entity were seen in [start, place)."""
        found = self._range(start, is_tiled=is_tiled)
        values: set[str] = set()
        for columns, first, stop in found.slices:
            for seen in columns[SEEN][first:stop]:
                values.update(seen.get(of, ()))
        values.update([one[_SEEN_WITH][of] for one in found.orders if of in one[_SEEN_WITH]])
        return len(values)

    def first_at(self) -> int | None:
        """Of the earliest order; None when it was taken out again so late that the next one is not known."""
        return self._first[0][0] if self._first else None

    def last_at(self) -> int | None:
        """Of the newest earlier order; None as above."""
        last = self._now.last_at()
        if last is None:
            before = _Range()
            before.add(self._hours, 0, self._hour)
            last = before.last_at()
        return max([at for at, _ in self._older], default=None) if last is None else last

    def _range(self, start: int, *, is_tiled: bool) -> _Range:
        """What lies in [start, place)."""
        found = _Range()
        if is_tiled:
            found.add(self._days, start // DAY, self._day)
            found.add(self._hours, self._day * HOURS_A_DAY, self._hour)
            found.extend(self._now)
            return found
        first = start // HOUR
        if first == self._hour:
            return self._in_hour(first, [start], self._place)
        found.extend(self._in_hour(first, [start], None))
        found.add(self._hours, first + 1, self._hour)
        found.extend(self._now)
        return found

    def _in_hour(self, hour: int, low: _Bound | None, high: _Bound | None) -> _Range:
        found = _Range()
        self._gather(0, hour, low, high, found)
        return found

    def _gather(self, level: int, number: int, low: _Bound | None, high: _Bound | None, found: _Range) -> None:
        """Add what lies in [low, high) of a span; None is no bound."""
        record = self._record(span_key(self._key, level, number))
        if record is None:
            return
        orders, frauds, parts = record
        if parts is None:
            start = 0 if low is None else bisect_left(orders, low)
            stop = len(orders) if high is None else bisect_left(orders, high)
            found.orders += orders[start:stop]
            start = 0 if low is None else bisect_left(frauds, low[_AT])
            stop = len(frauds) if high is None else bisect_left(frauds, high[_AT])
            found.frauds += max(stop - start, 0)
            return
        numbers, span = parts[NUMBERS], SPANS[level + 1]
        first = numbers[0] if low is None else low[_AT] // span
        last = numbers[-1] if high is None else high[_AT] // span
        if low is not None and high is not None and first == last:
            self._gather(level + 1, first, low, high, found)
            return
        if low is not None:
            self._gather(level + 1, first, low, None, found)
            first += 1
        if high is None:
            last += 1
        found.add(parts, first, last)
        if high is not None:
            self._gather(level + 1, last, None, high, found)

    def _record(self, key: str) -> Any:
        raw = self._records.get(key)
        return None if raw is None else _decoded(key, raw)


_WORTH_KEEPING_BYTES = 1000
_MOST_DECODED = 512
_DECODED: dict[str, tuple[bytes, Any]] = {}


def _decoded(key: str, raw: bytes) -> Any:
    """A record; of crowds, orders that come close together read the same ones. Nobody changes what is returned."""
    if len(raw) < _WORTH_KEEPING_BYTES:
        return decode(raw)
    known = _DECODED.pop(key, None)
    if known is None or known[0] != raw:
        known = (raw, decode(raw))
        if len(_DECODED) >= _MOST_DECODED:
            del _DECODED[next(iter(_DECODED))]
    _DECODED[key] = known  # behind those that were not asked for lately
    return known[1]
