"""What a policy would have done with past mature orders: frauds stopped, honest customers declined, money; intervals.

Labels are what became known of orders that went through. Orders that were declined have none and are left out; a
would-be decline that was let through by chance stands for all of its kind (weight 1 / propensity).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.decide import choose
from ml.fraud.expression import Expression
from ml.fraud.expression_values import Floats, truths
from ml.fraud.fields import SCORE
from ml.fraud.policy import ACTIONS, Costs, Exploration, Policy, expected_costs, segment_of

DRAWS = 500
_DRAWS_AT_ONCE = 25
Unit = Literal["share", "count", "cents"]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """A figure with its 95% interval, from a bootstrap over customers."""

    name: str
    value: float
    low: float
    high: float
    unit: Unit


@dataclass(frozen=True)
class PastOrders:
    """Orders of which it is known what they were, n rows each.

    Attributes:
        orders: As `decide` takes them; with customer_id where there is one.
        probabilities: NaN where no model scored; None where there was no model.
        is_fraud: Shape (n,).
        weight: How many orders each stands for, shape (n,).
    """

    orders: pd.DataFrame
    probabilities: Floats | None
    is_fraud: Flags
    weight: Floats

    def __post_init__(self) -> None:
        n = len(self.orders)
        assert len(self.is_fraud) == len(self.weight) == n, f"lengths differ: {len(self.is_fraud)}, {len(self.weight)}"
        assert (self.weight > 0).all(), "orders of no weight are to be left out"

    @property
    def shop_days(self) -> int:
        column = "attempt_date" if "attempt_date" in self.orders.columns else "attempted_at"
        return int(pd.to_datetime(self.orders[column]).dt.date.nunique())


@dataclass(frozen=True)
class Replayed:
    """What a policy would have done, order by order.

    Attributes:
        action: Index into `ACTIONS`, shape (n,).
        costs: What each action costs of an order that was what it was, shape (n, 4); cents.
        stopped: Chance that each action stops a fraud, shape (n, 4).
    """

    policy: Policy
    action: npt.NDArray[np.int64]
    costs: Floats
    stopped: Floats

    def cost(self) -> Floats:
        return _taken(self.costs, self.action)


def replay(past: PastOrders, policy: Policy, prices: Policy | None = None) -> Replayed:
    """Decide past orders anew: without lists, which know the future, and without exploration, which is chance.

    Args:
        prices: Whose costs the outcome is judged by; the policy's own without. Two policies are only compared by the
            same prices.
    """
    still = replace(policy, exploration=Exploration())
    chosen = choose(past.orders, past.probabilities, still, (), None, None, 0)
    judged_by = prices or policy
    amount = past.orders["amount_cents"].to_numpy()
    costs = expected_costs(past.is_fraud.astype(np.float64), amount, past.orders, judged_by).to_numpy()
    return Replayed(policy, chosen.action, costs, _stopped(past.orders, judged_by))


def figures(past: PastOrders, replayed: Replayed, *, draws: int = DRAWS, seed: int = 0) -> list[Figure]:
    """The figures of a replay. Shares of frauds and of honest orders are by number, weighted."""
    fraud = past.is_fraud.astype(np.float64)
    honest: Floats = 1.0 - fraud
    n = np.ones(len(fraud))
    cost, action = replayed.cost(), replayed.action
    stopped = fraud * _taken(replayed.stopped, action)
    value = past.orders["amount_cents"].to_numpy(np.float64)
    per_1000 = n / 1000.0
    rows: list[tuple[str, Unit, Floats, Floats]] = [
        ("frauds stopped", "share", stopped, fraud),
        ("value of frauds stopped, per 1,000 orders", "cents", stopped * value, per_1000),
        ("frauds declined", "share", fraud * (action == 3), fraud),
        ("frauds sent to review", "share", fraud * (action == 2), fraud),
        ("frauds challenged", "share", fraud * (action == 1), fraud),
        ("honest orders declined", "share", honest * (action == 3), honest),
        ("honest orders sent to review", "share", honest * (action == 2), honest),
        ("honest orders challenged", "share", honest * (action == 1), honest),
        ("cost, per 1,000 orders", "cents", cost, per_1000),
        ("saved against approving all, per 1,000 orders", "cents", replayed.costs[:, 0] - cost, per_1000),
    ]
    return _with_intervals(past, rows, draws, seed)


def difference(
    past: PastOrders, ours: Replayed, theirs: Replayed, *, draws: int = DRAWS, seed: int = 0
) -> list[Figure]:
    """What one policy costs less than another on the same orders, at the same prices; positive: ours saves."""
    assert np.array_equal(ours.costs, theirs.costs), "the two are judged by different prices"
    saved = theirs.cost() - ours.cost()
    rows: list[tuple[str, Unit, Floats, Floats]] = [
        ("saved against the other policy, per 1,000 orders", "cents", saved, np.ones(len(saved)) / 1000.0)
    ]
    return _with_intervals(past, rows, draws, seed)


def rule_figures(
    past: PastOrders, when: Expression, prices: Policy, *, draws: int = DRAWS, seed: int = 0
) -> list[Figure]:
    """What one condition by itself would have met, and what declining all of it would have saved."""
    scored = np.full(len(past.orders), np.nan) if past.probabilities is None else past.probabilities
    hit = (truths(when, past.orders.assign(**{SCORE: scored})) == 1.0).astype(float)
    fraud = past.is_fraud.astype(float)
    value = past.orders["amount_cents"].to_numpy(np.float64)
    costs = expected_costs(fraud, past.orders["amount_cents"].to_numpy(), past.orders, prices).to_numpy()
    n = np.ones(len(hit))
    rows: list[tuple[str, Unit, Floats, Floats]] = [
        ("orders met", "share", hit, n),
        ("frauds among the orders met", "share", hit * fraud, hit),
        ("frauds met, of all frauds", "share", hit * fraud, fraud),
        ("honest orders met, of all honest orders", "share", hit * (1 - fraud), 1 - fraud),
        ("value of frauds met, per 1,000 orders", "cents", hit * fraud * value, n / 1000.0),
        ("saved by declining them all, per 1,000 orders", "cents", hit * (costs[:, 0] - costs[:, 3]), n / 1000.0),
    ]
    return _with_intervals(past, rows, draws, seed)


def _taken(values: Floats, action: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(np.take_along_axis(values, action[:, None], axis=1)[:, 0], dtype=np.float64)


def _stopped(orders: pd.DataFrame, prices: Policy) -> Floats:
    def odds(costs: Costs) -> list[float]:
        return [0.0, costs.challenge_stop_share, costs.review_catch_share, 1.0]

    by_segment = np.array([*(odds(segment.costs) for segment in prices.segments), odds(prices.costs)])
    assert by_segment.shape[1] == len(ACTIONS)
    return np.asarray(by_segment[segment_of(orders, prices)], dtype=np.float64)


def _with_intervals(
    past: PastOrders, rows: Sequence[tuple[str, Unit, Floats, Floats]], draws: int, seed: int
) -> list[Figure]:
    """Weighted ratios, with the percentiles that they have when whole customers are drawn anew."""
    numerators = np.column_stack([above for _, _, above, _ in rows]) * past.weight[:, None]
    denominators = np.column_stack([below for _, _, _, below in rows]) * past.weight[:, None]
    codes, count = _clusters(past.orders)
    above = _summed(codes, count, numerators)
    below = _summed(codes, count, denominators)
    generator = np.random.default_rng(seed)
    drawn = []
    for start in range(0, draws if count else 0, _DRAWS_AT_ONCE):
        # A Poisson weight of mean 1 for each customer is a bootstrap of so many customers as there are, on average.
        times = generator.poisson(1.0, size=(min(_DRAWS_AT_ONCE, draws - start), count)).astype(np.float64)
        drawn.append(_ratio(times @ above, times @ below))
    values = _ratio(above.sum(axis=0), below.sum(axis=0))
    if not drawn:
        return [Figure(name, float("nan"), float("nan"), float("nan"), unit) for name, unit, _, _ in rows]
    everything = np.concatenate(drawn)
    found = []
    for column, (name, unit, _, _) in enumerate(rows):
        defined = everything[~np.isnan(everything[:, column]), column]
        low, high = np.quantile(defined, [0.025, 0.975]) if len(defined) else (np.nan, np.nan)
        found.append(Figure(name, float(values[column]), float(low), float(high), unit))
    return found


def _clusters(orders: pd.DataFrame) -> tuple[npt.NDArray[np.int64], int]:
    """A number for each customer; an order without one is its own."""
    ids = orders["order_id"].astype(str).map("order:{}".format)
    if "customer_id" in orders.columns:
        customers = orders["customer_id"]
        ids = customers.astype(object).map("customer:{}".format).where(customers.notna(), ids)
    codes, names = pd.factorize(ids.to_numpy(dtype=object))
    return np.asarray(codes, dtype=np.int64), len(names)


def _summed(codes: npt.NDArray[np.int64], count: int, values: Floats) -> Floats:
    columns = [np.bincount(codes, weights=values[:, place], minlength=count) for place in range(values.shape[1])]
    return np.column_stack(columns)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Above over below; undefined (NaN) where there is nothing below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(below > 0, above / below, np.nan)
