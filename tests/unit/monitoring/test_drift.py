"""From distances of columns to one state; Evidently's own part is tested in tests/integration/test_monitoring.py."""

import pandas as pd
import pytest

from ml.monitoring import drift as module
from ml.monitoring.drift import DriftConfig, judge_drift
from ml.monitoring.guards import GuardConfig

FEATURES = ["a", "b", "c", "d", "e"]
CONFIG = DriftConfig(guards=GuardConfig(min_rows=2))


@pytest.fixture
def judge(monkeypatch):
    """Judges windows whose columns have these distances; a column without one is missing from the current window."""

    def judge(**distances: float):
        columns = [*FEATURES, "score"]
        reference = pd.DataFrame({column: [1.0, 2.0] for column in columns})
        monkeypatch.setattr(module, "_compare", lambda *_arguments: object())
        monkeypatch.setattr(module, "_distances", lambda _snapshot: distances)
        return judge_drift("recommender", reference, reference[list(distances)], FEATURES, CONFIG)

    return judge


CALM = dict.fromkeys([*FEATURES, "score"], 0.02)


def test_all_calm_is_ok(judge):
    verdict = judge(**CALM)
    assert {state.state for state in verdict.states()} == {"ok"}
    assert (verdict.features.value, verdict.features.threshold) == (0.0, 0.2)


def test_a_column_is_judged_by_its_distance(judge):
    verdict = judge(**{**CALM, "a": 0.1, "b": 0.25})
    assert [column.state for column in verdict.columns[:3]] == ["warn", "alert", "ok"]


def test_the_share_of_drifted_features_decides_for_all(judge):
    one = judge(**{**CALM, "b": 0.3})
    assert (one.features.state, one.features.value, one.features.detail["drifted"]) == ("alert", 0.2, ["b"])
    none = judge(**{**CALM, "a": 0.2, "b": 0.2, "c": 0.2})
    assert (none.features.state, none.features.value) == ("ok", 0.0)


def test_the_score_is_judged_apart(judge):
    verdict = judge(**{**CALM, "score": 0.5})
    assert (verdict.score.state, verdict.features.state) == ("alert", "ok")


def test_a_missing_feature_makes_all_unknown_and_the_share_is_of_the_judged_ones(judge):
    calm = {name: distance for name, distance in CALM.items() if name != "e"}
    verdict = judge(**calm)
    assert (verdict.features.state, verdict.unknown, verdict.features.value) == ("unknown", ("e",), 0.0)
    drifted = judge(**{**calm, "a": 0.3})
    assert (drifted.features.state, drifted.features.value) == ("alert", 0.25)


def test_nothing_to_compare_is_unknown(judge):
    verdict = judge()
    assert {state.state for state in verdict.states()} == {"unknown"}
    assert (verdict.snapshot, verdict.features.value) == (None, None)
