"""Which states open an incident, and which close it."""

from datetime import date

import pytest

from ml.monitoring.alarms import tell_of_states
from ml.monitoring.states import MonitorState, State, by_thresholds, unknown, worst
from ml.stores.operations import Operations, incidents

DAY = date(2017, 11, 20)


@pytest.fixture
def operations(configure) -> Operations:
    return Operations.from_settings(configure())


def tell(operations: Operations, *states: MonitorState, day: int = 20) -> set[tuple[str, str, str]]:
    """Open incidents after these states."""
    tell_of_states(operations, "recommender", date(2017, 11, day), states)
    return {(row["kind"], row["rule"], row["severity"]) for row in operations.rows(incidents, state="open")}


def features(state: State, share: float | None = 0.0) -> MonitorState:
    detail = {"features": 4, "drifted": ["price_cents"], "unknown": 0}
    return MonitorState("data_drift", "recommender", state, share, 0.2, detail)


def score(state: State, distance: float | None = 0.3) -> MonitorState:
    return MonitorState("score_drift", "score", state, distance, 0.25)


def performance(state: State) -> MonitorState:
    detail = {"as_of_date": "2017-11-14", "customers": 200}
    return MonitorState("performance", "recommender", state, 0.2, 0.25, detail)


def bias(state: State) -> MonitorState:
    return MonitorState("bias", "recommender: hit by age_band", state, 0.3, 0.2)


DRIFTED = ("drift", "share_of_drifted_features", "alert")
UNJUDGED = ("drift", "can_be_judged", "unknown")


@pytest.mark.parametrize("state", [features, score, performance, bias])
def test_alerts_tell_and_warnings_do_not(operations, state):
    assert tell(operations, state("warn")) == set()
    assert len(tell(operations, state("alert"))) == 1


@pytest.mark.parametrize(("state", "closes"), [("ok", True), ("warn", True), ("alert", False)])
def test_what_is_no_longer_an_alert_closes(operations, state, closes):
    assert tell(operations, features("alert", 0.5)) == {DRIFTED}
    assert tell(operations, features(state, 0.5), day=21) == (set() if closes else {DRIFTED})


def test_a_day_that_could_not_be_judged_closes_nothing(operations):
    tell(operations, features("alert", 0.5))
    sick = unknown("data_drift", "recommender", "no recommendations", expected=False)
    assert tell(operations, sick, day=21) == {DRIFTED, UNJUDGED}
    assert tell(operations, features("ok"), day=22) == set()


def test_an_expected_unknown_neither_opens_nor_closes(operations):
    tell(operations, performance("alert"))
    before = tell(operations, unknown("performance", "recommender", "too few customers", expected=False))
    assert len(before) == 2
    waiting = unknown("performance", "recommender", "not yet mature", expected=True)
    assert tell(operations, waiting, day=21) == before


def test_features_that_drifted_beside_unknown_ones_tell_both(operations):
    sick = MonitorState("feature_drift", "price_cents", "unknown", detail={"why": "missing from the current window"})
    assert tell(operations, features("unknown", 0.5), sick) == {DRIFTED, UNJUDGED}
    (row,) = operations.rows(incidents, rule="can_be_judged")
    assert "price_cents: missing from the current window" in row["body"]


def test_a_score_without_values_is_no_alarm(operations):
    assert tell(operations, score("ok", None)) == set()


def test_each_group_gap_is_an_incident_of_its_own(operations):
    other = MonitorState("bias", "recommender: ndcg by age_band", "alert", 0.3, 0.2)
    assert {rule for _, rule, _ in tell(operations, bias("alert"), other)} == {bias("ok").object, other.object}
    assert tell(operations, bias("ok"), other, day=21) == {("bias", other.object, "alert")}


def test_states_are_ordered_by_how_bad_they_are():
    assert worst([]) == "ok"
    assert worst(["warn", "ok"]) == "warn"
    assert worst(["unknown", "warn"]) == "unknown"
    assert worst(["unknown", "alert"]) == "alert"
    assert [by_thresholds(value, 0.1, 0.2) for value in (0.09, 0.1, 0.2)] == ["ok", "warn", "alert"]
