"""Orders of late, kept in a few bytes each: who and what they were of, as numbers, so that any may be counted.

Every process keeps them, two days long: a million orders a day take a quarter of a gigabyte, and not several. Counting
goes over all rows at once, a millisecond where there are a million; it is asked for when counted features are missing.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

import numpy as np

_FIRST_ROWS = 1024
_AT, _ORDER = 0, 1
_TIDY_AT = 1000


class RecentOrders:
    """Orders by who and what; the same order may be noted again. For one thread at a time.

    Args:
        columns: By which orders are counted.
        kept_us: How far behind the newest order they are kept, microseconds.
    """

    def __init__(self, columns: Sequence[str], kept_us: int) -> None:
        self._place = {column: at for at, column in enumerate(columns, start=_ORDER + 1)}
        self._kept_us = kept_us
        self._rows = np.zeros((len(columns) + _ORDER + 1, _FIRST_ROWS), dtype=np.int64)
        self._count = 0
        self.newest = 0

    def note(self, order_id: str, at: int, values: Mapping[str, str]) -> None:
        """Keep an order.

        Args:
            at: When it was attempted, microseconds since 1970.
            values: Column -> who or what it was of.
        """
        self.newest = max(self.newest, at)
        if at < self.newest - self._kept_us:
            return
        if self._count == self._rows.shape[1]:
            self._make_room()
        self._rows[:, self._count] = (at, hash(order_id), *(_number(values.get(column)) for column in self._place))
        self._count += 1

    def count(self, column: str, value: str, start: int, end: int, but: str) -> int:
        """Orders of a value in [start, end], without the order `but`."""
        rows = self._rows[:, : self._count]
        found = rows[: _ORDER + 1, rows[self._place[column]] == _number(value)]
        inside = (found[_AT] >= start) & (found[_AT] <= end)
        return len(set(found[_ORDER, inside].tolist()) - {hash(but)})

    def _make_room(self) -> None:
        rows = self._rows
        kept = rows[:, rows[_AT] >= self.newest - self._kept_us]
        self._count = kept.shape[1]
        self._rows = np.zeros((rows.shape[0], max(_FIRST_ROWS, 2 * self._count)), dtype=np.int64)
        self._rows[:, : self._count] = kept


class Moments:
    """When orders were attempted, each order once; what is older than the window goes. For one thread at a time.

    Attributes:
        sorted: Nanoseconds since 1970.
    """

    def __init__(self) -> None:
        self.sorted: array[int] = array("q")
        # Orders of this window and of the one before, so that none has to be found again when it goes.
        self._orders: set[int] = set()
        self._earlier: set[int] = set()
        self._since = 0

    def count(self, order_id: str, moment: int, window_ns: int) -> None:
        order = hash(order_id)
        if order in self._orders or order in self._earlier:
            return
        if self.sorted and moment < self.sorted[-1] - window_ns:
            return
        if moment > self._since + window_ns:
            self._orders, self._earlier, self._since = set(), self._orders, moment
        self._orders.add(order)
        insort(self.sorted, moment)
        gone = bisect_left(self.sorted, self.sorted[-1] - window_ns)
        if gone > _TIDY_AT and gone > len(self.sorted) // 2:  # rarely, so that it costs nothing on average
            del self.sorted[:gone]


def _number(value: str | None) -> int:
    """Of a value, in this process; 0 is none."""
    return 0 if value is None else hash(value) or 1
