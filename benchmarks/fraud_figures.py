"""Figures of a score over orders, pooled over data sets, with intervals of a bootstrap that draws customers.

A draw changes how often each customer counts, never the order of the scores. So a score is counted once, by customer
and stretch of the ranking, and the figures of all draws are those counts times how often each customer was drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

Floats = npt.NDArray[np.float64]
ALERT_BUDGETS = (0.005, 0.01, 0.02)
CALIBRATION_BINS = 20


@dataclass(frozen=True)
class Counted:
    """A method's score of the judged orders, as sums over stretches of the ranking and over customers.

    A stretch is all orders of one score that frauds have, or all orders between two such scores: within the first,
    alerts hit frauds as often as any draw of its orders would, within the second they hit none.

    Attributes:
        orders, frauds: stretches x customers, highest scores first.
        gap: Calibration bins of equal numbers of orders x customers: sum of probability minus truth; None where the
            score is no probability.
        saved_cents: Per customer.
    """

    orders: sparse.csr_matrix
    frauds: sparse.csr_matrix
    gap: sparse.csr_matrix | None
    saved_cents: Floats


def counted(
    score: Floats,
    is_fraud: npt.NDArray[np.bool_],
    customer: npt.NDArray[np.int64],
    saved_cents: Floats,
    is_probability: bool,
) -> Counted:
    """Count a method's score.

    Args:
        score: Per order; higher is more suspicious.
        customer: Number of each order's customer, from 0 without gaps.
        saved_cents: Per order, what the method's decision saved against approving it.
    """
    assert np.isfinite(score).all(), f"{(~np.isfinite(score)).sum()} scores are not finite"
    with_frauds = np.unique(-score[is_fraud])
    begins = np.searchsorted(with_frauds, -score, side="left")
    stretch = begins + np.searchsorted(with_frauds, -score, side="right")
    size = int(customer.max()) + 1

    def summed(row: npt.NDArray[np.int64], value: Floats, rows: int) -> sparse.csr_matrix:
        return sparse.csr_matrix((value, (row, customer)), shape=(rows, size))

    gap = None
    if is_probability:
        rank = np.empty(len(score), dtype=np.int64)
        rank[np.argsort(-score, kind="stable")] = np.arange(len(score))
        gap = summed(rank * CALIBRATION_BINS // len(score), score - is_fraud, CALIBRATION_BINS)
    stretches = 2 * len(with_frauds) + 1
    return Counted(
        summed(stretch, np.ones(len(score)), stretches),
        summed(stretch, is_fraud.astype(float), stretches),
        gap,
        np.bincount(customer, weights=saved_cents, minlength=size),
    )


def figures(of: Counted, times: Floats | None = None) -> pd.DataFrame:
    """average_precision, recall_at_<budget>, ece (where the score is a probability), saved_cents_per_1000.

    Args:
        times: How often each customer counts, customers x draws; None: once, in one draw.

    Returns:
        One row per draw.
    """
    times = np.ones((of.orders.shape[1], 1)) if times is None else times
    frauds = of.frauds @ times
    alerted, caught = np.cumsum(of.orders @ times, axis=0), np.cumsum(frauds, axis=0)
    count, count_frauds = alerted[-1], caught[-1]
    precision = np.divide(caught, alerted, out=np.zeros_like(caught), where=alerted > 0)
    found = {"average_precision": (frauds * precision).sum(axis=0) / count_frauds}
    nothing = np.zeros((1, times.shape[1]))
    share_alerted, share_caught = np.vstack([nothing, alerted / count]), np.vstack([nothing, caught / count_frauds])
    for budget in ALERT_BUDGETS:
        found[f"recall_at_{budget:g}"] = np.array(
            [np.interp(budget, share_alerted[:, draw], share_caught[:, draw]) for draw in range(times.shape[1])]
        )
    if of.gap is not None:
        found["ece"] = np.abs(of.gap @ times).sum(axis=0) / count
    found["saved_cents_per_1000"] = of.saved_cents @ times / count * 1000
    return pd.DataFrame(found)


def perfect(is_fraud: npt.NDArray[np.bool_], saved_cents: Floats) -> dict[str, float]:
    """What a method that knows the labels reaches: the maximum of each figure.

    Args:
        saved_cents: What the best action saves, order by order.
    """
    rate = is_fraud.mean()
    return {
        "average_precision": 1.0,
        **{f"recall_at_{budget:g}": float(min(1.0, budget / rate)) for budget in ALERT_BUDGETS},
        "ece": 0.0,
        "saved_cents_per_1000": float(saved_cents.mean() * 1000),
    }


def draw_customers(stratum: npt.NDArray[np.int64], draws: int, seed: int) -> Floats:
    """How often each customer counts, customers x draws.

    Args:
        stratum: The data set of each customer; each is drawn from by itself.
    """
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(stratum == one) for one in np.unique(stratum)]
    times = np.zeros((len(stratum), draws))
    for draw in range(draws):
        for group in members:
            times[group, draw] = generator.multinomial(len(group), np.full(len(group), 1 / len(group)))
    return times


def interval(drawn: Sequence[float] | pd.Series) -> dict[str, float]:
    """The middle 95%."""
    low, high = np.nanquantile(np.asarray(drawn, float), [0.025, 0.975])
    return {"low": float(low), "high": float(high)}


def ratio(
    drawn: Mapping[str, pd.DataFrame], value: Callable[[str], float], over: str, under: str, figure: str
) -> dict[str, float]:
    """A figure of one method over that of another, on the same draws."""
    return {
        "ratio": value(over) / value(under),
        **interval(drawn[over][figure] / drawn[under][figure]),
    }
