"""A task's beginning and end as lineage events. Whatever goes wrong here, the task goes on as if nothing had."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from airflow.sdk import get_current_context

_log = logging.getLogger(__name__)


@contextmanager
def told() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Tell that the current task begins, and how the block ended: failed when it raised.

    Yields:
        What takes the summary of the task's step.
    """
    kept: dict[str, Any] = {}
    began = _quietly("tell_started")
    try:
        yield kept.update
    except BaseException as error:
        _quietly("tell_ended", began, None, error)
        raise
    _quietly("tell_ended", began, kept)


def _quietly(name: str, *arguments: Any) -> Any:
    """Call a function of `ml.lineage.task_runs` on the current task; what it raises is counted and shown, no more."""
    try:
        from ml.lineage import task_runs
        from ml.lineage.events import TaskRun
        from ml.settings import get_settings

        context = get_current_context()
        ti, run = context["ti"], context["dag_run"]
        task = TaskRun(ti.dag_id, ti.task_id, run.run_id, ti.try_number, run.partition_key)
        settings = get_settings()
        try:
            return getattr(task_runs, name)(settings, task, *arguments)
        except Exception as error:  # noqa: BLE001  # lineage is told beside the work and may not stop it
            task_runs.note_untold(settings, task, error)
    except Exception as error:  # noqa: BLE001  # not even the count could be kept: then the task's log is all there is
        _log.warning("no lineage event: %s", type(error).__name__)
    return None
