"""Incidents of tasks: opened by the task's own callback, or from outside when the task could not speak any more."""

from datetime import date

from sqlalchemy import select

from ml.alerts.incidents import close_incident, open_incident
from ml.outcomes import DataFailed
from ml.stores.operations import Operations, incident_sightings, incidents

KIND = "task_failed"
FAILED = "all_tries_failed"
RETRIED = "a_try_failed"
RUNBOOK = "docs/runbooks/task_failed.md"

# Steps that open an incident of their own, which says more than "the task failed": no second alert then.
_OWN_KINDS = {
    "land_days": ("gate_failed",),
    "gate_arrivals": ("gate_failed", "gate_unknown", "schema_changed"),
    "gate_marts": ("gate_failed", "gate_unknown"),
    "gate_training_set": ("gate_failed", "gate_unknown"),
    "materialize_features": ("parity_failed",),
    "publish_recommendations": ("feature_changed",),
    "decide_promotion": ("promotion_refused", "registry_mismatch"),
    "check_drift": ("drift",),
    "check_performance": ("performance", "bias"),
    "scrub_stores": ("scrub_failed",),
    "reconcile_registry": ("registry_mismatch",),
    "prove_gates": ("selftest_failed",),
}


def open_task_incident(
    operations: Operations,
    dag_id: str,
    task_id: str,
    partition: date,
    *,
    is_final: bool,
    reason: str,
) -> bool:
    """Record that a try of a task failed, unless the step has told it better.

    Args:
        is_final: No further try follows.
        reason: What is known: the kind of error or how the process ended; never a value from the data.

    Returns:
        True when an alert was stored.
    """
    if _has_told(operations, task_id, partition):
        return False
    name = f"{dag_id}.{task_id}"
    told = f"Task {name} failed on shop day {partition}" if is_final else f"A try of task {name} failed and is repeated"
    return open_incident(
        operations,
        kind=KIND,
        object=name,
        rule=FAILED if is_final else RETRIED,
        partition=partition,
        severity="alert" if is_final else "warn",
        title=told,
        body=f"{reason}.\nIts log is in Airflow under {dag_id} > {task_id}. Runbook: {RUNBOOK}",
    )


def close_task_incidents(operations: Operations, dag_id: str, task_id: str, partition: date) -> None:
    """Record that a task passed."""
    for rule in (FAILED, RETRIED):
        close_incident(operations, kind=KIND, object=f"{dag_id}.{task_id}", rule=rule, partition=partition)


def describe_error(error: BaseException | str | None) -> str:
    """What may be said of an error in an alert: the message of our own outcomes, only the type of any other."""
    cause = error.__cause__ if isinstance(error, BaseException) else None
    if isinstance(cause, DataFailed):
        return f"the data failed: {cause}"
    if isinstance(error, BaseException):
        return f"{type(error).__name__}, see the task's log"
    return "the task ended without a word (killed?)"


def _has_told(operations: Operations, task_id: str, partition: date) -> bool:
    kinds = _OWN_KINDS.get(task_id, ())
    statement = (
        select(incidents.c.id)
        .join(incident_sightings, incident_sightings.c.incident_id == incidents.c.id)
        .where(
            incidents.c.state == "open",
            incidents.c.kind.in_(kinds),
            incident_sightings.c.partition == partition.isoformat(),
        )
        .limit(1)
    )
    with operations.transaction() as connection:
        return connection.execute(statement).first() is not None
