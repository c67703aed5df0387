"""Tells operators when decisions wait too long for the follower of the serving log: it is dead, or stands still."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ml.alerts.incidents import Severity, close_incident, open_incident
from ml.cli.fraud.marks import SETTLED, read_mark
from ml.settings import Settings, wall_clock
from ml.stores.operations import Operations, incidents
from ml.stores.serving_log import LogUnavailable, ServingLog

KIND = "follower_behind"
TOO_LONG = timedelta(minutes=15)
_OBJECT = "serving_log"
_DECISION = "decision"
_IS_SETTLED = "is_settled"
_JUDGED = "wait_is_known"


@dataclass(frozen=True)
class FollowerWatch:
    """Holds the log against how far its decisions are in the operational record."""

    settings: Settings
    operations: Operations

    def look(self) -> None:
        """One look: open and close incidents. What is pending, whoever calls this has to send."""
        now = wall_clock()
        try:
            waits_since = self._waits_since()
        except LogUnavailable as error:
            self._open(_JUDGED, now, "unknown", "Nobody knows whether the follower is behind", f"{error}.")
            return
        self._close(_JUDGED, now)
        if waits_since is None or now - waits_since <= TOO_LONG:
            self._close(_IS_SETTLED, now)
            return
        what = f"The oldest decision that it has not settled is of {waits_since:%Y-%m-%d %H:%M} UTC."
        self._open(_IS_SETTLED, now, "alert", "The follower of the serving log is behind", what)

    def _waits_since(self) -> datetime | None:
        """When the oldest decision was taken that is not in the operational record."""
        log = ServingLog.from_settings(self.settings)
        if not (log.exists() and log.has(_DECISION)):
            return None
        position = read_mark(self.operations, SETTLED, log.identity()).position
        waiting = log.read_after(position, 1, (_DECISION,))
        return waiting[0].taken_at if waiting else None

    def _open(self, rule: str, now: datetime, severity: Severity, title: str, what: str) -> None:
        open_incident(
            self.operations,
            kind=KIND,
            object=_OBJECT,
            rule=rule,
            partition=now.astimezone(self.settings.zone).date(),
            severity=severity,
            title=title,
            body=f"{what} Meanwhile no case to review is opened, and decisions go by ever older features. "
            "docs/runbooks/follower_behind.md.",
        )

    def _close(self, rule: str, now: datetime) -> None:
        if self.operations.rows(incidents, kind=KIND, rule=rule, state="open"):
            day = now.astimezone(self.settings.zone).date()
            close_incident(self.operations, kind=KIND, object=_OBJECT, rule=rule, partition=day)
