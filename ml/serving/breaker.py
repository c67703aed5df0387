"""A circuit breaker: a store that failed five times in a row is left alone for a while, so that nobody waits for it.

While it stands open nobody asks. After a pause one request is let through to try; the others go on without the store
until that one is answered. If it fails the pause doubles, from one second to thirty. There are no retries anywhere.
"""

import time
from collections.abc import Callable
from typing import Literal

FAILURES_IN_A_ROW = 5
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

State = Literal["closed", "half_open", "open"]


class CircuitBreaker:
    """Counts failures in a row; of one event loop, so it needs no lock.

    Args:
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        failures: int = FAILURES_IN_A_ROW,
        first_pause: float = FIRST_PAUSE_SECONDS,
        longest_pause: float = LONGEST_PAUSE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._first_pause, self._longest_pause, self._clock = failures, first_pause, longest_pause, clock
        self._failures = 0
        self._pause = first_pause
        self._opened_at: float | None = None
        self._is_probed = False

    @property
    def state(self) -> State:
        """closed: everybody asks; open: nobody; half_open: one may try, or is trying."""
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._is_probed or self._clock() - self._opened_at >= self._pause else "open"

    def allows(self) -> bool:
        """Whether to ask the store now. Who was told yes says how it went, with one of the three below."""
        if self._opened_at is None:
            return True
        if self._is_probed or self._clock() - self._opened_at < self._pause:
            return False
        self._is_probed = True
        return True

    def succeeded(self) -> None:
        """The store answered in time. A late word from before the breaker opened does not close it."""
        if self._opened_at is None or self._is_probed:
            self._failures, self._pause, self._opened_at, self._is_probed = 0, self._first_pause, None, False

    def failed(self) -> None:
        """The store did not answer, not in time, or told of an error."""
        if self._is_probed:
            self._pause = min(self._pause * 2, self._longest_pause)
            self._opened_at, self._is_probed = self._clock(), False
        elif self._opened_at is None:
            self._failures += 1
            if self._failures >= self._limit:
                self._opened_at = self._clock()

    def abandoned(self) -> None:
        """Who asked went away before the answer: nothing was learned, and somebody else may try."""
        self._is_probed = False
