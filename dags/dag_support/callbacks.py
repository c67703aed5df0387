"""Task-level callbacks. (DAG-level ones are reported not to fire: airflow#63374.)

A task that is killed runs no callback; `shopwright watch` sees those from outside.
"""

from typing import Any


def on_failure(context: Any) -> None:
    _report(context, is_final=True)


def on_retry(context: Any) -> None:
    _report(context, is_final=False)


def on_success(context: Any) -> None:
    from ml.cli.platform import report_task_passed

    task = context["ti"]
    report_task_passed(task.dag_id, task.task_id, context["dag_run"].partition_key)


def _report(context: Any, *, is_final: bool) -> None:
    from ml.cli.platform import report_task_failed

    task = context["ti"]
    report_task_failed(
        task.dag_id,
        task.task_id,
        context["dag_run"].partition_key,
        is_final=is_final,
        error=context.get("exception"),
    )
