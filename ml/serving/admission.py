"""How many requests are answered at the same time: as many as can still be answered in time, measured, not guessed.

Requests that are under way share the processor and the disk, so an answer takes about as long as there are many of
them (Little's law: number under way = rate of answers x time of an answer). One request more than fits into the
deadline is late, and makes all others late; it is better refused while it has cost nothing.

The quickest answer of a short while tells whether there is a queue that stands: after a single hold-up (a slow disk, a
model that is loaded) some answers are quick again at once, and nothing is refused for it.
"""

import time
from collections.abc import Callable

SHARE = 0.5
"""Of the deadline: what the quickest answers may take. The slow ones take about twice as long."""
FEWEST, MOST = 8, 200
"""Bounds of the limit. With the fewest there is still something to decide together, and to measure."""
FIRST = 24
WHILE_SECONDS = 0.1
_GROWTH = 1.25


class Admission:
    """The limit of one process on requests under way, for its event loop.

    Args:
        seconds: Deadline of an answer.
        clock: Monotonic, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._allowed, self._clock = seconds * SHARE, clock
        self._ends = clock() + WHILE_SECONDS
        self._quickest = float("inf")
        self._most_under_way = 0
        self.limit = FIRST
        self.under_way = 0

    @property
    def is_full(self) -> bool:
        """Whether one more could not be answered in time."""
        return self.under_way >= self.limit

    def enter(self) -> None:
        """One more is under way."""
        self.under_way += 1
        self._most_under_way = max(self._most_under_way, self.under_way)

    def leave(self, received: float | None) -> None:
        """One is no longer under way.

        Args:
            received: When its first byte was known, by the same clock; None for one that tells nothing of how much
                there is to do: it has no deadline, or was not answered.
        """
        self.under_way -= 1
        now = self._clock()
        if received is not None:
            self._quickest = min(self._quickest, now - received)
        if now >= self._ends:
            self._judge()
            self._ends, self._quickest, self._most_under_way = now + WHILE_SECONDS, float("inf"), self.under_way

    def _judge(self) -> None:
        """Set the limit by the while that ended.

        Too slow: so many as would have been in time at the rate at which the most that were under way were answered.
        Quick, and the limit was felt: a quarter more. Nothing answered, or never full: as it was.
        """
        if self._quickest == float("inf"):
            return
        if self._quickest > self._allowed:
            fitting = int(self._most_under_way * self._allowed / self._quickest)
            self.limit = max(FEWEST, min(self.limit, fitting))
        elif self._most_under_way >= self.limit:
            self.limit = min(MOST, int(self.limit * _GROWTH))
