"""Opens and closes incidents after a verdict."""

from collections.abc import Iterable

from expectations.verdicts import Gate, RuleResult, Status, Verdict
from ml.alerts.incidents import close_incident, open_incident
from ml.stores.operations import Operations, incidents

FAILED_KIND = "gate_failed"
UNKNOWN_KIND = "gate_unknown"
SET_ASIDE_KIND = "rows_set_aside"
_KIND_OF = {Status.FAILED: FAILED_KIND, Status.UNKNOWN: UNKNOWN_KIND, Status.SET_ASIDE: SET_ASIDE_KIND}
_SEVERITY_OF = {FAILED_KIND: "alert", UNKNOWN_KIND: "unknown", SET_ASIDE_KIND: "warn"}
_NEXT_STEP = {
    Gate.ARRIVALS: "The batch is kept in landing and nothing of it was published. Correct it at the source and ingest "
    "the day again. `shopwright gates` shows the whole verdict.",
    Gate.MARTS: "The new marts are not published; readers stay on the last version. `shopwright gates` shows the whole "
    "verdict.",
    Gate.MODEL_INPUTS: "No model was trained on this data. `shopwright gates` shows the whole verdict.",
}
_SET_ASIDE_STEP = "The rows are in quarantine, the rest went on. `shopwright quarantine list` shows them."


def tell(operations: Operations, verdicts: Iterable[Verdict]) -> None:
    """Open an incident for each broken rule, and close those whose check passed now."""
    for verdict in verdicts:
        _close_recovered(operations, verdict)
        for rule in verdict.rules:
            if rule.status in _KIND_OF:
                _open(operations, verdict, rule)


def object_of(verdict: Verdict) -> str:
    """What an incident is about: the table as the gate sees it, so that a table and a mart of one name differ."""
    return verdict.object if verdict.gate is Gate.ARRIVALS else f"{verdict.gate.value}.{verdict.object}"


def _open(operations: Operations, verdict: Verdict, rule: RuleResult) -> None:
    kind = _KIND_OF[rule.status]
    if kind == SET_ASIDE_KIND:
        if verdict.status is not Status.PASSED or not verdict.rows_quarantined:
            return  # the batch as a whole was held, and its own incident says so
        title = f"{verdict.object}: {rule.rows:,} rows set aside by {rule.rule}"
        step = _SET_ASIDE_STEP
    else:
        outcome = "failed" if kind == FAILED_KIND else "could not be judged"
        title = f"{verdict.object} {outcome} the {verdict.gate.value} gate on {verdict.partition}: {rule.rule}"
        step = _NEXT_STEP[verdict.gate]
    open_incident(
        operations,
        kind=kind,
        object=object_of(verdict),
        rule=rule.rule,
        partition=verdict.partition,
        severity=_SEVERITY_OF[kind],  # type: ignore[arg-type]  # the mapping's values are the literals
        title=title,
        body=f"Batch {verdict.batch_id}. {rule.sentence()}. {step}",
    )


def _close_recovered(operations: Operations, verdict: Verdict) -> None:
    now = {rule.rule: rule.status for rule in verdict.rules}
    for incident in operations.rows(incidents, object=object_of(verdict), state="open"):
        kind, rule = incident["kind"], incident["rule"]
        if kind not in _SEVERITY_OF or _KIND_OF.get(now.get(rule, Status.PASSED)) == kind:
            continue
        # A rule that the verdict does not name was not checked, unless the batch passed as a whole.
        if rule in now or verdict.status is Status.PASSED:
            close_incident(operations, kind=kind, object=object_of(verdict), rule=rule, partition=verdict.partition)
