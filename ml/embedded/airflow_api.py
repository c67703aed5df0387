"""What we ask of Airflow's REST API: start a run for a partition, and look at runs, tasks and health."""

import http.client
import json
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ml.embedded.layout import AIRFLOW_USER
from ml.outcomes import ToolFailed

_TIMEOUT_SECONDS = 30
_ATTEMPTS = 4
_PARTS = ("metadatabase", "scheduler", "dag_processor")
_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Run:
    """One DAG run. `ended_at` is None while it runs."""

    dag_id: str
    run_id: str
    partition_key: str | None
    state: str
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_over(self) -> bool:
        return self.state in ("success", "failed")


@dataclass(frozen=True)
class TaskRun:
    """The newest try of a task in a run. `pid` is its process while it runs."""

    dag_id: str
    run_id: str
    task_id: str
    state: str | None
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None
    pid: int | None = None

    @property
    def seconds(self) -> float:
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return (self.ended_at - self.started_at).total_seconds()


class ApiRefused(ToolFailed):
    """Airflow answered, and said no."""


class AirflowApi:
    """
    Args:
        url: Base URL of the API server.
        passwords: The file of generated passwords.
    """

    def __init__(self, url: str, passwords: Path) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._passwords = passwords
        self._token: str | None = None

    def is_ready(self) -> bool:
        """Whether every part reports health."""
        try:
            return all(self.health().values())
        except ToolFailed:
            return False

    def health(self) -> dict[str, bool]:
        """Whether each part of Airflow is healthy.

        Raises:
            ToolFailed: The API server does not answer.
        """
        try:
            found = self._send("GET", "/api/v2/monitor/health", None, {})
        except (OSError, http.client.HTTPException) as error:
            raise ToolFailed(f"Airflow's API does not answer: {error}") from error
        parts = {name: found.get(name, {}).get("status") == "healthy" for name in _PARTS}
        return {"api-server": True, **parts}

    def dag_ids(self) -> set[str]:
        """DAGs that are parsed and can run."""
        found = self._ask("GET", "/api/v2/dags?limit=100&exclude_stale=true")
        return {dag["dag_id"] for dag in found["dags"]}

    def make_pool(self, name: str, slots: int) -> None:
        """Make a pool unless it is there."""
        known = {pool["name"] for pool in self._ask("GET", "/api/v2/pools?limit=100")["pools"]}
        if name not in known:
            self._ask("POST", "/api/v2/pools", {"name": name, "slots": slots})

    def trigger(self, dag_id: str, partition_key: str, conf: dict[str, Any] | None = None) -> Run:
        """Start a run for a partition."""
        body = {"logical_date": None, "partition_key": partition_key, "conf": conf or {}}
        return _run(self._ask("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body))

    def run(self, dag_id: str, run_id: str) -> Run:
        return _run(self._ask("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"))

    def runs(self, dag_id: str, partition_key: str | None = None, limit: int = 100) -> list[Run]:
        """Runs of a DAG, newest first."""
        query = urlencode({"limit": limit, "order_by": "-id"})
        found = [_run(raw) for raw in self._ask("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns?{query}")["dag_runs"]]
        return [run for run in found if partition_key in (None, run.partition_key)]

    def tasks(self, run: Run) -> list[TaskRun]:
        path = f"/api/v2/dags/{quote(run.dag_id)}/dagRuns/{quote(run.run_id, safe='')}/taskInstances"
        return [_task_run(raw) for raw in self._ask("GET", path)["task_instances"]]

    def tasks_in_trouble(self, since: datetime) -> list[TaskRun]:
        """Task instances of all runs that failed or wait for another try, changed since a moment."""
        query = urlencode(
            [("state", "failed"), ("state", "up_for_retry"), ("updated_at_gte", since.isoformat()), ("limit", 100)]
        )
        found = self._ask("GET", f"/api/v2/dags/~/dagRuns/~/taskInstances?{query}")
        return [_task_run(raw) for raw in found["task_instances"]]

    def import_errors(self) -> dict[str, str]:
        """DAG files that Airflow cannot import, and the last line of why."""
        found = self._ask("GET", "/api/v2/importErrors?limit=100")["import_errors"]
        return {raw["filename"]: (raw["stack_trace"].strip().splitlines() or [""])[-1] for raw in found}

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send with a token; a lost connection is tried again, a refusal is not.

        Raises:
            ApiRefused: The API answered with an error.
            ToolFailed: The API did not answer.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if self._token is None:
                    self._token = self._log_in()
                return self._send(method, path, body, {"Authorization": f"Bearer {self._token}"})
            except ApiRefused as refusal:
                if "401" not in str(refusal) or attempt == _ATTEMPTS:
                    raise
                self._token = None
            except (OSError, http.client.HTTPException) as error:
                if attempt == _ATTEMPTS or method == "POST":
                    raise ToolFailed(f"Airflow's API does not answer {method} {path}: {error}") from error
                time.sleep(_WAIT_SECONDS * attempt)
        raise ToolFailed(f"Airflow's API does not answer {method} {path}")

    def _log_in(self) -> str:
        password = json.loads(self._passwords.read_bytes())[AIRFLOW_USER]
        token: str = self._send("POST", "/auth/token", {"username": AIRFLOW_USER, "password": password}, {})[
            "access_token"
        ]
        return token

    def _send(self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300:
            raise ApiRefused(f"Airflow's API answered {answer.status} to {method} {path.split('?')[0]}: {text[:300]}")
        parsed: dict[str, Any] = json.loads(text)
        return parsed


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _run(raw: dict[str, Any]) -> Run:
    return Run(
        raw["dag_id"],
        raw["dag_run_id"],
        raw.get("partition_key"),
        raw["state"],
        _moment(raw.get("queued_at")),
        _moment(raw.get("start_date")),
        _moment(raw.get("end_date")),
    )


def _task_run(raw: dict[str, Any]) -> TaskRun:
    return TaskRun(
        raw["dag_id"],
        raw["dag_run_id"],
        raw["task_id"],
        raw["state"],
        raw["try_number"],
        _moment(raw.get("start_date")),
        _moment(raw.get("end_date")),
        raw.get("pid"),
    )
