"""When labels count: delays estimated without looking ahead, and what is known of each order at a moment."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from ml.fraud.config import LabelConfig
from ml.fraud.labels import DelayCurve, estimate_delay, known_labels, label_health

MOMENT = datetime(2024, 3, 1, tzinfo=UTC)
_SHARE = (0.0,) * 10 + (0.5,) * 10 + (1.0,)
CURVE = DelayCurve(_SHARE, maturity_days=20, learnable_days=10, count_frauds=40, is_estimated=True)
FEW = LabelConfig(min_frauds=4, longest_delay_days=40)


def _orders(ages: list[float]) -> pd.DataFrame:
    times = [pd.Timestamp(MOMENT) - timedelta(days=age) for age in ages]
    return pd.DataFrame({"order_id": [f"o{place}" for place in range(len(ages))], "attempted_at": times})


def _labels(known: list[tuple[str, float, bool, str]]) -> pd.DataFrame:
    """(order, days before the moment at which it became known, is fraud, source)."""
    rows = [(order, pd.Timestamp(MOMENT) - timedelta(days=age), fraud, source) for order, age, fraud, source in known]
    return pd.DataFrame(rows, columns=["order_id", "known_at", "is_fraud", "label_source"])


def test_the_delay_is_corrected_for_frauds_that_are_not_known_yet() -> None:
    # Delays are 2 and 10 days, half each. Of six frauds aged 5 only the quick three are known, of six aged 40 all.
    orders = _orders([5.0] * 6 + [40.0] * 6)
    known = [(f"o{place}", 3.0, True, "chargeback") for place in range(3)]
    known += [(f"o{place}", 38.0, True, "chargeback") for place in range(6, 9)]
    known += [(f"o{place}", 30.0, True, "chargeback") for place in range(9, 12)]
    found = estimate_delay(orders, _labels(known), MOMENT, FEW)
    assert found.is_estimated
    assert found.count_frauds == 9
    # The naive share known after 2 days would be 6 of 9.
    assert found.known_share(2.0) == pytest.approx(0.5)
    assert found.known_share(9.9) == pytest.approx(0.5)
    assert found.known_share(10.0) == pytest.approx(1.0)
    assert found.maturity_days == 10


def test_labels_of_the_future_do_not_shape_the_delay() -> None:
    orders = _orders([40.0] * 4)
    known = [(f"o{place}", 30.0, True, "chargeback") for place in range(4)]
    future = [("o0", -1.0, True, "chargeback")]
    assert estimate_delay(orders, _labels(known), MOMENT, FEW) == estimate_delay(
        orders, _labels(known + future), MOMENT, FEW
    )


def test_a_label_exactly_a_week_late_matures_in_a_week() -> None:
    orders = _orders([float(age) for age in range(7, 40)])
    known = [(f"o{place}", age - 7.0, True, "chargeback") for place, age in enumerate(range(7, 40))]
    found = estimate_delay(orders, _labels(known), MOMENT, FEW)
    assert (found.maturity_days, found.learnable_days) == (7, 7)


def test_with_few_frauds_the_prior_stands() -> None:
    found = estimate_delay(_orders([40.0]), _labels([("o0", 30.0, True, "chargeback")]), MOMENT)
    assert not found.is_estimated
    assert found.maturity_days == pytest.approx(60, abs=2)
    assert found.known_share(20.0) == pytest.approx(0.5, abs=0.03)


def test_an_end_of_the_curve_that_is_out_of_sight_is_not_believed() -> None:
    # History of 10 days, and every delay takes nearly all of it: longer ones could not have been seen.
    orders = _orders([10.0] * 6)
    known = [(f"o{place}", 1.0, True, "chargeback") for place in range(6)]
    assert not estimate_delay(orders, _labels(known), MOMENT, FEW).is_estimated


def test_the_share_known_is_0_before_the_order_and_1_at_last() -> None:
    assert CURVE.known_share([-1.0, 0.0, 15.0, 500.0]).tolist() == [0.0, 0.0, 0.5, 1.0]


def test_what_is_known_and_how_much_it_weighs() -> None:
    orders = _orders([30.0, 15.0, 15.0, 5.0, 5.0, 30.0])
    known = _labels([("o1", 1.0, True, "refund"), ("o3", 1.0, True, "review"), ("o5", -1.0, True, "chargeback")])
    found = known_labels(orders, known, MOMENT, CURVE).set_index("order_id")
    assert found["is_fraud"].tolist() == [False, True, False, True, False, False]
    # Half of the frauds of that age are known: the known one stands for two. Too young is not learnt from at all.
    assert found["weight"].tolist() == [1.0, 2.0, 1.0, 0.0, 0.0, 1.0]
    assert found["is_mature"].tolist() == [True, True, False, True, False, True]
    assert found["source"].tolist() == ["none", "refund", "none", "review", "none", "none"]


def test_a_fraud_label_stands_against_an_analyst_and_against_another_dispute() -> None:
    orders = _orders([30.0, 30.0])
    known = _labels(
        [
            ("o0", 20.0, False, "review"),
            ("o0", 10.0, True, "chargeback"),
            ("o1", 20.0, False, "review"),
            ("o1", 10.0, False, "chargeback"),
        ]
    )
    found = known_labels(orders, known, MOMENT, CURVE)
    assert found["is_fraud"].tolist() == [True, False]
    assert found["source"].tolist() == ["chargeback", "review"]
    before = known_labels(orders, known, MOMENT - timedelta(days=15), CURVE)
    assert before["is_fraud"].tolist() == [False, False]


def test_an_analysts_verdict_makes_an_order_mature() -> None:
    found = known_labels(_orders([12.0]), _labels([("o0", 1.0, False, "review")]), MOMENT, CURVE)
    assert found["is_mature"].tolist() == [True]


def test_orders_of_the_future_are_not_known() -> None:
    assert known_labels(_orders([1.0, -1.0]), _labels([]), MOMENT, CURVE)["order_id"].tolist() == ["o0"]


def test_an_order_that_was_never_paid_has_no_label() -> None:
    orders = _orders([30.0, 30.0]).assign(is_approved=[True, False])
    found = known_labels(orders, _labels([]), MOMENT, CURVE)
    assert found["weight"].tolist() == [1.0, 0.0]
    assert found["is_mature"].tolist() == [True, False]


def test_a_flood_of_labels_is_named_and_a_usual_week_is_not() -> None:
    usual = [("o", 7.0 + age, True, "chargeback") for age in range(84) for _ in range(2)]
    assert label_health(_labels(usual + [("o", 1.0, True, "chargeback")] * 14), MOMENT).problem is None
    flood = label_health(_labels(usual + [("o", 1.0, True, "chargeback")] * 200), MOMENT)
    assert flood.problem == "fraud labels: 200 in 7 days, usual are 14.0"


def test_labels_that_dry_up_are_named() -> None:
    usual = [("o", 7.0 + age, True, "chargeback") for age in range(84) for _ in range(2)]
    assert label_health(_labels(usual), MOMENT).problem == "fraud labels: none in 7 days, usual are 14.0"
    assert label_health(_labels([]), MOMENT).problem is None
