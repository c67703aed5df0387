"""Hints, against costs worked out by hand for an order of 100.00 without history under the costs below.

A fraud costs 11,500 cents, an honest order earns 2,500, a wrongly declined one costs 2,900. At probability p:
approve 11500p, challenge 210 + 4400p, review 358 + 1667p, decline 2900 - 2900p. A review has to save 50 cents.
So: approve up to 2.958%, challenge up to 7.245%, review up to 54.565%, decline above.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from ml.fraud.hints import what_would_change
from ml.fraud.policy_file import read_policy

POLICY = read_policy(
    """
name: by_hand
costs:
  fraud_loss_share: 1.0
  chargeback_fee_cents: 1500
  margin_share: 0.25
  lost_customer_share: 0.2
  lifetime_value_cents: 2000
  lifetime_orders: 10
  review_cents: 300
  review_catch_share: 0.85
  review_wrong_share: 0.02
  challenge_cents: 10
  challenge_stop_share: 0.6
  challenge_abandon_share: 0.08
reviews: {per_day: 20, minimum_saving_cents: 50}
""",
    "by_hand.yml",
)


@dataclass(frozen=True)
class Linear:
    """Log-odds: given weights of three features, and a constant."""

    device: float = 0.0
    amount: float = 0.0
    account: float = 0.0
    bias: float = -4.0
    name: str = "linear"
    kind: str = "baseline"
    features: tuple[str, ...] = ("count_orders_device_1h", "log_amount", "account_age_days")

    def contributions(self, rows: pd.DataFrame) -> pd.DataFrame:
        weights = (self.device, self.amount, self.account)
        shares = {name: weight * rows[name] for name, weight in zip(self.features, weights, strict=True)}
        return pd.DataFrame(shares).astype(float).assign(bias=self.bias)

    def probabilities(self, rows: pd.DataFrame) -> np.ndarray:
        return 1 / (1 + np.exp(-self.contributions(rows).sum(axis=1, skipna=False).to_numpy()))


def order(**values: object) -> pd.Series:
    given = {"amount_cents": 10_000, "channel": "web", "count_orders_device_1h": 0, "account_age_days": 0.0, **values}
    return pd.Series(given)


def at(probability: float) -> Linear:
    return Linear(bias=float(np.log(probability / (1 - probability))))


def percents(text: str | None) -> list[float]:
    assert text is not None
    return [float(found) for found in re.findall(r"([\d.]+)%", text)]


@pytest.mark.parametrize(
    ("probability", "said", "threshold"),
    [
        (0.05, "It would have been approved below", 2.958),
        (0.30, "It would have been challenged below", 7.245),
        (0.60, "It would have been reviewed below", 54.565),
    ],
)
def test_the_threshold_is_where_a_milder_action_costs_less(probability, said, threshold):
    hint = what_would_change(order(), at(probability), POLICY)
    assert hint is not None
    assert hint.startswith(said)
    assert percents(hint)[:2] == [pytest.approx(threshold, abs=0.06), 100 * probability]


def test_what_is_approved_needs_no_hint():
    assert what_would_change(order(), at(0.01), POLICY) is None


def test_without_a_model_or_a_probability_nothing_is_said():
    assert what_would_change(order(), None, POLICY) is None
    assert what_would_change(order(), at(float("nan")), POLICY) is None


def test_the_one_signal_that_suffices_is_named():
    # Without the device the log-odds are -4: 1.8%, which is approved; the account's 0.1 alone changes nothing.
    hint = what_would_change(
        order(count_orders_device_1h=4, account_age_days=1.0), Linear(device=0.5, account=0.1), POLICY
    )
    assert hint is not None
    assert "So it would without: Pace of orders of the device" in hint
    assert "account" not in hint


def test_two_signals_are_named_where_one_is_not_enough():
    # Log-odds -4 + 2 + 1.8 = -0.2 is a review; a challenge needs less than -2.55, which neither gives alone.
    hint = what_would_change(
        order(count_orders_device_1h=4, account_age_days=1.0), Linear(device=0.5, account=1.8), POLICY
    )
    assert hint is not None
    assert "So it would without: Pace of orders of the device, Age of the account" in hint


def test_the_amount_is_scored_anew():
    # This model does not look at the amount, so only the costs change. At 30% and an amount of a cents a challenge
    # costs 190 + 0.134a and a review 373.1 + 0.0485a, which saves 50 from 2,726 on; the grid is 250 cents wide.
    hint = what_would_change(order(), at(0.3), POLICY)
    assert hint is not None
    assert "At an amount of 25.00 instead of 100.00 it would have been challenged" in hint
    # A model in whose eyes small amounts are suspicious gives another answer, or none.
    again = what_would_change(order(), Linear(amount=-1.0, bias=8.363), POLICY)  # 30% at 100.00, 63% at 25.00
    assert again is not None
    assert "At an amount of" not in again


@pytest.mark.parametrize(
    ("decided", "said"),
    [
        ({"action": "decline", "source": "list"}, "An entry of a list decided, whatever the model says"),
        ({"action": "decline", "source": "rule"}, "by probability and costs alone it would have been approved"),
        ({"action": "review", "source": "standin"}, "No model scored the order"),
        ({"action": "review", "source": "model"}, "By probability and costs alone it would have been approved"),
    ],
)
def test_a_decision_that_something_else_made_says_so(decided, said):
    hint = what_would_change(order(), at(0.01), POLICY, decided)
    assert hint is not None
    assert said in hint


def test_a_hint_is_about_one_order():
    with pytest.raises(AssertionError, match="one order, not 2"):
        what_would_change(pd.DataFrame([order(), order()]), at(0.5), POLICY)
