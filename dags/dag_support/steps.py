"""From a step's outcome to a task's: what is tried again, what is not, and what counts as nothing to do."""

from collections.abc import Callable
from datetime import date
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException


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


def run_step(step: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Call a step and return its summary, which Airflow keeps as the task's XCom.

    Raises:
        AirflowFailException: The data failed: a retry would give the same verdict.
        AirflowSkipException: The step had nothing to do and says why (`skipped` in its summary).
    """
    from ml.outcomes import DataFailed

    try:
        summary = step(*arguments)
    except DataFailed as error:
        raise AirflowFailException(f"the data failed: {error}") from error
    if summary.get("skipped"):
        raise AirflowSkipException(str(summary["skipped"]))
    return summary
