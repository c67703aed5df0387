"""Orders of late, kept in a few bytes each: who and what they were of, as numbers, so that any may be counted.

Every process keeps them, two days long: a million orders a day take a tenth of a gigabyte, and not several. Counting
goes over all rows at once, a millisecond where there are a million; it is asked for when counted features are missing.
Rows lie in blocks, and none is copied to make room: a copy would be memory too, and answers would wait for it.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence

import numpy as np

_BLOCK_ROWS = 8192
_AT, _ORDER = 0, 1
_TIDY_AT = 1000


class RecentOrders:
    """Orders by who and what; the same order may be noted again. For one thread at a time.

    Args:
        columns: By which orders are counted.
        kept_us: How far behind the newest order they are kept, microseconds; a block goes when all of its orders may.
    """

    def __init__(self, columns: Sequence[str], kept_us: int) -> None:
        self._place = {column: at for at, column in enumerate(columns, start=_ORDER + 1)}
        self._kept_us = kept_us
        self._blocks: list[np.ndarray] = []
        self._count = _BLOCK_ROWS  # rows of the last block that are filled
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
        if self._count == _BLOCK_ROWS:
            oldest = self.newest - self._kept_us
            self._blocks = [block for block in self._blocks if block[_AT].max() >= oldest]
            self._blocks.append(np.zeros((_ORDER + 1 + len(self._place), _BLOCK_ROWS), dtype=np.int64))
            self._count = 0
        row = (at, hash(order_id), *(_number(values.get(column)) for column in self._place))
        self._blocks[-1][:, self._count] = row
        self._count += 1

    def count(self, column: str, value: str, start: int, end: int, but: str) -> int:
        """Orders of a value in [start, end], without the order `but`."""
        orders: set[int] = set()
        for block in self._blocks:  # rows that are not filled are of no value
            found = block[: _ORDER + 1, block[self._place[column]] == _number(value)]
            inside = (found[_AT] >= start) & (found[_AT] <= end)
            orders.update(found[_ORDER, inside].tolist())
        return len(orders - {hash(but)})


class _Orders:
    """Which orders there were. The newest are in a set, where each takes ten times the bytes of those before."""

    def __init__(self) -> None:
        self._newest: set[int] = set()
        self._blocks: list[array[int]] = []

    def __contains__(self, order: int) -> bool:
        if order in self._newest:
            return True
        for block in self._blocks:
            at = bisect_left(block, order)
            if at < len(block) and block[at] == order:
                return True
        return False

    def add(self, order: int) -> None:
        self._newest.add(order)
        if len(self._newest) == _BLOCK_ROWS:
            self._blocks.append(array("q", sorted(self._newest)))
            self._newest = set()


class Moments:
    """When orders were attempted, each order once; what is older than the window goes. For one thread at a time.

    Attributes:
        sorted: Nanoseconds since 1970.
    """

    def __init__(self) -> None:
        self.sorted: array[int] = array("q")
        # Orders of this window and of the one before, so that none has to be found again when it goes.
        self._orders, self._earlier = _Orders(), _Orders()
        self._since = 0

    def count(self, order_id: str, moment: int, window_ns: int) -> None:
        order = hash(order_id)
        if order in self._orders or order in self._earlier:
            return
        if self.sorted and moment < self.sorted[-1] - window_ns:
            return
        if moment > self._since + window_ns:
            self._orders, self._earlier, self._since = _Orders(), self._orders, moment
        self._orders.add(order)
        insort(self.sorted, moment)
        gone = bisect_left(self.sorted, self.sorted[-1] - window_ns)
        if gone > _TIDY_AT and gone > len(self.sorted) // 2:  # rarely, so that it costs nothing on average
            del self.sorted[:gone]


def _number(value: str | None) -> int:
    """Of a value, in this process; 0 is none."""
    return 0 if value is None else hash(value) or 1
