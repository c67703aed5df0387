"""Follows one shop day, or one week's training, through the DAGs."""

import time
from collections.abc import Sequence
from datetime import datetime

from ml.embedded.airflow_api import AirflowApi, Run
from ml.embedded.processes import ProcessGroups
from ml.embedded.progress import Progress
from ml.outcomes import ToolFailed

INGEST, BUILD, FEATURES = "shop_ingest", "warehouse_build", "features_materialize"
PUBLISH, MONITOR, TRAIN = "recommender_publish", "monitoring_check", "recommender_train"
FRAUD_TRAIN, FRAUD_SCORE, FRAUD_LABELS = "fraud_train", "fraud_score_backfill", "fraud_labels_ingest"
SELFTEST = "gates_selftest"
DAY_CHAIN = (INGEST, BUILD, FEATURES, PUBLISH, MONITOR)

_POLL_SECONDS = 1.0
# An asset's event makes the next run within a second or two; a busy machine takes longer.
_NEXT_RUN_SECONDS = 120.0
_RUN_SECONDS = 3600.0
_UNFINISHED = ("queued", "running")


class StageFailed(ToolFailed):
    """A DAG run failed or did not come. The message names it and where to look."""


class Chain:
    """
    Args:
        processes: Must stay alive while we wait.
    """

    def __init__(self, airflow: AirflowApi, processes: ProcessGroups, progress: Progress) -> None:
        self._airflow = airflow
        self._processes = processes
        self._progress = progress

    def start(self, dag_id: str, key: str, conf: dict[str, str] | None = None) -> Run:
        return self._airflow.trigger(dag_id, key, conf)

    def unfinished(self, dag_ids: Sequence[str], key: str) -> Run | None:
        """The run of a key that an earlier start left unfinished, if there is one."""
        for dag_id in dag_ids:
            for run in self._airflow.runs(dag_id, key):
                if run.state in _UNFINISHED:
                    return run
        return None

    def follow(self, run: Run, then: Sequence[str] = ()) -> bool:
        """Wait for a run, and for the runs of the same key that its asset events start.

        Returns:
            False when a stage had nothing to do, so that the later ones were not started.

        Raises:
            StageFailed: A run failed or was not started.
        """
        if not self._await_end(run):
            return False
        for dag_id in then:
            key = run.partition_key or ""
            following = self.find_run(dag_id, key, since=_begin(run))
            if following is None:
                raise StageFailed(f"{dag_id} was not started for {key} within {_NEXT_RUN_SECONDS:.0f} s")
            run = following
            if not self._await_end(run):
                return False
        return True

    def find_run(self, dag_id: str, key: str, since: datetime | None = None) -> Run | None:
        """The newest run of a key, waited for; None when none was made in time.

        Args:
            since: Runs that were over before this moment do not count.
        """
        deadline = time.monotonic() + _NEXT_RUN_SECONDS
        while time.monotonic() < deadline:
            self._processes.assert_alive()
            for run in self._airflow.runs(dag_id, key):
                if since is None or run.state in _UNFINISHED or _begin(run) >= since:
                    return run
            time.sleep(_POLL_SECONDS)
        return None

    def _await_end(self, run: Run) -> bool:
        """True when the run did its work; False when its last task had nothing to do."""
        deadline = time.monotonic() + _RUN_SECONDS
        reported: set[str] = set()
        while time.monotonic() < deadline:
            self._processes.assert_alive()
            state = self._airflow.run(run.dag_id, run.run_id).state
            tasks = sorted(self._airflow.tasks(run), key=lambda task: str(task.ended_at))
            for task in tasks:
                if task.state in ("success", "failed", "skipped", "upstream_failed") and task.task_id not in reported:
                    reported.add(task.task_id)
                    self._progress.task_ended(run.partition_key or "", task)
            if state == "failed":
                failed = ", ".join(task.task_id for task in tasks if task.state == "failed") or "no task"
                raise StageFailed(
                    f"{run.dag_id} failed for {run.partition_key} ({failed}); `shopwright alerts` says why, "
                    "and the task's log in Airflow has the details"
                )
            if state == "success":
                return not any(task.state == "skipped" for task in tasks)
            self._progress.still_running(run.partition_key or "", [task for task in tasks if task.state == "running"])
            time.sleep(_POLL_SECONDS)
        raise StageFailed(f"{run.dag_id} did not end for {run.partition_key} within {_RUN_SECONDS:.0f} s")


def _begin(run: Run) -> datetime:
    moment = run.queued_at or run.started_at
    if moment is None:
        raise ToolFailed(f"Airflow gives no time for run {run.run_id} of {run.dag_id}")
    return moment
