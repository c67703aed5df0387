"""What past orders count as: declined ones have no label, explored ones stand for them, young ones do not count yet."""

import datetime as dt

import pandas as pd
import pytest

from ml.cli.past_orders import Known, outcomes
from ml.cli.rule_statistics import _of_rule
from ml.fraud.labels import DelayCurve

MOMENT = dt.datetime(2026, 3, 31, tzinfo=dt.UTC)
DELAY = DelayCurve(share=(0.0,) * 10 + (1.0,), maturity_days=10, learnable_days=5, count_frauds=50, is_estimated=True)

ORDERS = ("honest", "fraud", "declined", "blocked", "explored", "rare", "young", "unpaid")


def _told(orders, labels, decisions):
    rows = pd.DataFrame(orders, columns=["order_id", "day"])
    rows = rows.assign(attempted_at=pd.to_datetime("2026-03-" + rows["day"].astype(str).str.zfill(2), utc=True))
    known = pd.DataFrame(labels, columns=["order_id", "is_fraud", "is_mature"])
    decided = pd.DataFrame(decisions, columns=["order_id", "action", "would_decline", "propensity", "score"])
    found = outcomes(rows[["order_id", "attempted_at"]], Known(known, decided, MOMENT, DELAY, max_weight=10.0))
    return found.set_index(rows["order_id"])


def test_what_can_be_said_of_past_orders():
    told = _told(
        [(name, 25 if name == "young" else 1) for name in ORDERS],
        [
            ("honest", False, True),
            ("fraud", True, True),
            ("declined", False, True),
            ("blocked", False, True),
            ("explored", True, True),
            ("rare", False, True),
            ("young", True, True),  # it is known already, and those of its age that are not would be missing
            ("unpaid", False, False),
        ],
        [
            ("honest", "review", False, 1.0, 0.3),
            ("declined", "decline", True, 0.25, 0.9),
            ("blocked", "decline", True, 0.0, 0.1),
            ("explored", "review", True, 0.25, 0.8),
            ("rare", "review", True, 0.01, 0.8),
        ],
    )  # fmt: skip
    counts = told["reason"] == ""
    assert counts[counts].index.tolist() == ["honest", "fraud", "explored", "rare"]
    assert told.loc[counts, "weight"].tolist() == [1.0, 1.0, 4.0, 10.0]  # at most `max_weight`
    assert told.loc[counts, "is_fraud"].tolist() == [False, True, True, False]
    assert told.loc["honest", "score"] == 0.3
    assert pd.isna(told.loc["fraud", "score"])
    assert told.loc["declined", "reason"] == "declined, so nobody knows what they were"
    assert told.loc["young", "reason"] == "without an approved payment, or too young"


def test_a_rules_precision_weighs_those_let_through():
    matched = pd.DataFrame(
        {
            "is_known": [True, True, True, False],
            "is_fraud": [True, False, False, False],
            "weight": [4.0, 1.0, 1.0, 1.0],
            "amount_cents": [1_000, 2_000, 3_000, 9_000],
            "is_capped": [False, False, True, False],
        }
    )
    found = _of_rule("stolen", "decline", matched)
    assert (found.hits, found.capped, found.known) == (4, 1, 3)
    assert found.precision == pytest.approx(4 / 6)
    # 6 squared over 18 is a sample of 2 equal ones; Wilson's interval of 2/3 at n = 2.
    assert (found.low, found.high) == (pytest.approx(0.1594, abs=1e-3), pytest.approx(0.9547, abs=1e-3))
    assert (found.fraud_cents, found.honest_cents) == (4_000, 5_000)


def test_of_a_rule_without_known_orders_nothing_is_said():
    nothing = pd.DataFrame(
        {"is_known": [None], "is_fraud": [None], "weight": [None], "amount_cents": [None], "is_capped": [False]}
    )
    found = _of_rule("quiet", "review", nothing)
    assert (found.hits, found.known, found.precision) == (1, 0, None)
