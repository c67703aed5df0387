"""Figures of a method on orders few enough to count by hand."""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ml.fraud.config import EvaluationConfig
from ml.fraud.evaluate import average_precision, best, compare, interval, judge, recall_at, saved_per_1000
from ml.outcomes import DataFailed

CONFIG = EvaluationConfig(alert_budgets=(0.25, 0.5), calibration_bins=2, min_frauds=1, draws=50)
ROWS = pd.DataFrame(
    {
        "order_id": list("abcd"),
        "customer_id": ["x", "x", "y", None],
        "amount_cents": [1000, 2000, 3000, 4000],
        "is_fraud": [True, False, False, True],
        "weight": 1.0,
    }
)


def _costs(probability: npt.NDArray[np.float64], orders: pd.DataFrame) -> pd.DataFrame:
    """Fraud costs the order's value, a wrong decline 500."""
    return pd.DataFrame(
        {"approve": probability * orders["amount_cents"].to_numpy(), "decline": (1 - probability) * 500.0}
    )


def test_the_summary_counts_what_was_found() -> None:
    found = judge(ROWS, [0.9, 0.8, 0.1, 0.2], CONFIG).summary()
    assert found["average_precision"] == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert found["recall_at_25pct"] == found["recall_at_50pct"] == 0.5
    assert found["expected_calibration_error"] == pytest.approx((abs(0.15 - 0.5) + abs(0.85 - 0.5)) / 2)
    assert (found["count_orders"], found["count_frauds"], found["fraud_share"]) == (4, 2, 0.5)
    assert math.isnan(found["saved_cents_per_1000_orders"])


def test_an_order_let_through_stands_for_those_that_were_declined() -> None:
    found = judge(ROWS.assign(weight=[3.0, 1.0, 1.0, 1.0]), [0.9, 0.8, 0.1, 0.2], CONFIG).summary()
    assert found["average_precision"] == pytest.approx(0.75 + 0.25 * 4 / 5)
    assert found["fraud_share"] == pytest.approx(4 / 6)


def test_money_saved_is_against_approving_everything() -> None:
    # a: .9 * 1000 > .1 * 500, declined, fraud: saves 1000. b: .8 * 2000 > 100, declined, honest: costs 500.
    # c and d: .1 * 3000 < 450 approved; .05 * 4000 < 475 approved, which saves nothing.
    judged = judge(ROWS, [0.9, 0.8, 0.1, 0.05], CONFIG, costs=_costs)
    assert judged.per_order["saved_cents"].tolist() == [1000.0, -500.0, 0.0, 0.0]
    assert judged.summary()["saved_cents_per_1000_orders"] == pytest.approx(125_000.0)
    assert saved_per_1000(judged)(np.array([1.0, 0.0, 0.0, 0.0])) == pytest.approx(1_000_000.0)


def test_what_is_not_scored_comes_last_is_approved_and_counted() -> None:
    judged = judge(ROWS, [math.nan, 0.1, 0.1, 0.9], CONFIG, costs=_costs)
    assert judged.summary()["count_unscored"] == 1
    assert judged.per_order["saved_cents"].tolist()[0] == 0.0
    assert judged.summary()["average_precision"] == pytest.approx(0.5 + 0.5 * 0.5)


def test_too_few_frauds_say_nothing() -> None:
    found = judge(ROWS, [0.9, 0.8, 0.1, 0.2], EvaluationConfig(min_frauds=3)).summary()
    assert math.isnan(found["average_precision"])
    assert found["count_frauds"] == 2
    assert (
        best({"a": judge(ROWS, [0.1] * 4, EvaluationConfig()), "b": judge(ROWS, [0.9] * 4, EvaluationConfig())}) == "a"
    )


def test_groups_are_joined_after_scoring() -> None:
    groups = pd.DataFrame({"customer_id": ["x"], "age": ["35-44"]})
    found = judge(ROWS, [0.1] * 4, CONFIG, groups).per_order
    assert found["age"].fillna("-").tolist() == ["35-44", "35-44", "-", "-"]


def test_a_method_against_itself_leaves_no_doubt_and_a_better_one_is_better() -> None:
    many = pd.concat([ROWS.assign(order_id=ROWS["order_id"] + str(n), customer_id=str(n)) for n in range(20)])
    good = judge(many, np.tile([0.9, 0.1, 0.1, 0.8], 20), CONFIG)
    bad = judge(many, np.tile([0.1, 0.9, 0.8, 0.1], 20), CONFIG)
    assert compare(good, good, seed=1).high == 0.0
    assert compare(good, bad, seed=1).low > 0.0
    assert best({"bad": bad, "good": good}) == "good"
    assert interval(good, average_precision(good), seed=1).mean == 1.0
    assert recall_at(good, 0.25)(np.ones(80)) == pytest.approx(0.5)


def test_probabilities_of_other_orders_are_refused() -> None:
    with pytest.raises(DataFailed, match="for 4 orders"):
        judge(ROWS, [0.1], CONFIG)
