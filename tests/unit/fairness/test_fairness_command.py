"""What `shopwright fraud fairness` makes of marts and of training rows."""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml.cli.fraud.fairness import _gain, _stopped_from, audit
from ml.fraud.policy import ACTIONS, expected_costs
from ml.fraud.policy_file import default_policy
from ml.outcomes import DataFailed
from ml.settings import Settings

DAY = pd.Timestamp("2017-06-30", tz="UTC")


@dataclass(frozen=True)
class StandInMarts:
    tables: dict[str, pd.DataFrame]
    target_day: date = date(2017, 6, 30)

    @property
    def version(self):
        return self

    def connect(self):
        connection = duckdb.connect()
        for name, frame in self.tables.items():
            connection.register(name, frame)
        return connection


class Names(dict):
    def __call__(self):
        return tuple(self)


def marts(decisions: pd.DataFrame, labels: pd.DataFrame) -> StandInMarts:
    orders = pd.DataFrame(
        {
            "order_id": list("abcd"),
            "customer_id": list("wxyz"),
            "attempted_at": [DAY - pd.Timedelta(days=n) for n in (1, 2, 200, 201)],
            "account_created_at": pd.NaT,
            "ip_country": ["US", "CA", "US", "CA"],
            "is_approved": True,
        }
    )
    orders["attempt_date"] = orders["attempted_at"].dt.date
    tables = {"fct_order_payments": orders, "fct_fraud_decisions": decisions, "fct_fraud_labels": labels}
    return StandInMarts(Names(tables))


NO_LABELS = pd.DataFrame(
    {
        "order_id": pd.Series(dtype="str"),
        "is_fraud": pd.Series(dtype="bool"),
        "known_at": pd.Series(dtype="datetime64[us, UTC]"),
        "label_source": pd.Series(dtype="str"),
    }
)
DECIDED = pd.DataFrame(
    {
        "order_id": list("abcd"),
        "action": ["review", "approve", "decline", "approve"],
        "score": [0.2, 0.1, 0.9, 0.1],
        "would_decline": [False, False, True, False],
        "propensity": [1.0, 1.0, 0.0, 1.0],
    }
)
SETTINGS = Settings(_env_file=None, timezone="UTC")


def test_orders_of_the_newest_days_are_judged_and_young_ones_have_no_label():
    gaps = {(gap.attribute, gap.metric): gap for gap in audit(SETTINGS, marts(DECIDED, NO_LABELS), 365)}
    assert gaps["region", "review_rate"].orders == {"CA": 2, "US": 2}
    # a and b are days old, c was declined unseen: only d says something of honest orders.
    assert gaps["region", "false_positive_rate"].orders == {"CA": 1}


def test_older_days_are_left_out():
    gaps = {(gap.attribute, gap.metric): gap for gap in audit(SETTINGS, marts(DECIDED, NO_LABELS), 30)}
    assert gaps["region", "review_rate"].orders == {"CA": 1, "US": 1}


def test_nothing_decided_says_what_to_run():
    with pytest.raises(DataFailed, match="shopwright fraud score"):
        audit(SETTINGS, marts(DECIDED.head(0), NO_LABELS), 30)


def test_an_order_is_stopped_from_where_two_actions_cost_the_same():
    policy = default_policy()
    rows = pd.DataFrame({"amount_cents": [2_000, 20_000, 200_000]})
    costs = expected_costs(_stopped_from(rows, policy), rows["amount_cents"].to_numpy(), rows, policy)
    assert costs["approve"].to_numpy() == pytest.approx(costs[list(ACTIONS[1:])].min(axis=1).to_numpy())


def test_stopping_a_fraud_saves_and_stopping_an_honest_order_costs():
    rows = pd.DataFrame({"amount_cents": [20_000, 20_000], "is_fraud": [True, False]})
    gain = _gain(rows, default_policy())
    assert gain[0] > 0 > gain[1]
    assert np.isfinite(gain).all()
