"""From monitor states to incidents: which state of which monitor tells an operator."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from ml.alerts.incidents import Severity, close_incident, open_incident
from ml.monitoring.states import MonitorState
from ml.stores.operations import Operations

DRIFT_KIND = "drift"
PERFORMANCE_KIND = "performance"
BIAS_KIND = "bias"
LABELS_KIND = "labels_suspect"
_JUDGED = "can_be_judged"


@dataclass(frozen=True)
class _Alarm:
    """A rule that a state broke (`severity` is set), kept (None), or that could not be judged (absent)."""

    kind: str
    rule: str
    severity: Severity | None
    title: str
    body: str


def tell_of_states(operations: Operations, product: str, partition: date, states: Sequence[MonitorState]) -> int:
    """Open an incident for each broken rule and close those whose check passed.

    A warning is shown by `shopwright monitor` and tells nobody. A state that is unknown for an expected reason
    neither opens nor closes anything.

    Returns:
        The number of alerts stored.
    """
    stored = 0
    for alarm in [*_verdicts(product, states), *_unjudged(product, states)]:
        key = {"kind": alarm.kind, "object": product, "rule": alarm.rule}
        if alarm.severity is None:
            close_incident(operations, partition=partition, **key)
        else:
            stored += open_incident(
                operations,
                partition=partition,
                severity=alarm.severity,
                title=alarm.title,
                body=f"{alarm.body}\nShop day {partition}; `shopwright monitor` and docs/runbooks/{alarm.kind}.md.",
                **key,
            )
    return stored


def _verdicts(product: str, states: Sequence[MonitorState]) -> list[_Alarm]:
    alarms = []
    for state in states:
        is_broken = _is_broken(state)
        if state.state == "unknown" and not is_broken:
            continue
        broken: Severity | None = "alert" if is_broken else None
        figure = "none" if state.value is None else f"{state.value:.3f}"
        if state.monitor == "data_drift":
            count = len(state.detail["drifted"])
            body = f"{count} of {state.detail['features']} features drifted: {', '.join(state.detail['drifted'][:20])}."
            title = f"{product}: the features drifted from the training window"
            alarms.append(_Alarm(DRIFT_KIND, "share_of_drifted_features", broken, title, body))
        elif state.monitor == "score_drift":
            body = f"Distance {figure}, the threshold is {state.threshold}."
            alarms.append(_Alarm(DRIFT_KIND, "score_drift", broken, f"{product}: the scores drifted", body))
        elif state.monitor == "performance":
            title, body = _poor_quality(product, state, figure)
            alarms.append(_Alarm(PERFORMANCE_KIND, "holds_its_quality", broken, title, body))
        elif state.monitor == "label_flow":
            body = f"{state.detail['why']} Until this is settled, no newly trained model is promoted."
            alarms.append(_Alarm(LABELS_KIND, "as_many_as_usual", broken, f"{product}: the labels look wrong", body))
        elif state.monitor == "bias":
            body = f"Gap between the best and the worst served group: {figure}; {state.threshold} is allowed."
            alarms.append(_Alarm(BIAS_KIND, state.object, broken, f"Unequal service: {state.object}", body))
    return alarms


def _poor_quality(product: str, state: MonitorState, figure: str) -> tuple[str, str]:
    """Title and body of an alarm about quality; the figure is the product's own."""
    detail = state.detail
    if "as_of_date" in detail:
        return f"{product}: past recommendations did badly", (
            f"NDCG@10 of the recommendations of {detail['as_of_date']} was {figure} over {detail['customers']} "
            "customers. It is held against its usual level and against popularity."
        )
    return f"{product}: past scores did badly", (
        f"Average precision on {detail['orders']} orders with mature labels ({detail['first_day']} to "
        f"{detail['last_day']}) was {figure}. It is held against what the model reached when it was promoted. Inputs "
        "that drifted are told apart from this (`drift`)."
    )


def _is_broken(state: MonitorState) -> bool:
    if state.state == "unknown":  # some features could not be judged; the others may have drifted all the same
        return state.value is not None and state.threshold is not None and state.value >= state.threshold
    return state.state == "alert"


_KIND_OF_MONITOR = {
    "data_drift": DRIFT_KIND,
    "feature_drift": DRIFT_KIND,
    "score_drift": DRIFT_KIND,
    "performance": PERFORMANCE_KIND,
    "label_flow": LABELS_KIND,
    "label_delay": LABELS_KIND,
    "bias": BIAS_KIND,
}


def _unjudged(product: str, states: Sequence[MonitorState]) -> list[_Alarm]:
    alarms = []
    for kind in dict.fromkeys(_KIND_OF_MONITOR[state.monitor] for state in states):
        own = [state for state in states if _KIND_OF_MONITOR[state.monitor] == kind]
        failed = [state for state in own if state.is_failure]
        if not failed and all(state.state == "unknown" for state in own):
            continue
        reasons = [f"{state.object}: {state.detail['why']}" for state in failed if "why" in state.detail]
        title = f"{product}: {kind} could not be judged"
        alarms.append(_Alarm(kind, _JUDGED, "unknown" if failed else None, title, "\n".join(reasons[:20])))
    return alarms
