"""Tells of missed freshness objectives. Needs neither Airflow nor anything else that may be down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from ml.alerts.incidents import close_incident, open_incident
from ml.alerts.notify import deliver
from ml.monitoring.freshness import Freshness
from ml.monitoring.staleness import is_replayed, judge_shop, shop_day_of
from ml.settings import Settings, wall_clock
from ml.stores.operations import Operations, incidents

POLL_SECONDS = 60.0
_KIND = "stale_data"
_IN_TIME = "is_fresh"
_JUDGED = "age_is_known"
FIRST_LOAD = timedelta(hours=2)
"""The history of a new shop takes its time; until then, what has not landed yet is not missed."""

CATCHING_UP = timedelta(minutes=30)
"""What is late behind something else may be on its way: tables land and days are built one after another."""

_TOLD = "Runbook: docs/runbooks/stale_data.md; `shopwright freshness` shows the state now."


@dataclass
class FreshnessWatch:
    """
    Args:
        say: Prints an alert when no route is configured.
        patience: How long what never was there is waited for, from now on.
        late_patience: How long what is late is waited for, from when it was first seen to be; not where a live
            shop's table missed its time.
    """

    settings: Settings
    operations: Operations
    say: Callable[[str], object] | None = None
    patience: timedelta = timedelta(0)
    late_patience: timedelta = timedelta(0)
    _began: datetime = field(default_factory=lambda: wall_clock())
    _late_since: dict[str, datetime] = field(default_factory=dict)
    _open_now: set[tuple[str, str]] = field(default_factory=set)

    def look(self) -> list[Freshness]:
        """One look: judge, open and close incidents, send what is pending."""
        verdicts = judge_shop(self.settings)
        day = shop_day_of(self.settings)
        told = self.operations.rows(incidents, kind=_KIND, state="open")
        self._open_now = {(row["object"], row["rule"]) for row in told}
        for verdict in _worth_telling(verdicts):
            if not self._may_be_on_its_way(verdict):
                self._tell(verdict, day)
        deliver(self.operations, self.settings, console=self.say)
        return verdicts

    def _may_be_on_its_way(self, verdict: Freshness) -> bool:
        now = wall_clock()
        if verdict.is_absent:  # what was never published is not stale
            return verdict.is_published or now - self._began < self.patience
        has_a_clock = not (verdict.is_published or is_replayed(self.settings))
        if verdict.state != "missed" or has_a_clock:
            self._late_since.pop(verdict.object, None)
            return False
        return now - self._late_since.setdefault(verdict.object, now) < self.late_patience

    def _tell(self, verdict: Freshness, day: date) -> None:
        if verdict.state == "unknown":
            self._open(verdict, day, _JUDGED, f"{verdict.object}: nobody knows how old the data is", verdict.why)
            return
        self._close(verdict, day, _JUDGED)
        if verdict.state == "ok":
            self._close(verdict, day, _IN_TIME)
            return
        body = (
            f"The newest day is {verdict.newest}; it should be {verdict.required} or later ({verdict.objective}). "
            "What is published stays in use and is marked stale."
        )
        verb = "are" if verdict.is_published else "is"
        self._open(verdict, day, _IN_TIME, f"{verdict.object} {verb} older than allowed: {verdict.newest}", body)

    def _open(self, verdict: Freshness, day: date, rule: str, title: str, body: str) -> None:
        open_incident(
            self.operations,
            kind=_KIND,
            object=verdict.object,
            rule=rule,
            partition=day,
            severity="unknown" if rule == _JUDGED else "alert",
            title=title,
            body=f"{body}\n{_TOLD}",
        )

    def _close(self, verdict: Freshness, day: date, rule: str) -> None:
        if (verdict.object, rule) in self._open_now:
            close_incident(self.operations, kind=_KIND, object=verdict.object, rule=rule, partition=day)


def _worth_telling(verdicts: Sequence[Freshness]) -> list[Freshness]:
    """All but what is late because something before it in the chain is: a cause is told once."""
    told: list[Freshness] = []
    is_explained = False
    for verdict in verdicts:
        if not (verdict.is_published and verdict.state == "missed" and is_explained):
            told.append(verdict)
        is_explained = is_explained or verdict.state != "ok"
    return told
