"""How often a key may ask, and how often about one customer: buckets of tokens, in the memory of each process.

The processes that share the port share the limits in equal parts: none asks another, so that no store has to answer
before a request may be refused.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from ml.serving.errors import Refusal

_MOST_BUCKETS = 100_000


class Buckets:
    """One bucket for each name; the names asked for longest ago are forgotten when there are too many.

    Args:
        per_second: Tokens that each bucket gains.
        capacity: Tokens that it holds, at least one.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        per_second: float,
        capacity: float,
        clock: Callable[[], float] = time.monotonic,
        most: int = _MOST_BUCKETS,
    ) -> None:
        self._rate, self._capacity, self._clock, self._most = per_second, max(capacity, 1.0), clock, most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, count: int = 1) -> float:
        """Take tokens.

        A request for more than a bucket holds is let through by a full one, and its debt is paid off before the next.

        Returns:
            0.0 when they were there; else the seconds until they are, and nothing is taken.
        """
        now = self._clock()
        tokens, at = self._buckets.pop(name, (self._capacity, now))
        tokens = min(self._capacity, tokens + (now - at) * self._rate)
        wanted = min(float(count), self._capacity)
        is_there = tokens >= wanted - 1e-9
        self._buckets[name] = (tokens - count if is_there else tokens, now)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return 0.0 if is_there else (wanted - tokens) / self._rate


class Limits:
    """The limits of one process.

    Args:
        key_requests_per_second: Of each key, over all processes.
        customer_requests_per_minute: About each customer, over all processes.
        workers: Processes that share the port.
    """

    def __init__(
        self,
        key_requests_per_second: int,
        customer_requests_per_minute: int,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        key_rate = key_requests_per_second / workers
        customer_rate = customer_requests_per_minute / workers / 60
        self._keys = Buckets(key_rate, key_rate, clock)
        self._customers = Buckets(customer_rate, customer_rate * 60, clock)

    def take_key(self, name: str, count: int = 1) -> None:
        """Count requests of a key; raises Refusal (429) when there are too many."""
        if wait := self._keys.take(name, count):
            raise _too_many("This key asks too often.", wait)

    def take_customer(self, customer_id: str | None) -> None:
        """Count a request about a customer; raises Refusal (429) when there are too many. Nobody's are not counted."""
        if customer_id is not None and (wait := self._customers.take(customer_id)):
            raise _too_many("There are too many requests about this customer.", wait)


def _too_many(message: str, wait: float) -> Refusal:
    return Refusal(429, "too_many_requests", message, headers={"Retry-After": str(int(wait) + 1)})
