"""Training rows: who is in which fold, with which label and weight."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from ml.fraud.config import EvaluationConfig, FraudConfig, LabelConfig
from ml.fraud.dataset import draw_rows, folds, training_rows
from ml.fraud.splits import FraudSplit
from ml.outcomes import DataFailed

MOMENT = datetime(2024, 6, 1, tzinfo=UTC)
SPLIT = FraudSplit(
    train_first=date(2024, 1, 1),
    calibration_first=date(2024, 1, 11),
    train_until=date(2024, 1, 21),
    test_first=date(2024, 3, 1),
    test_until=date(2024, 3, 11),
    label_moment=datetime(2024, 3, 1, tzinfo=UTC),
)
# The prior of one day: labels are mature the next day, so that weights come from propensities alone.
CONFIG = FraudConfig(
    labels=LabelConfig(prior_maturity_days=1, longest_delay_days=2), evaluation=EvaluationConfig(max_weight=50.0)
)
DAYS = [date(2024, 1, 5), date(2024, 1, 15), date(2024, 2, 1), date(2024, 3, 5), date(2024, 3, 20)]


def _marts(days: list[date]) -> tuple[pd.DataFrame, pd.DataFrame]:
    ids = [f"o{place}" for place in range(len(days))]
    times = [datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in days]
    features = pd.DataFrame(
        {
            "order_id": ids,
            "attempted_at": times,
            "attempt_date": days,
            "amount_cents": 1000,
            "count_orders_customer_ever": range(len(days)),
        }
    )
    payments = pd.DataFrame({"order_id": ids, "customer_id": "c", "attempted_at": times, "is_approved": True})
    return features, payments


def _labels(rows: list[tuple[str, datetime, bool]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["order_id", "known_at", "is_fraud"])
    return frame.assign(label_source="chargeback", known_at=pd.to_datetime(frame["known_at"], utc=True))


def test_days_fall_into_folds_and_the_gap_into_none() -> None:
    assert folds(pd.Series([date(2023, 12, 31), *DAYS]), SPLIT).tolist() == [
        None, "train", "calibration", None, "test", None,
    ]  # fmt: skip


def test_each_fold_has_the_labels_of_its_moment() -> None:
    features, payments = _marts(DAYS)
    late = SPLIT.label_moment + timedelta(days=20)
    labels = _labels([("o0", late, True), ("o1", SPLIT.label_moment - timedelta(days=1), True), ("o3", late, True)])
    rows = training_rows(features, payments, labels, None, SPLIT, MOMENT, CONFIG).set_index("order_id")
    assert rows["fold"].to_dict() == {"o0": "train", "o1": "calibration", "o3": "test"}
    # o0 was not known to be fraud when the test days began.
    assert rows["is_fraud"].to_dict() == {"o0": False, "o1": True, "o3": True}
    assert rows["count_orders_customer_ever"].tolist() == [0.0, 1.0, 3.0]
    assert "is_first_order_customer" in rows
    assert rows["customer_id"].eq("c").all()


def test_declined_orders_are_left_out_and_those_let_through_stand_for_them() -> None:
    features, payments = _marts([DAYS[0]] * 5)
    decisions = pd.DataFrame(
        {
            "order_id": ["o0", "o1", "o2", "o3"],
            "action": ["decline", "review", "approve", "review"],
            "would_decline": [True, True, False, True],
            "propensity": [0.1, 0.1, 1.0, 0.001],
        }
    )
    rows = training_rows(features, payments, _labels([]), decisions, SPLIT, MOMENT, CONFIG).set_index("order_id")
    assert rows["weight"].to_dict() == {"o1": 10.0, "o2": 1.0, "o3": 50.0, "o4": 1.0}
    assert rows["propensity"].to_dict() == {"o1": 0.1, "o2": 1.0, "o3": 0.001, "o4": 1.0}


def test_immature_orders_do_not_judge() -> None:
    features, payments = _marts([DAYS[0], DAYS[3]])
    moment = datetime(2024, 3, 6, 6, tzinfo=UTC)
    rows = training_rows(features, payments, _labels([]), None, SPLIT, moment, CONFIG)
    assert rows["fold"].tolist() == ["train"]


def test_nothing_to_learn_from_is_refused() -> None:
    features, payments = _marts([DAYS[3]])
    with pytest.raises(DataFailed, match="0 orders with a label"):
        training_rows(features, payments, _labels([]), None, SPLIT, MOMENT, CONFIG)


def test_a_missing_column_is_named() -> None:
    features, payments = _marts(DAYS)
    with pytest.raises(DataFailed, match="feat_order_risk: expected columns amount_cents"):
        training_rows(features.drop(columns="amount_cents"), payments, _labels([]), None, SPLIT, MOMENT, CONFIG)


def test_a_draw_keeps_every_fraud_and_the_weight_of_the_others() -> None:
    rows = pd.DataFrame({"is_fraud": [True] * 2 + [False] * 18, "weight": 1.0})
    drawn = draw_rows(rows, 8, seed=1)
    assert drawn["is_fraud"].sum() == 2
    assert len(drawn) == 8
    assert drawn.loc[~drawn["is_fraud"], "weight"].sum() == pytest.approx(18.0)
    assert draw_rows(rows, 20, seed=1) is rows
