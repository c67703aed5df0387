"""Promotion rules of a model that tells rare bad orders from good ones.

As for rankings, a challenger must be better than a baseline beyond doubt, and not worse than an earlier model of its
own kind by more than a margin. Quality is average precision, weighted so that orders let through by chance stand for
those that were declined; money is what the decisions would have cost under the policy in force.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.evaluation.bootstrap import Interval, resampled
from ml.evaluation.classification_metrics import Ranking
from ml.evaluation.explanation_budget import BUDGET_MS
from ml.evaluation.promotion import Rule, Status, above, at_least, at_most

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PromotionConfig:
    """Thresholds of the promotion rules.

    Attributes:
        min_frauds: With fewer frauds judged, the comparison says nothing.
        precision_margin: Average precision that a newer model of the champion's kind may lose at worst.
        saved_margin: Share of what the opponent's decisions save that the challenger's may save less.
        expected_ratio: Frauds over the sum of the probabilities may lie between the inverse of this and this.
        max_leaves: Of all trees together, which bounds the time to explain an order exactly.
        max_explanation_ms: Exact contributions of one order, on one thread.
    """

    min_frauds: int = 20
    precision_margin: float = 0.02
    saved_margin: float = 0.05
    expected_ratio: float = 2.0
    max_leaves: int = 12_000
    max_explanation_ms: float = BUDGET_MS
    draws: int = 500
    seed: int = 20171119


@dataclass(frozen=True)
class Contender:
    """A method as the rules see it, on the same orders as the others.

    Attributes:
        kind: "baseline" or the kind of the model.
        per_order: order_id, customer_id (null: one of its own), is_fraud, weight, probability (NaN: looked at last),
            saved_cents (against approving every order, by the policy in force).
        leaves: Of all trees; 0 for a baseline.
        explanation_ms: What it costs to explain one order; None: not measured.
    """

    name: str
    kind: str
    per_order: pd.DataFrame
    leaves: int = 0
    explanation_ms: float | None = None


@dataclass(frozen=True)
class Challenge:
    """What was measured of a challenger and its opponent on the same orders; plain numbers.

    Attributes:
        same_kind: The opponent is an earlier model of the challenger's kind.
        saved_cents, opponent_saved_cents: Saved per 1,000 orders against approving them all.
        frauds_over_expected: Frauds over the sum of the challenger's probabilities.
        gaps: Rates by group that differ: attribute, metric, verdict, gap, margin, blocks.
    """

    orders: int
    frauds: int
    same_kind: bool
    precision_gain: Interval
    precision_gain_over_best_baseline: Interval
    saved_cents: float
    opponent_saved_cents: float
    frauds_over_expected: float
    leaves: int
    gaps: tuple[Mapping[str, Any], ...]
    explanation_ms: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "gaps": [dict(gap) for gap in self.gaps]}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Challenge":
        intervals = ("precision_gain", "precision_gain_over_best_baseline")
        return cls(**{**raw, "gaps": tuple(raw["gaps"]), **{name: Interval(**raw[name]) for name in intervals}})


def measure_challenge(
    challenger: Contender,
    opponent: Contender,
    best_baseline: Contender,
    gaps: Sequence[Mapping[str, Any]],
    config: PromotionConfig,
) -> Challenge:
    """Measure all that the rules ask for.

    Args:
        gaps: Of the rates of the challenger's decisions by group of customers.
    """
    ours = challenger.per_order
    weight = ours["weight"].to_numpy(np.float64)
    frauds = float((weight * ours["is_fraud"]).sum())
    expected = float((weight * ours["probability"].fillna(0.0)).sum())
    return Challenge(
        orders=len(ours),
        frauds=int(ours["is_fraud"].sum()),
        same_kind=opponent.kind == challenger.kind,
        precision_gain=compare(challenger, opponent, config),
        precision_gain_over_best_baseline=compare(challenger, best_baseline, config),
        saved_cents=_per_thousand(ours),
        opponent_saved_cents=_per_thousand(opponent.per_order),
        frauds_over_expected=frauds / expected if expected > 0 else float("inf"),
        leaves=challenger.leaves,
        gaps=tuple(gaps),
        explanation_ms=challenger.explanation_ms,
    )


def compare(ours: Contender, theirs: Contender, config: PromotionConfig) -> Interval:
    """Paired interval of the difference of average precision, drawing customers with all of their orders."""
    same = ours.per_order["order_id"].to_numpy() == theirs.per_order["order_id"].to_numpy()
    assert same.all(), f"{ours.name} and {theirs.name} were judged on different orders"
    our_ranking, their_ranking = (
        Ranking.of(one.per_order["probability"], one.per_order["is_fraud"]) for one in (ours, theirs)
    )
    weight = ours.per_order["weight"].to_numpy(np.float64)

    def difference(drawn: Floats) -> float:
        return our_ranking.average_precision(drawn * weight) - their_ranking.average_precision(drawn * weight)

    return resampled(difference, ours.per_order["customer_id"], draws=config.draws, seed=config.seed)


def judge_challenge(challenge: Challenge, config: PromotionConfig) -> list[Rule]:
    """All promotion rules of one challenge."""
    gain_floor = -config.precision_margin if challenge.same_kind else 0.0
    enough: Status = "passed" if challenge.frauds >= config.min_frauds else "unknown"
    theirs = challenge.opponent_saved_cents
    baseline = challenge.precision_gain_over_best_baseline.low
    return [
        Rule("judged_frauds", enough, float(challenge.frauds), float(config.min_frauds)),
        above("average_precision_gain_low", challenge.precision_gain.low, gain_floor),
        above("average_precision_gain_low_over_best_baseline", baseline, 0.0),
        at_least("saved_cents_per_1000_orders", challenge.saved_cents, theirs - config.saved_margin * abs(theirs)),
        at_least("frauds_over_expected_low", challenge.frauds_over_expected, 1 / config.expected_ratio),
        at_most("frauds_over_expected_high", challenge.frauds_over_expected, config.expected_ratio),
        at_most("model_leaves", challenge.leaves, config.max_leaves),
        at_most("explanation_ms", challenge.explanation_ms, config.max_explanation_ms),
        *(_of_gap(gap) for gap in challenge.gaps if gap["is_gated"] and gap["verdict"] != "too_small"),
    ]


def _of_gap(gap: Mapping[str, Any]) -> Rule:
    """A gap blocks when it is beyond its margin beyond doubt. Groups too small to compare have no rule."""
    name = f"{gap['metric']}_gap_{gap['attribute']}"
    return Rule(name, "failed" if gap["verdict"] == "unfair" else "passed", gap["gap"], gap["margin"])


def _per_thousand(per_order: pd.DataFrame) -> float:
    total = float(per_order["weight"].sum())
    return 1000.0 * float((per_order["saved_cents"] * per_order["weight"]).sum()) / total if total > 0 else 0.0
