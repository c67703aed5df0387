"""The child process of the gates' self-test: runs the DAGs' own tasks, without a scheduler and without a database.

`python selftest.py FOLDER gate|stage NAME`; `ml/cli/selftest/run.py` starts it in the environment of the isolated shop.
"""

import contextvars
import importlib
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG, PartitionedAssetTimetable, TriggerRule
from airflow.sdk.bases.operator import BaseOperator, ExecutorSafeguard
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.execution_time.context import set_current_context

from ml.cli.selftest.proofs import Failure, Walked
from ml.outcomes import DataFailed

DAGS_DIR = Path(__file__).resolve().parents[1]


def load_dags() -> dict[str, DAG]:
    """Every DAG but the self-test's own; a DAG's file, function and id have one name."""
    if str(DAGS_DIR) not in sys.path:
        sys.path.insert(0, str(DAGS_DIR))
    names = sorted(path.stem for path in DAGS_DIR.glob("*.py") if path.stem != "gates_selftest")
    return {name: getattr(importlib.import_module(name), name)() for name in names}


class DagWalk:
    """Walks the DAGs as the scheduler would (`ml.cli.selftest.proofs.Walk`)."""

    def __init__(self, dags: Mapping[str, DAG]) -> None:
        self._dags = dags

    def __call__(self, first: str, until: str, key: str, params: Mapping[str, object] | None = None) -> Walked:
        passed: list[str] = []
        failed: dict[str, Failure] = {}
        due: list[str] = []
        runs = deque([first])
        while runs:
            dag_id, begin = runs.popleft().split(".")
            done = _before(self._dags[dag_id].get_task(begin))
            for task in self._dags[dag_id].topological_sort():
                name = f"{dag_id}.{task.task_id}"
                if task.task_id in done or not _may_start(task, done):
                    continue
                if until in passed or until in failed:
                    due.append(name)
                    continue
                failure = _run(task, key, {**self._dags[dag_id].params.dump(), **(params or {})})
                if failure is not None:
                    failed[name] = failure
                    continue
                passed.append(name)
                done.add(task.task_id)
                runs += self._started_by(task)
            params = None
        return Walked(tuple(passed), failed, tuple(due))

    def _started_by(self, task: BaseOperator) -> list[str]:
        """First tasks of the DAGs that one day of the task's outlets starts; a DAG that waits for a week is not."""
        uris = {outlet.uri for outlet in task.outlets}
        return [
            f"{dag_id}.{root.task_id}"
            for dag_id, dag in self._dags.items()
            if isinstance(dag.timetable, PartitionedAssetTimetable) and not dag.timetable.partition_mapper_config
            for asset in [dag.timetable.asset_condition]
            if asset.uri in uris
            for root in dag.roots[:1]
        ]


def _before(task: BaseOperator) -> set[str]:
    """Ids of all tasks that a task waits for."""
    return {found for upstream in task.upstream_list for found in (upstream.task_id, *_before(upstream))}


def _may_start(task: BaseOperator, done: set[str]) -> bool:
    if task.trigger_rule != TriggerRule.ALL_SUCCESS:
        return False  # a teardown: it changes nothing that a proof looks at
    return task.upstream_task_ids <= done


def _run(task: BaseOperator, key: str, params: dict[str, Any]) -> Failure | None:
    """Run a task with its callbacks; what came of it, None when it passed."""
    run_id = f"selftest__{key}"
    context: Any = {
        "dag_run": SimpleNamespace(partition_key=key, run_id=run_id, dag_id=task.dag_id, run_type="manual", conf={}),
        "run_id": run_id,
        "params": params,
        "task": task,
        "ti": SimpleNamespace(
            dag_id=task.dag_id, task_id=task.task_id, run_id=run_id, try_number=1, map_index=-1, task=task
        ),
    }
    context["task_instance"] = context["ti"]
    try:
        contextvars.copy_context().run(_execute, task, context)
    except AirflowSkipException as error:
        return Failure(False, f"skipped: {error}")
    except Exception as error:  # noqa: BLE001  # as Airflow does: whatever a task raises is the task's failure
        context["exception"] = error
        for callback in task.on_failure_callback or ():
            callback(context)
        cause = error.__cause__ or error
        return Failure(isinstance(cause, DataFailed), f"{type(cause).__name__}: {cause}")
    for callback in task.on_success_callback or ():
        callback(context)
    return None


def _execute(task: BaseOperator, context: Any) -> None:
    ExecutorSafeguard.tracker.set(task)  # as Airflow's own task runner does
    with set_current_context(context):
        task.execute(context)


if __name__ == "__main__":
    from ml.cli.selftest.child import main

    sys.exit(main(DagWalk(load_dags()), sys.argv[1:]))
