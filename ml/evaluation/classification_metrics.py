"""Metrics of a probability against what was true, with a weight for every row.

Rows may stand for others (inverse propensities), and a bootstrap draws rows by giving them counts: both are weights.

- average precision: sum over thresholds of (recall gained) x precision; rows of one score enter together, so that
  their order cannot matter
- recall at a budget: share of the positives among the highest scores that together weigh `budget` of all rows; rows
  of one score share what is left of the budget
- expected calibration error: mean over bins of |mean probability - share of positives|; bins hold equal weight, in
  order of the probability
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranking:
    """Rows in falling order of their score, ready to be weighted many times.

    Attributes:
        order: Places of the rows, highest score first.
        last_of_score: Places in that order at which a score ends.
        is_positive: In that order.
    """

    order: npt.NDArray[np.int64]
    last_of_score: npt.NDArray[np.int64]
    is_positive: Truth

    @classmethod
    def of(cls, scores: npt.ArrayLike, is_positive: npt.ArrayLike) -> "Ranking":
        """Rank rows; a score that is NaN comes last."""
        values = np.asarray(scores, dtype=np.float64)
        values = np.where(np.isnan(values), -np.inf, values)
        order = np.argsort(-values, kind="stable")
        ranked = values[order]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, np.int64)
        return cls(order, ends.astype(np.int64), np.asarray(is_positive, dtype=bool)[order])

    def average_precision(self, weight: Floats | None = None) -> float:
        """NaN without positives or without rows of the other class."""
        positives, rows = self._sums(weight)
        if len(rows) == 0 or positives[-1] <= 0 or positives[-1] >= rows[-1]:
            return float("nan")
        gained = np.diff(positives, prepend=0.0) / positives[-1]
        precision = positives / np.where(rows > 0, rows, 1.0)
        return float((gained * precision).sum())

    def recall_at(self, budget: float, weight: Floats | None = None) -> float:
        """NaN without positives."""
        positives, rows = self._sums(weight)
        if len(rows) == 0 or positives[-1] <= 0:
            return float("nan")
        found = np.interp(budget * rows[-1], np.append(0.0, rows), np.append(0.0, positives))
        return float(found / positives[-1])

    def _sums(self, weight: Floats | None) -> tuple[Floats, Floats]:
        """Weight of the positives and of all rows down to the end of each score."""
        weights = np.ones(len(self.order)) if weight is None else np.asarray(weight, dtype=np.float64)[self.order]
        rows = np.cumsum(weights)[self.last_of_score]
        positives = np.cumsum(np.where(self.is_positive, weights, 0.0))[self.last_of_score]
        return positives, rows


def average_precision(scores: npt.ArrayLike, is_positive: npt.ArrayLike, weight: Floats | None = None) -> float:
    """Area under precision over recall, by steps."""
    return Ranking.of(scores, is_positive).average_precision(weight)


def recall_at_budget(
    scores: npt.ArrayLike, is_positive: npt.ArrayLike, budget: float, weight: Floats | None = None
) -> float:
    """Share of the positives found when `budget` of the rows (0 to 1) is looked at."""
    return Ranking.of(scores, is_positive).recall_at(budget, weight)


@dataclass(frozen=True)
class Reliability:
    """Bins of rows in order of their probability.

    Attributes:
        weight: Of each bin, adding up to 1.
        predicted: Mean probability.
        observed: Share of positives.
    """

    weight: Floats
    predicted: Floats
    observed: Floats

    def error(self) -> float:
        """Expected calibration error; NaN without rows."""
        if len(self.weight) == 0:
            return float("nan")
        return float((self.weight * np.abs(self.predicted - self.observed)).sum())


def reliability(
    probabilities: npt.ArrayLike, is_positive: npt.ArrayLike, weight: Floats | None = None, bins: int = 20
) -> Reliability:
    """Mean probability beside the share of positives, in bins of equal weight."""
    p = np.asarray(probabilities, dtype=np.float64)
    weights = np.ones(len(p)) if weight is None else np.asarray(weight, dtype=np.float64)
    defined = ~np.isnan(p) & (weights > 0)
    p, positive, weights = p[defined], np.asarray(is_positive, dtype=bool)[defined], weights[defined]
    if len(p) == 0:
        return Reliability(np.empty(0), np.empty(0), np.empty(0))
    order = np.argsort(p, kind="stable")
    # The middle of a row's weight says into which bin it falls.
    middle = (np.cumsum(weights[order]) - weights[order] / 2) / weights.sum()
    place = np.minimum((middle * bins).astype(np.int64), bins - 1)
    sums = np.bincount(place, weights[order], minlength=bins)
    predicted = np.bincount(place, weights[order] * p[order], minlength=bins)
    observed = np.bincount(place, weights[order] * positive[order], minlength=bins)
    filled = sums > 0
    return Reliability(sums[filled] / sums.sum(), predicted[filled] / sums[filled], observed[filled] / sums[filled])


def expected_calibration_error(
    probabilities: npt.ArrayLike, is_positive: npt.ArrayLike, weight: Floats | None = None, bins: int = 20
) -> float:
    """Mean distance of probabilities from shares, in bins of equal weight."""
    return reliability(probabilities, is_positive, weight, bins).error()


def precision_recall(
    scores: npt.ArrayLike, is_positive: npt.ArrayLike, weight: Floats | None = None
) -> tuple[Floats, Floats]:
    """(recall, precision) at every threshold, highest first; empty without positives."""
    positives, rows = Ranking.of(scores, is_positive)._sums(weight)
    if len(rows) == 0 or positives[-1] <= 0:
        return np.empty(0), np.empty(0)
    return positives / positives[-1], positives / np.where(rows > 0, rows, 1.0)
