"""Three ways to close a gap between groups, and what each costs in money.

- `reweighing_weights`: the model is trained anew with weights that make the label independent of the group. Groups are
  used in training only; decisions see none.
- `fit_group_factors`: each group's probabilities are multiplied before costs are weighed. The decision sees the group,
  which the law of many places forbids or restricts: a policy takes factors only where its file says `group_aware: true`
  and on what legal basis. What they would close and cost can be looked at before.
- `constrain`: the decision is learned anew under a bound on the gap (fairlearn's reductions). Groups are used in
  training only.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
SMALLEST_FACTOR, LARGEST_FACTOR = 0.01, 10.0
_RATES_TRIED = 400
_TINY = 1e-9


@dataclass(frozen=True)
class Mitigated:
    """What a mitigation did to a gap, and to the money that decisions save against approving everything.

    Attributes:
        gap_before, gap_after: Largest difference of a rate between two groups.
    """

    method: str
    gap_before: float
    gap_after: float
    saved_cents_before: float
    saved_cents_after: float

    @property
    def closed_share(self) -> float | None:
        """Share of the gap that is gone; None where there was none."""
        return 1.0 - self.gap_after / self.gap_before if self.gap_before > 0 else None

    @property
    def cost_cents(self) -> float:
        return self.saved_cents_before - self.saved_cents_after

    @property
    def cost_share(self) -> float | None:
        """Share of what was saved that the mitigation costs; negative when it saves more. None where nothing was."""
        return self.cost_cents / self.saved_cents_before if self.saved_cents_before > 0 else None

    def as_dict(self) -> dict[str, Any]:
        derived = {"closed_share": self.closed_share, "cost_cents": self.cost_cents, "cost_share": self.cost_share}
        return {**asdict(self), **derived}


def measure(
    method: str, before: Floats | Bools, after: Floats | Bools, groups: pd.Series, counted: Bools, gain_cents: Floats
) -> Mitigated:
    """Compare two ways to decide on the same orders.

    Args:
        before, after: Whether each order is stopped, or with what chance.
        counted: The orders that the rate is taken over: the honest ones for false alarms, all of them for stops.
        gain_cents: Per order, what stopping it saves against approving it; below 0 for an honest one.
    """
    return Mitigated(
        method,
        rate_gap(before, groups, counted),
        rate_gap(after, groups, counted),
        float(np.asarray(before, float) @ gain_cents),
        float(np.asarray(after, float) @ gain_cents),
    )


def rate_gap(stopped: Floats | Bools, groups: pd.Series, counted: Bools) -> float:
    """Highest minus lowest share of stopped orders of any two groups, over the counted orders."""
    rates = pd.Series(np.asarray(stopped, float)[counted]).groupby(groups.to_numpy()[counted]).mean()
    assert len(rates) >= 2, f"{len(rates)} groups have counted orders; a gap needs two"
    return float(rates.max() - rates.min())


def reweighing_weights(
    groups: pd.Series,
    is_fraud: Bools,
    weight: Floats | None = None,
    *,
    to: Literal["all", "lowest"] = "all",
    strength: float = 1.0,
) -> Floats:
    """Weights under which the label is independent of the group: every group's rate of fraud becomes the same one.

    Kamiran and Calders, "Data preprocessing techniques for classification without discrimination" (2012), where that
    is the rate of all: w(g, y) = P(g) P(y) / P(g, y) = P(y) / P(y | g).

    Args:
        weight: What the orders weigh already, such as by the maturity of their labels.
        to: The rate that all groups get: of all orders, or of the group with the lowest. The latter leaves that group's
            probabilities as they were; it is the better one where labels of other groups are reported too often.
        strength: How much of the way each group's rate goes there. All of it makes the label independent of the group,
            which is not the decision yet: the frauds of a group may be spread over the features in another way. Choose
            it on past orders that were not trained on.

    Returns:
        The given weights times w. A group with honest or fraudulent orders only keeps its own.
    """
    assert len(groups) == len(is_fraud), f"{len(groups)} groups, {len(is_fraud)} labels"
    given = np.ones(len(is_fraud)) if weight is None else np.asarray(weight, float)
    codes, names = pd.factorize(groups.to_numpy())
    orders = np.bincount(codes, weights=given, minlength=len(names))
    rates = np.bincount(codes, weights=given * is_fraud, minlength=len(names)) / np.maximum(orders, 1e-12)
    mixed = (rates > 0) & (rates < 1)
    if not mixed.any():
        return given
    target = float(rates[mixed].min()) if to == "lowest" else float(np.average(is_fraud, weights=given))
    own = np.where(mixed, rates, 0.5)[codes]
    wanted = np.where(mixed, rates + strength * (target - rates), 0.5)[codes]
    return np.asarray(given * np.where(is_fraud, wanted / own, (1 - wanted) / (1 - own)), float)


@dataclass(frozen=True)
class GroupFactors:
    """What each group's probabilities are multiplied by before a policy weighs costs; an unnamed group's by nothing.

    Attributes:
        factors: Within `SMALLEST_FACTOR` and `LARGEST_FACTOR`, as a policy takes them.
    """

    attribute: str
    factors: Mapping[str, float]

    def adjusted(self, probabilities: Floats, groups: pd.Series) -> Floats:
        """Probabilities as costs are weighed by them; at most 1."""
        factor = groups.map(dict(self.factors)).fillna(1.0).to_numpy(float)
        return np.asarray(np.minimum(probabilities * factor, 1.0), float)


def fit_group_factors(
    probabilities: Floats,
    stopped_from: Floats,
    groups: pd.Series,
    counted: Bools,
    gain_cents: Floats,
    *,
    close: float = 0.9,
) -> GroupFactors:
    """Factors that close a share of the gap at the least cost, from past orders.

    Args:
        stopped_from: The probability from which the policy stops an order such as this; it depends on the amount.
        counted: The orders that the rate is taken over.
        gain_cents: Per order, what stopping it saves against approving it.
        close: Share of the gap to close; the rates move towards each other, and together to where most is saved.
    """
    assert 0 <= close <= 1, f"close is {close}, allowed are 0 to 1"
    past_stopping = np.log(np.maximum(probabilities, _TINY)) - np.log(np.maximum(stopped_from, _TINY))
    members = {str(name): np.flatnonzero((groups == name).to_numpy()) for name in sorted(groups.unique())}
    curves = {name: _Curve(past_stopping[rows], counted[rows], gain_cents[rows]) for name, rows in members.items()}
    rates = {name: curve.rate_from(0.0) for name, curve in curves.items()}
    middle = float(np.average(list(rates.values()), weights=[curve.size for curve in curves.values()]))
    offsets = {name: (1.0 - close) * (rate - middle) for name, rate in rates.items()}
    tried = np.linspace(0.0, min(1.0, 3.0 * max(rates.values()) + 1e-9), _RATES_TRIED)
    saved = [sum(curves[name].saved_at(rate + offsets[name]) for name in curves) for rate in tried]
    chosen = float(tried[int(np.argmax(saved))])
    thresholds = {name: curve.threshold_at(chosen + offsets[name]) for name, curve in curves.items()}
    factors = {
        name: float(np.clip(np.exp(-threshold), SMALLEST_FACTOR, LARGEST_FACTOR))
        for name, threshold in thresholds.items()
    }
    return GroupFactors(str(groups.name), factors)


class _Curve:
    """Of one group: the threshold that stops a share of its counted orders, and what that saves."""

    def __init__(self, past_stopping: Floats, counted: Bools, gain_cents: Floats) -> None:
        order = np.argsort(-past_stopping, kind="stable")
        self._levels = past_stopping[order]
        self._stopped = np.concatenate([[0.0], np.cumsum(counted[order])])
        self._saved = np.concatenate([[0.0], np.cumsum(gain_cents[order])])
        self.size = float(self._stopped[-1])

    def rate_from(self, threshold: float) -> float:
        count = int(np.searchsorted(-self._levels, -threshold, side="right"))
        return float(self._stopped[count] / self.size) if self.size else 0.0

    def _count_at(self, rate: float) -> int:
        """How many of the group's orders are stopped, highest first, when a share of the counted ones is."""
        wanted = np.clip(rate, 0.0, 1.0) * self.size
        return int(np.searchsorted(self._stopped, wanted + 1e-9, side="right")) - 1

    def saved_at(self, rate: float) -> float:
        return float(self._saved[self._count_at(rate)])

    def threshold_at(self, rate: float) -> float:
        count = self._count_at(rate)
        if count == 0:
            return float(self._levels[0]) + 1.0 if len(self._levels) else 0.0
        if count == len(self._levels):
            return float(self._levels[-1])
        return float(self._levels[count - 1] + self._levels[count]) / 2.0


