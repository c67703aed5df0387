"""From a step's outcome to a task's: what is tried again, what is not, and what counts as nothing to do."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from dag_support import lineage

_LATE_AFTER = timedelta(hours=1)


def partition_day() -> date:
    """The last shop day of this run's partition.

    Raises:
        AirflowFailException: The run has no partition key, or one that names no day: started wrongly.
    """
    from ml.shop.partition_keys import last_day_of

    try:
        return last_day_of(get_current_context()["dag_run"].partition_key)
    except ValueError as error:
        raise AirflowFailException(str(error)) from error


def skip_when_late() -> None:
    """End a task that the clock started more than an hour ago; one that was started by hand is never late.

    Switching a DAG on starts a run for the newest appointed time, however long ago that was.

    Raises:
        AirflowSkipException: It is late.
    """
    run = get_current_context()["dag_run"]
    if run.run_type == "scheduled" and run.start_date - run.run_after > _LATE_AFTER:
        raise AirflowSkipException(
            f"appointed for {run.run_after:%Y-%m-%d %H:%M} UTC; start it by hand, or wait for the next time"
        )


def run_step(step: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a step and return its summary, which Airflow keeps as the task's XCom.

    Raises:
        AirflowFailException: The data failed: a retry would give the same verdict.
        AirflowSkipException: The step had nothing to do and says why (`skipped` in its summary).
    """
    from ml.outcomes import DataFailed

    try:
        with lineage.told() as tell:
            summary = step(*arguments)
            tell(summary)
    except DataFailed as error:
        raise AirflowFailException(f"the data failed: {error}") from error
    if summary.get("skipped"):
        raise AirflowSkipException(str(summary["skipped"]))
    return summary
