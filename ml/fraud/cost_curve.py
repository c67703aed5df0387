"""Cost against threshold: what it costs to decline every order of at least a probability and to approve the others."""

from dataclasses import dataclass

import numpy as np

from ml.fraud.backtest import PastOrders, replay
from ml.fraud.expression_values import Floats
from ml.fraud.policy import Policy, expected_costs
from ml.outcomes import DataFailed

POINTS = 200


@dataclass(frozen=True)
class CostCurve:
    """Costs per 1,000 orders, in cents, over the same mature orders.

    Attributes:
        threshold: Ascending, shape (m,); the last one declines nobody.
        actual: By what the orders turned out to be, shape (m,).
        expected: By the model's probabilities, shape (m,). Where the two part, the probabilities are off.
        declined: Share of the orders declined, shape (m,).
        best: Place of the least actual cost.
        policy: What the policy itself would have cost, with challenges, reviews and rules.
        approve_all: What approving all would have cost.
    """

    threshold: Floats
    actual: Floats
    expected: Floats
    declined: Floats
    best: int
    policy: float
    approve_all: float
    orders: int
    frauds: int


def cost_curve(past: PastOrders, policy: Policy, points: int = POINTS) -> CostCurve:
    """The curve at so many thresholds, spread evenly over the orders of highest probability.

    Raises:
        DataFailed: No order was scored.
    """
    given = np.full(len(past.orders), np.nan) if past.probabilities is None else past.probabilities
    scored = np.flatnonzero(~np.isnan(given))
    if not len(scored):
        raise DataFailed("cost curve: expected mature orders with a probability, found none")
    order = scored[np.argsort(-given[scored], kind="stable")]
    p, weight, rows = given[order], past.weight[order], past.orders.iloc[order]
    amount = rows["amount_cents"].to_numpy()
    actual = expected_costs(past.is_fraud[order].astype(np.float64), amount, rows, policy).to_numpy()
    believed = expected_costs(p, amount, rows, policy).to_numpy()
    per_1000 = 1000.0 / weight.sum()
    last = np.flatnonzero(np.append(p[1:] != p[:-1], True))  # equal probabilities are declined together
    declines = np.unique(np.concatenate([last[_spread(len(last), points)] + 1, [0]]))[::-1]
    return CostCurve(
        threshold=np.append(p, np.inf)[np.where(declines == 0, len(p), declines - 1)].clip(max=1.0),
        actual=(_declining(actual, weight)[declines]) * per_1000,
        expected=(_declining(believed, weight)[declines]) * per_1000,
        declined=np.concatenate([[0.0], np.cumsum(weight)])[declines] / weight.sum(),
        best=int(_declining(actual, weight)[declines].argmin()),
        policy=float((_replayed_cost(past, policy)[order] * weight).sum() * per_1000),
        approve_all=float((actual[:, 0] * weight).sum() * per_1000),
        orders=len(order),
        frauds=int(past.is_fraud[order].sum()),
    )


def _replayed_cost(past: PastOrders, policy: Policy) -> Floats:
    return replay(past, policy).cost()


def _declining(costs: Floats, weight: Floats) -> Floats:
    """Total cost when the first k orders are declined, k = 0..n."""
    declined = np.concatenate([[0.0], np.cumsum(costs[:, 3] * weight)])
    approved = np.concatenate([np.cumsum((costs[:, 0] * weight)[::-1])[::-1], [0.0]])
    return np.asarray(declined + approved)


def _spread(n: int, points: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Places of 0..n-1: close together at the front, where the frauds are."""
    if n <= points:
        return np.arange(n, dtype=np.int64)
    return np.unique(np.round(np.geomspace(1, n, points)).astype(np.int64) - 1)
