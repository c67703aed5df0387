"""Decisions are recorded once, whatever offers them again."""

from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest

from ml.outcomes import DataFailed
from ml.stores import decision_log
from ml.stores.fraud_tables import decisions, shadow_decisions
from ml.stores.operations import Operations

AT = datetime(2017, 11, 20, 15, 30, tzinfo=UTC)


@pytest.fixture
def operations(configure) -> Operations:
    return Operations.from_settings(configure())


def frame(*orders: str, **changes: object) -> pd.DataFrame:
    row = {
        "partition": "2017-11-20",
        "ordered_at": pd.Timestamp(AT),
        "decided_at": pd.Timestamp(AT),
        "amount_cents": np.int64(4200),
        "action": "review",
        "source": "model",
        "score": np.float64(0.25),
        "would_decline": np.bool_(False),
        "propensity": 1.0,
        "model_version": "fraud-1",
        "policy_version": "default-aaaa",
        "expected_costs": {"approve": np.float64(900.0), "review": 300.0},
        "reasons": [{"code": "velocity_device", "value": float("nan")}],
        "contributions": {"count_orders_device_1h": np.float32(1.5), "bias": -4.0},
        **changes,
    }
    return pd.DataFrame([{"order_id": order, **row} for order in orders])


def test_a_decision_is_stored_with_what_explains_it(operations):
    assert decision_log.record_decisions(operations, frame("o1", "o2")) == ["o1", "o2"]
    stored = decision_log.decision_of(operations, "o1")
    assert stored is not None
    assert stored["decision_id"] == "decision-o1"
    assert stored["ordered_at"] == AT
    assert stored["expected_costs"] == {"approve": 900.0, "review": 300.0}
    assert stored["contributions"] == {"count_orders_device_1h": 1.5, "bias": -4.0}
    # JSON knows no NaN: what has no value is null.
    assert stored["reasons"] == [{"code": "velocity_device", "value": None}]
    assert stored["rule_trace"] == []
    assert stored["customer_id"] is None


def test_a_decision_is_never_changed(operations):
    decision_log.record_decisions(operations, frame("o1"))
    before = decision_log.decision_of(operations, "o1")
    again = frame("o2", "o1", action="decline", model_version="fraud-2")
    assert decision_log.record_decisions(operations, again) == ["o2"]
    assert decision_log.decision_of(operations, "o1") == before
    assert len(operations.rows(decisions)) == 2


def test_decisions_are_read_by_shop_day_and_by_order(operations):
    for day in (19, 20, 21):
        decision_log.record_decisions(operations, frame(f"o{day}", partition=date(2017, 11, day)))
    found = decision_log.read(operations, first=date(2017, 11, 20), last=date(2017, 11, 20), columns=["order_id"])
    assert found["order_id"].tolist() == ["o20"]
    assert decision_log.read(operations, orders=["o19", "none"])["order_id"].tolist() == ["o19"]
    assert decision_log.decided_orders(operations, ["o19", "none"]) == {"o19"}
    assert decision_log.decision_of(operations, "none") is None


def test_no_decisions_is_an_empty_frame_with_its_columns(operations):
    assert decision_log.read(operations, columns=["order_id", "action"]).columns.tolist() == ["order_id", "action"]
    assert decision_log.record_decisions(operations, frame()) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"action": "shrug"}, "action: expected one of approve, challenge, review, decline"),
        ({"source": "oracle"}, "source: expected one of"),
        ({"score": 1.5}, "score: expected a number from 0 to 1"),
        ({"propensity": -0.1}, "propensity: expected"),
        ({"policy_version": None}, "policy_version must not be null"),
        ({"amount_cents": float("nan")}, "amount_cents must not be null"),
    ],
)
def test_what_cannot_be_a_decision_is_refused(operations, changes, named):
    with pytest.raises(DataFailed, match=named):
        decision_log.record_decisions(operations, frame("o1", **changes))
    assert operations.rows(decisions) == []


def test_a_missing_column_is_named(operations):
    with pytest.raises(DataFailed, match="decisions: missing policy_version"):
        decision_log.record_decisions(operations, frame("o1").drop(columns="policy_version"))


def test_an_order_given_twice_is_refused(operations):
    with pytest.raises(DataFailed, match="1 orders have more than one row"):
        decision_log.record_decisions(operations, frame("o1", "o1"))


def test_shadow_decisions_are_kept_once_for_each_policy(operations):
    rows = pd.DataFrame(
        [
            {"order_id": order, "policy_version": policy, "partition": "2017-11-20", "action": "review"}
            for order in ("o1", "o2")
            for policy in ("a", "b")
        ]
    ).assign(expected_cost_cents=np.float64(12.5))
    assert decision_log.record_shadow_decisions(operations, rows) == 4
    assert decision_log.record_shadow_decisions(operations, rows.assign(action="decline")) == 0
    assert {row["action"] for row in operations.rows(shadow_decisions)} == {"review"}
