"""Clustered bootstrap: whether one method is better than another on the same customers, or how sure a figure is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

_DRAWS_AT_ONCE = 200


@dataclass(frozen=True)
class Interval:
    """A mean difference and its confidence interval (percentiles of the bootstrap)."""

    mean: float
    low: float
    high: float
    clusters: int


def paired_difference(
    ours: pd.Series, theirs: pd.Series, cluster: pd.Series, *, draws: int, seed: int, confidence: float = 0.95
) -> Interval:
    """Interval of mean(ours - theirs), drawing whole clusters with replacement.

    The three series are aligned by position: row i of each is the same customer at the same cut. Rows where
    either value is NaN are left out. A cluster is a customer (household): its weeks are not independent.
    """
    assert len(ours) == len(theirs) == len(cluster), f"lengths differ: {len(ours)}, {len(theirs)}, {len(cluster)}"
    difference = ours.to_numpy(float) - theirs.to_numpy(float)
    defined = ~np.isnan(difference)
    codes, names = pd.factorize(cluster.to_numpy()[defined])
    if len(names) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    sums = np.bincount(codes, weights=difference[defined])
    sizes = np.bincount(codes).astype(float)
    generator = np.random.default_rng(seed)
    means = []
    for start in range(0, draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, draws - start)
        drawn = generator.integers(0, len(names), size=(count, len(names)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high), len(names))


def resampled(
    statistic: Callable[[npt.NDArray[np.float64]], float],
    cluster: Sequence[object] | pd.Series,
    *,
    draws: int,
    seed: int,
    strata: Sequence[object] | pd.Series | None = None,
    confidence: float = 0.95,
) -> Interval:
    """Interval of any statistic that takes a weight for every row, drawing whole clusters with replacement.

    The difference of two methods on the same rows is such a statistic, and the interval is then a paired one.

    Args:
        statistic: Of how often each row was drawn; called with ones for the value itself. Draws in which it is not
            defined (NaN) are left out.
        cluster: Of each row, for example its customer; rows without one (null) are clusters of their own.
        strata: Of each row, for example the run that it comes from: as many clusters are drawn of each as it has.
    """
    named = pd.Series(cluster, dtype=object).reset_index(drop=True)
    codes, names = pd.factorize(named)
    codes = np.where(codes < 0, len(names) + np.arange(len(codes)), codes)
    codes = np.unique(codes, return_inverse=True)[1]
    count = int(codes.max()) + 1 if len(codes) else 0
    if count == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    first = np.zeros(count, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    stratum = np.zeros(count, np.int64) if strata is None else pd.factorize(pd.Series(strata).to_numpy()[first])[0]
    members = [np.flatnonzero(stratum == one) for one in np.unique(stratum)]
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = np.zeros(count)
        for clusters in members:
            chosen = generator.integers(0, len(clusters), size=len(clusters))
            drawn[clusters] = np.bincount(chosen, minlength=len(clusters))
        found.append(statistic(drawn[codes]))
    values = np.asarray(found, dtype=np.float64)
    values = values[~np.isnan(values)]
    observed = float(statistic(np.ones(len(codes))))
    if not len(values):
        return Interval(observed, float("nan"), float("nan"), count)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return Interval(observed, float(low), float(high), count)
