"""Opens and closes incidents after a verdict."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from expectations.forms import FORM_RULE, Change, Form
from expectations.verdicts import Gate, RuleResult, Status, Verdict
from ml.alerts.incidents import close_incident, open_incident
from ml.stores.operations import Operations, incidents

FAILED_KIND = "gate_failed"
UNKNOWN_KIND = "gate_unknown"
SET_ASIDE_KIND = "rows_set_aside"
SCHEMA_KIND = "schema_changed"
ADDED_RULE = "form_added"
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


@dataclass(frozen=True)
class FormChange:
    """How the form of a judged batch changed, and what that would affect.

    Attributes:
        affected: Names of what depends on the changed columns; None when that is not known.
    """

    form: Form
    affected: list[str] | None = None

    def sentence(self) -> str:
        differences = "; ".join(self.form.differences)
        if self.affected is None:
            return f"What changed: {differences}. What depends on it is not known"
        return f"What changed: {differences}. It would affect {', '.join(self.affected) or 'nothing that is built'}"


def change_key(verdict: Verdict) -> str:
    """Under which a batch's change is found: two tables may share a batch id."""
    return f"{verdict.object}/{verdict.batch_id}"


def tell(operations: Operations, verdicts: Iterable[Verdict], changes: Mapping[str, FormChange] | None = None) -> None:
    """Open an incident for each broken rule, and close those whose check passed now.

    Args:
        changes: By `change_key`. A changed form is one incident, in place of those of the rules that say the same.
    """
    for verdict in verdicts:
        change = (changes or {}).get(change_key(verdict))
        _close_recovered(operations, verdict)
        same_cause = _tell_change(operations, verdict, change) if change else frozenset()
        for rule in verdict.rules:
            if rule.status in _KIND_OF and rule.rule not in same_cause:
                _open(operations, verdict, rule)


def _tell_change(operations: Operations, verdict: Verdict, change: FormChange) -> frozenset[str]:
    """Tell that the form of a delivery changed, or that it is as before; returns the rules that need no telling."""
    table, form, day = verdict.object, change.form, verdict.partition
    if form.change is Change.BREAKING:
        open_incident(
            operations,
            kind=SCHEMA_KIND,
            object=table,
            rule=FORM_RULE,
            partition=day,
            severity="alert",
            title=f"{table} came in another form on {day}: {form.differences[0]}",
            body=f"Batch {verdict.batch_id} is held. {change.sentence()}. {_NEXT_STEP[Gate.ARRIVALS]}",
        )
        return form.rules
    if verdict.status is Status.PASSED:
        close_incident(operations, kind=SCHEMA_KIND, object=table, rule=FORM_RULE, partition=day)
    if form.change is Change.ADDITIVE:
        open_incident(
            operations,
            kind=SCHEMA_KIND,
            object=table,
            rule=ADDED_RULE,
            partition=day,
            severity="warn",
            title=f"{table} came with a difference on {day}: {form.differences[0]}",
            body=f"Batch {verdict.batch_id}. What changed: {'; '.join(form.differences)}. Nothing has to be done: the "
            "contract's columns are stored, others are not. Closes with the next delivery of this form.",
        )
    elif verdict.status is Status.PASSED:
        close_incident(operations, kind=SCHEMA_KIND, object=table, rule=ADDED_RULE, partition=day)
    return frozenset()


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