@dataclass(frozen=True)
class Constrained:
    """Several ways to decide, each followed with a weight: what fairlearn finds under a bound is a mixture."""

    predictors: tuple[Callable[[Any], Any], ...]
    weights: tuple[float, ...]

    def chance_of_stop(self, inputs: pd.DataFrame) -> Floats:
        """With what chance each order is stopped."""
        chances = [np.asarray(predict(inputs), float) for predict in self.predictors]
        return np.asarray(np.average(chances, axis=0, weights=self.weights), float)


def constrain(
    estimator: Any,
    inputs: pd.DataFrame,
    is_fraud: Bools,
    groups: pd.Series,
    *,
    rate: Literal["false_positive_rate", "stop_rate"] = "stop_rate",
    largest_gap: float = 0.002,
    cost_ratio: float = 20.0,
    iterations: int = 15,
) -> Constrained:
    """Learn whom to stop under a bound on the gap, by fairlearn's exponentiated gradient.

    Agarwal and others, "A reductions approach to fair classification" (2018).

    Args:
        estimator: In scikit-learn's form, with `fit(inputs, labels, sample_weight)` and a `predict` of 0 or 1.
        inputs: Features of the model; the group is none of them.
        largest_gap: Of each group's rate from that of all.
        cost_ratio: How many honest orders stopped weigh as much as one fraud let through.
    """
    from fairlearn.reductions import DemographicParity, ErrorRate, ExponentiatedGradient, FalsePositiveRateParity

    kinds = {"false_positive_rate": FalsePositiveRateParity, "stop_rate": DemographicParity}
    found = ExponentiatedGradient(
        estimator,
        constraints=kinds[rate](difference_bound=largest_gap),
        objective=ErrorRate(costs={"fp": 1.0 / cost_ratio, "fn": 1.0}),
        eps=largest_gap,
        max_iter=iterations,
    )
    found.fit(inputs, is_fraud.astype(int), sensitive_features=groups.to_numpy())
    used = [(int(at), float(weight)) for at, weight in found.weights_.items() if weight > 0]
    assert used, "the reduction found no predictor"
    return Constrained(tuple(found.predictors_[at].predict for at, _ in used), tuple(weight for _, weight in used))
