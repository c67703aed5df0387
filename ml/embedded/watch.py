"""Looks at Airflow from outside: a task that was killed, a DAG file that does not import, a part that is down.

A killed task runs no callback, so its incident is opened here. What the callbacks opened already is not
opened twice: an incident counts a shop day once.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol

from ml.alerts.incidents import close_incident, open_incident
from ml.alerts.notify import deliver
from ml.embedded.airflow_api import AirflowApi, TaskRun
from ml.embedded.task_incidents import KIND, RUNBOOK, open_task_incident
from ml.outcomes import ToolFailed
from ml.settings import Settings, wall_clock
from ml.shop.partition_keys import last_day_of
from ml.stores.operations import Operations, incidents

POLL_SECONDS = 3.0
_OVERLAP = timedelta(seconds=60)
_IMPORT_ERROR = "dag_file_imports"
_UNHEALTHY = "part_is_healthy"
# A part that restarts, or a busy machine, is not an outage.
_PATIENCE = timedelta(seconds=45)


@dataclass
class Watch:
    """
    Args:
        say: Prints an alert when no route is configured.
    """

    settings: Settings
    operations: Operations
    airflow: AirflowApi
    say: Callable[[str], object]
    _looked_at: datetime = field(default_factory=wall_clock)
    _days: dict[tuple[str, str], date | None] = field(default_factory=dict)
    _unhealthy_since: dict[str, datetime] = field(default_factory=dict)
    _healthy: set[str] = field(default_factory=set)

    def look(self) -> None:
        """One look: open and close incidents, then send what is pending."""
        begun = wall_clock()
        try:
            health, errors = self.airflow.health(), self.airflow.import_errors()
            troubled = [
                (task, self._day_of(task)) for task in self.airflow.tasks_in_trouble(self._looked_at - _OVERLAP)
            ]
        except ToolFailed:  # also when it tells its health to everybody, but nothing to us
            self._judge_parts({"api-server": False}, begun)
        else:
            self._judge_parts(health, begun)
            for task, day in troubled:
                if day is not None:
                    self._report(task, day)
            self._judge_imports(errors, begun.date())
            self._looked_at = begun
        deliver(self.operations, self.settings, console=self.say)

    def _report(self, task: TaskRun, day: date) -> None:
        open_task_incident(
            self.operations,
            task.dag_id,
            task.task_id,
            day,
            is_final=task.state == "failed",
            reason=f"try {task.try_number} is {task.state}; seen from outside, so it may have been killed",
        )

    def _day_of(self, task: TaskRun) -> date | None:
        key = (task.dag_id, task.run_id)
        if key not in self._days:
            try:
                self._days[key] = last_day_of(self.airflow.run(*key).partition_key)
            except ValueError:  # a run started by hand with a key that is no day: its own task says so
                self._days[key] = None
        return self._days[key]

    def _judge_imports(self, errors: dict[str, str], today: date) -> None:
        for file, reason in errors.items():
            open_incident(
                self.operations,
                kind=KIND,
                object=f"dags/{file}",
                rule=_IMPORT_ERROR,
                partition=today,
                severity="alert",
                title=f"Airflow cannot import dags/{file}",
                body=f"{reason}\nThe DAG's last good form keeps running. Runbook: {RUNBOOK}",
            )
        for incident in self.operations.rows(incidents, kind=KIND, rule=_IMPORT_ERROR, state="open"):
            if incident["object"].removeprefix("dags/") not in errors:
                self._close(incident["object"], _IMPORT_ERROR, today)

    def _judge_parts(self, health: dict[str, bool], now: datetime) -> None:
        for part, is_healthy in health.items():
            if is_healthy:
                self._unhealthy_since.pop(part, None)
                if part not in self._healthy:
                    self._healthy.add(part)
                    self._close(f"airflow/{part}", _UNHEALTHY, now.date())
                continue
            self._healthy.discard(part)
            if now - self._unhealthy_since.setdefault(part, now) >= _PATIENCE:
                open_incident(
                    self.operations,
                    kind=KIND,
                    object=f"airflow/{part}",
                    rule=_UNHEALTHY,
                    partition=now.date(),
                    severity="alert",
                    title=f"Airflow's {part} is down",
                    body=f"{part} reports no health. Runbook: {RUNBOOK}",
                )

    def _close(self, name: str, rule: str, today: date) -> None:
        close_incident(self.operations, kind=KIND, object=name, rule=rule, partition=today)


class Looking(Protocol):
    def look(self) -> object: ...


def watch_forever(
    watch: Looking, is_orphan: Callable[[], bool] | None = None, poll_seconds: float | None = None
) -> None:
    """Look again and again, until the process that started us is gone."""
    parent = os.getppid()
    while not (is_orphan() if is_orphan else os.getppid() != parent):
        watch.look()
        time.sleep(POLL_SECONDS if poll_seconds is None else poll_seconds)
