"""Figures of a score over orders, pooled over data sets, with intervals of a bootstrap that draws customers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
ALERT_BUDGETS = (0.005, 0.01, 0.02)
CALIBRATION_BINS = 20


@dataclass(frozen=True)
class Scored:
    """A method's score of the judged orders, in an order that makes every figure a matter of sums.

    Attributes:
        place: Positions of the orders, highest score first.
        end: Per place, the last place with the same score: orders of one score are taken together.
        bin: Calibration bin per order, of equal numbers of orders; None where the score is no probability.
    """

    place: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    probability: Floats
    bin: npt.NDArray[np.int64] | None
    saved_cents: Floats


def scored(score: Floats, saved_cents: Floats, is_probability: bool) -> Scored:
    """Prepare a method's figures.

    Args:
        score: Per order; higher is more suspicious.
        saved_cents: Per order, what the method's decision saved against approving it.
    """
    assert np.isfinite(score).all(), f"{(~np.isfinite(score)).sum()} scores are not finite"
    place = np.argsort(-score, kind="stable")
    ordered = score[place]
    last = np.r_[ordered[1:] != ordered[:-1], True]
    ends = np.flatnonzero(last)
    end = ends[np.searchsorted(ends, np.arange(len(score)))]
    rank = np.empty(len(score), dtype=np.int64)
    rank[place] = np.arange(len(score))
    bins = rank * CALIBRATION_BINS // len(score) if is_probability else None
    return Scored(place, end, score, bins, saved_cents)


def figures(of: Scored, is_fraud: npt.NDArray[np.bool_], weight: Floats) -> dict[str, float]:
    """average_precision, recall_at_<budget>, ece (where the score is a probability), saved_cents_per_1000.

    Args:
        weight: How often each order counts: once, or as often as the bootstrap drew its customer.
    """
    drawn = weight[of.place]
    frauds = drawn * is_fraud[of.place]
    caught, alerted = np.cumsum(frauds)[of.end], np.cumsum(drawn)[of.end]
    count_frauds, count = caught[-1], alerted[-1]
    precision = np.divide(caught, alerted, out=np.zeros_like(caught), where=alerted > 0)
    found = {"average_precision": float(frauds @ precision / count_frauds)}
    levels = np.unique(of.end)
    share_alerted = np.r_[0.0, alerted[levels] / count]
    share_caught = np.r_[0.0, caught[levels] / count_frauds]
    for budget in ALERT_BUDGETS:
        # Within orders of one score, alerts hit frauds as often as any draw of them would.
        found[f"recall_at_{budget:g}"] = float(np.interp(budget, share_alerted, share_caught))
    if of.bin is not None:
        gap = np.bincount(of.bin, weights=weight * (of.probability - is_fraud), minlength=CALIBRATION_BINS)
        found["ece"] = float(np.abs(gap).sum() / count)
    found["saved_cents_per_1000"] = float(weight @ of.saved_cents / count * 1000)
    return found


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


def bootstrap(
    methods: Mapping[str, Scored],
    is_fraud: npt.NDArray[np.bool_],
    cluster: npt.NDArray[np.int64],
    stratum: npt.NDArray[np.int64],
    *,
    draws: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Figures of all methods on the same draws: method -> one row per draw.

    Args:
        cluster: A number per customer and data set; a customer's orders are drawn together.
        stratum: The data set; each is drawn from by itself.
    """
    generator = np.random.default_rng(seed)
    codes, _ = pd.factorize(cluster)
    first = pd.Series(stratum).groupby(codes).first().to_numpy()
    members = [np.flatnonzero(first == one) for one in np.unique(first)]
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in methods}
    for _ in range(draws):
        times = np.zeros(len(first))
        for group in members:
            times[group] = generator.multinomial(len(group), np.full(len(group), 1 / len(group)))
        weight = times[codes]
        for name, method in methods.items():
            rows[name].append(figures(method, is_fraud, weight))
    return {name: pd.DataFrame(drawn) for name, drawn in rows.items()}


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
