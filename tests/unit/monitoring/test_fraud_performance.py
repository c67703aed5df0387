"""Past scores against what became known of their orders."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from ml.monitoring.fraud_performance import FraudPerformanceConfig, judge_fraud_performance

CONFIG = FraudPerformanceConfig(min_orders=20, min_frauds=4, draws=50)


def orders(fraud_score: float = 0.9, weight: float = 1.0, frauds: int = 4) -> pd.DataFrame:
    """Twenty orders, the first ones frauds; the others score between 0.1 and 0.5."""
    is_fraud = np.arange(20) < frauds
    return pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(20)],
            "is_fraud": is_fraud,
            "score": np.where(is_fraud, fraud_score, np.linspace(0.1, 0.12, 20)),
            "weight": weight,
        }
    )


def test_scores_that_hold_their_quality_are_ok():
    state = judge_fraud_performance("fraud", orders(), 0.9, CONFIG)
    assert (state.state, state.value) == ("ok", 1.0)
    assert state.threshold == pytest.approx(0.63)


def test_scores_that_find_nothing_any_more_alert():
    state = judge_fraud_performance("fraud", orders(fraud_score=0.01), 0.9, CONFIG)
    assert state.state == "alert"
    assert state.value < 0.3


def test_probabilities_that_add_up_to_something_else_warn():
    assert judge_fraud_performance("fraud", orders(fraud_score=0.13), None, CONFIG).state == "ok"
    rare = orders(fraud_score=0.001).assign(score=lambda rows: rows["score"] / 100)
    state = judge_fraud_performance("fraud", rare, None, CONFIG)
    assert (state.state, state.threshold) == ("warn", None)


@pytest.mark.parametrize("few", [orders().head(10), orders(frauds=3)])
def test_what_is_not_mature_is_unknown_and_expected(few):
    state = judge_fraud_performance("fraud", few, 0.9, CONFIG)
    assert (state.state, state.is_failure) == ("unknown", False)
    assert "not yet mature" in state.detail["why"]


def test_the_window_ends_where_labels_are_mature():
    assert FraudPerformanceConfig().days(date(2024, 4, 30), 10) == (date(2024, 3, 24), date(2024, 4, 20))
