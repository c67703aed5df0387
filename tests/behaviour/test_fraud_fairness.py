"""A bias planted in the labels is caught, and each mitigation closes it for next to no money.

Everything here is made up: honest orders of one group are reported as fraud, which a model without the group learns by
way of something that goes with it. What decisions save is counted by what was fraud in truth, which no part sees.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import xgboost

from ml.fairness.mitigation import constrain, fit_group_factors, measure, rate_gap, reweighing_weights
from ml.fairness.rates import RateGap, RatesConfig, audit_decisions

ORDERS, CUSTOMERS = 24_000, 4_000
BREAK_EVEN = 0.1  # an order is stopped from this probability of fraud on: stopping an honest one costs a tenth
INPUTS = ["risk", "postcode"]
SEED = 20171119


@dataclass(frozen=True)
class Shop:
    """Orders in order of time; the first half is learned from, the second is decided on."""

    orders: pd.DataFrame

    @property
    def past(self) -> pd.DataFrame:
        return self.orders.iloc[: ORDERS // 2].reset_index(drop=True)

    @property
    def later(self) -> pd.DataFrame:
        return self.orders.iloc[ORDERS // 2 :].reset_index(drop=True)


def shop(over_reported: float) -> Shop:
    """A shop where a share of the honest orders of one group of customers is reported as fraud."""
    generator = np.random.default_rng(SEED)
    customer = generator.integers(0, CUSTOMERS, ORDERS)
    is_young = (generator.random(CUSTOMERS) < 0.3)[customer]
    risk = generator.normal(size=ORDERS)
    fraud = generator.random(ORDERS) < 1 / (1 + np.exp(8 - 3 * risk))
    reported = fraud | (is_young & (generator.random(ORDERS) < over_reported))
    elsewhere = generator.random(ORDERS) < 0.1
    amount = generator.lognormal(8, 0.7, ORDERS)
    return Shop(
        pd.DataFrame(
            {
                "order_id": [f"o{n}" for n in range(ORDERS)],
                "customer_id": np.char.add("c", customer.astype(str)),
                "age_band": np.where(is_young, "young", "old"),
                "risk": risk,
                "postcode": (is_young ^ elsewhere).astype(float),  # says who is young, nine times of ten
                "reported": reported,
                "fraud": fraud,
                "amount_cents": amount,
            }
        )
    )


def gain_cents(orders: pd.DataFrame, label: str) -> np.ndarray:
    """What stopping each order saves against approving it."""
    return (np.where(orders[label], 1 - BREAK_EVEN, -BREAK_EVEN) * orders["amount_cents"]).to_numpy()


def learned(past: pd.DataFrame, later: pd.DataFrame, weight: np.ndarray | None = None) -> np.ndarray:
    matrix = xgboost.DMatrix(past[INPUTS], past["reported"].astype(int), weight=weight)
    settings = {"max_depth": 3, "eta": 0.1, "objective": "binary:logistic", "nthread": 2, "seed": SEED}
    return xgboost.train(settings, matrix, 80).predict(xgboost.DMatrix(later[INPUTS])).astype(float)


def audited(later: pd.DataFrame, stopped: np.ndarray) -> dict[str, RateGap]:
    frame = later[["order_id", "customer_id"]].assign(
        action=np.where(stopped, "review", "approve"), is_fraud=later["reported"]
    )
    gaps = audit_decisions(frame, later[["order_id", "age_band"]], RatesConfig(draws=300))
    return {gap.metric: gap for gap in gaps}


@pytest.fixture(scope="module")
def biased() -> Shop:
    return shop(over_reported=0.11)


@pytest.fixture(scope="module")
def stopped(biased: Shop) -> np.ndarray:
    return learned(biased.past, biased.later) >= BREAK_EVEN


def test_a_shop_without_bias_is_fair():
    honest = shop(over_reported=0.0)
    gaps = audited(honest.later, learned(honest.past, honest.later) >= BREAK_EVEN)
    assert {gap.verdict for gap in gaps.values()} <= {"fair", "too_small"}
    assert gaps["review_rate"].verdict == gaps["false_positive_rate"].verdict == "fair"


def test_a_planted_bias_is_caught(biased: Shop, stopped: np.ndarray):
    gaps = audited(biased.later, stopped)
    assert gaps["review_rate"].verdict == gaps["false_positive_rate"].verdict == "unfair"
    assert gaps["review_rate"].blocks
    assert gaps["review_rate"].rates["young"] > 2 * gaps["review_rate"].rates["old"]


def test_reweighing_closes_the_gap(biased: Shop, stopped: np.ndarray):
    """How far the labels are evened out is chosen on past orders that were not learned from."""
    past, later = biased.past, biased.later
    earlier, newer = past.iloc[::2].reset_index(drop=True), past.iloc[1::2].reset_index(drop=True)

    def decide(learn: pd.DataFrame, judge: pd.DataFrame, strength: float) -> np.ndarray:
        weights = reweighing_weights(learn["age_band"], learn["reported"].to_numpy(), to="lowest", strength=strength)
        return learned(learn, judge, weights) >= BREAK_EVEN

    everyone = np.full(len(newer), True)
    tried = (0.4, 0.55, 0.7, 0.85, 1.0)
    chosen = min(tried, key=lambda strength: rate_gap(decide(earlier, newer, strength), newer["age_band"], everyone))
    assert_closed(later, stopped, decide(past, later, chosen))


def test_factors_by_group_close_the_gap(biased: Shop, stopped: np.ndarray):
    """Fitted on the past, as it was reported; judged on what came later, as it was."""
    past, later = biased.past, biased.later
    earlier, newer = past.iloc[::2].reset_index(drop=True), past.iloc[1::2].reset_index(drop=True)
    factors = fit_group_factors(
        learned(earlier, newer),
        np.full(len(newer), BREAK_EVEN),
        newer["age_band"],
        np.full(len(newer), True),
        gain_cents(newer, "reported"),
    )
    assert_closed(later, stopped, factors.adjusted(learned(past, later), later["age_band"]) >= BREAK_EVEN)


def test_a_bound_in_training_closes_the_gap(biased: Shop, stopped: np.ndarray):
    past, later = biased.past, biased.later
    estimator = xgboost.XGBClassifier(n_estimators=40, max_depth=3, learning_rate=0.2, n_jobs=2, random_state=SEED)
    found = constrain(
        estimator,
        past[INPUTS],
        past["reported"].to_numpy(),
        past["age_band"],
        cost_ratio=(1 - BREAK_EVEN) / BREAK_EVEN,
        iterations=10,
    )
    assert_closed(later, stopped, found.chance_of_stop(later[INPUTS]))


def assert_closed(later: pd.DataFrame, before: np.ndarray, after: np.ndarray) -> None:
    everyone = np.full(len(later), True)
    gain = gain_cents(later, "fraud")
    mitigated = measure("mitigation", before, after, later["age_band"], everyone, gain)
    assert mitigated.saved_cents_before > 0
    assert mitigated.closed_share >= 0.8, mitigated
    assert mitigated.cost_share <= 0.01, mitigated
