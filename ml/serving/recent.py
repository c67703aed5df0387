"""What happened lately, in the memory of each process: for the stand-in's limits and the rules' circuit breakers.

Read from the serving log alone, so that it is there when the online store is not. A process notes its own decisions at
once, and those of others and posted payments a tenth of a second later. Until it has read the newest of the log, and
for orders of long ago, velocities are unknown, and unknown is never within limits.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ml.fraud.engine import DayUse, RuleHistory
from ml.fraud.events import OrderEvent, microseconds
from ml.outcomes import ToolFailed
from ml.serving.decision_record import moment_of
from ml.serving.recent_orders import Moments, RecentOrders
from ml.settings import Settings
from ml.stores.log_entries import ATTEMPT_KINDS
from ml.stores.serving_log import Logged, ServingLog

POLL_SECONDS = 0.1
_AT_ONCE = 500
_SECOND = 1_000_000  # microseconds
_WINDOW = 24 * 3600 * _SECOND
_KEPT = 2 * _WINDOW  # orders that are asked about may be as old as a day
_COLUMNS = {
    "customer_id": "count_orders_customer_1d",
    "instrument_hash": "count_orders_instrument_1d",
    "device_hash": "count_orders_device_1d",
}
DEFAULT_BREAKER_HOURS = 24.0
_DAYS_WATCHED = 4
_BREATH_SECONDS = 0.01


@dataclass(frozen=True)
class Seen:
    """What is kept of one entry.

    Attributes:
        at: When the order was attempted, microseconds since 1970.
        values: Column -> who or what it was, as posted.
        declined_by: Rules whose decline was carried out; None for a payment.
    """

    order_id: str
    at: int
    values: Mapping[str, str]
    declined_by: tuple[str, ...] | None


def seen_of(event: OrderEvent, rule_trace: Sequence[Mapping[str, Any]] | None) -> Seen:
    values = {column: value for column in _COLUMNS if (value := event.values.get(column)) is not None}
    return Seen(event.order_id, event.attempted_at, values, None if rule_trace is None else _declines(rule_trace))


def _declines(rule_trace: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(
        str(one["rule"])
        for one in rule_trace
        if one["kind"] == "rule" and one["matched"] and one["action"] == "decline" and not one["capped"]
    )


class Recent:
    """Counts of the last day, kept up to date by a thread. Any thread may ask."""

    def __init__(self, settings: Settings, log: ServingLog) -> None:
        self._settings, self._log = settings, log
        self._breaker_ns = _nanoseconds(DEFAULT_BREAKER_HOURS)
        self._lock = threading.Lock()
        self._orders = RecentOrders(tuple(_COLUMNS), _KEPT)
        self._declines: dict[str, Moments] = {}
        self._decided = Moments()
        self._use: dict[str, DayUse] = {}
        self._own: set[int] = set()
        self._position = 0
        self._is_ready = False
        self._reads_again = True
        self._stops = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the newest of the log has been read."""
        return self._is_ready

    def start(self) -> None:
        """Read the newest of the log, then follow it."""
        self._thread = threading.Thread(target=self._follow, name="recent", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stops.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def keep_hours(self, hours: float) -> None:
        """What rules' circuit breakers need: a policy with a longer window than so far has more of the log read."""
        if _nanoseconds(hours) > self._breaker_ns:
            self._breaker_ns = _nanoseconds(hours)
            self._reads_again = True

    def velocities(self, event: OrderEvent) -> dict[str, int] | None:
        """Other orders of the 24 hours before, by who and what; None while unknown, or for an order of long ago."""
        if not self._is_ready:
            return None
        with self._lock:
            at, orders = event.attempted_at, self._orders
            if at < orders.newest - _WINDOW:
                return None
            return {
                name: orders.count(column, value, at - _WINDOW, at, but=event.order_id)
                for column, name in _COLUMNS.items()
                if (value := event.values.get(column)) is not None
            }

    def use_of(self, days: Sequence[str]) -> dict[str, DayUse]:
        """What shop days have used up, as of a tenth of a second ago at most.

        Raises:
            LogUnavailable: A day is asked for the first time, and the log cannot be read.
        """
        for day in days:
            if day not in self._use:
                self.refresh_use(day)
        found = {day: self._use[day] for day in days}
        while len(self._use) > _DAYS_WATCHED:
            self._use.pop(next(iter(self._use)))
        return found

    def refresh_use(self, day: str) -> None:
        """Read a day's use anew.

        Raises:
            LogUnavailable: The log cannot be read.
        """
        spent = self._log.spent(day)
        self._use[day] = DayUse(spent.get("reviews", 0), spent.get("explored", 0), spent.get("standin_cents", 0))

    def history(self) -> RuleHistory:
        """What the rules' circuit breakers count; a view of what is being kept, to be read at once."""
        with self._lock:
            return RuleHistory({rule: one.sorted for rule, one in self._declines.items()}, self._decided.sorted)

    def note_attempt(self, seen: Seen) -> None:
        """Count an attempt that is being decided, so that those decided before it is in the log see it."""
        with self._lock:
            self._orders.note(seen.order_id, seen.at, seen.values)

    def note_own(self, position: int, seen: Seen, day: str, spends: Sequence[tuple[str, int, int]]) -> None:
        """Count a decision on a noted attempt, which is in the log, without waiting for the log to be read."""
        with self._lock:
            if position > self._position:
                self._own.add(position)
                self._count_decision(seen)
        use = self._use.get(day)
        if use is not None and spends:
            taken = {name: amount for name, amount, _ in spends}
            self._use[day] = DayUse(
                use.reviews + taken.get("reviews", 0),
                use.explored + taken.get("explored", 0),
                use.standin_cents + taken.get("standin_cents", 0),
            )

    def _follow(self) -> None:
        while not self._stops.is_set():
            try:
                if self._reads_again:
                    self._reads_again = False
                    self._rebuild()
                    self._is_ready = True
                else:
                    self._read_on()
                    for day in list(self._use):
                        self.refresh_use(day)
            except ToolFailed:  # the log cannot be read now; who decides finds out for itself
                self._reads_again = self._reads_again or not self._is_ready
            self._stops.wait(POLL_SECONDS)

    def _rebuild(self) -> None:
        """Count what happened lately, and go on from the log's end of before."""
        position = self._log.end()
        newest = self._newest_moment(position)
        since = newest - timedelta(microseconds=max(_KEPT, self._breaker_ns // 1000))
        until = self._settings.event_horizon() + timedelta(days=1)
        for kind in ATTEMPT_KINDS:
            for logged in self._log.attempts_between(kind, since, until):
                if self._stops.is_set():
                    return
                if logged.position <= position:
                    self._take(logged)
        with self._lock:
            self._position = position

    def _newest_moment(self, position: int) -> datetime:
        """When the newest of the last entries happened: a replayed shop's days lie before what may be posted."""
        last = self._log.read_attempts_after(position - _AT_ONCE, position, _AT_ONCE, but=())
        moments = [seen.at for logged in last if (seen := _readable(logged)) is not None]
        return moment_of(max(moments)) if moments else self._settings.event_horizon()

    def _read_on(self) -> None:
        end = self._log.end()
        while not self._stops.is_set() and self._position < end:
            with self._lock:
                own = [position for position in self._own if position <= end]
            waiting = self._log.read_attempts_after(self._position, end, _AT_ONCE, own)
            for logged in waiting:
                self._take(logged)
            with self._lock:
                self._position = waiting[-1].position if len(waiting) == _AT_ONCE else end
                self._own = {position for position in self._own if position > self._position}
            if len(waiting) == _AT_ONCE:  # a history is being posted: answers go first
                self._stops.wait(_BREATH_SECONDS)

    def _take(self, logged: Logged) -> None:
        seen = _readable(logged)
        if seen is not None:
            with self._lock:
                self._count(seen)

    def _count(self, seen: Seen) -> None:
        self._orders.note(seen.order_id, seen.at, seen.values)
        self._count_decision(seen)

    def _count_decision(self, seen: Seen) -> None:
        if seen.declined_by is None:
            return
        moment = seen.at * 1000
        self._decided.count(seen.order_id, moment, self._breaker_ns)
        for rule in seen.declined_by:
            self._declines.setdefault(rule, Moments()).count(seen.order_id, moment, self._breaker_ns)


def _readable(logged: Logged) -> Seen | None:
    try:
        return _seen_in(logged)
    except (ValueError, KeyError, TypeError, AttributeError):  # of another version; the follower tells of it
        return None


def _seen_in(logged: Logged) -> Seen:
    told = json.loads(logged.body)
    event, declined_by = (told[0], _declines(told[1])) if logged.kind == "decision" else (told, None)
    values = {column: value for column in _COLUMNS if (value := event.get(column)) is not None}
    at = microseconds(datetime.fromisoformat(event["attempted_at"]))
    return Seen(event["order_id"], at, values, declined_by)


def _nanoseconds(hours: float) -> int:
    return int(hours * 3600) * 1_000_000_000
