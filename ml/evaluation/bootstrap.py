"""Paired, clustered bootstrap: whether one method is better than another on the same customers."""

from dataclasses import dataclass

import numpy as np
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
