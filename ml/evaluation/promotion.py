"""Promotion rules as data: what was observed, what was asked, and whether it passed.

A challenger is compared with an opponent, the champion or, where the champion cannot be scored any more, the best
baseline. Against a baseline it must be better beyond doubt. Against an earlier model of its own kind it must not be
worse than a margin beyond doubt: the newer weeks that it knows are worth having, and the rule against the best
baseline, which never grows older, keeps small losses from adding up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ml.evaluation.bootstrap import Interval, paired_difference
from ml.evaluation.explanation_budget import BUDGET_MS
from ml.evaluation.ranking_metrics import Judged

Status = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True)
class PromotionConfig:
    """Thresholds of the promotion rules.

    Attributes:
        min_customers: With fewer customers judged, the comparison says nothing.
        ndcg_margin: What a newer model of the champion's kind may lose at worst.
        recall_margin: What Recall@10 may lose at worst.
        coverage_ratio: Smallest coverage relative to the opponent's.
        max_leaves: trees * 2^depth, which bounds the time to explain a row exactly.
        max_explanation_ms: Exact contributions of the ten products shown, on one thread.
        group_gap_margin: How much a gap between customer groups may grow over the opponent's.
        min_group_customers: A smaller group is not compared.
    """

    min_customers: int = 30
    ndcg_margin: float = 0.002
    recall_margin: float = 0.002
    coverage_ratio: float = 0.5
    max_leaves: int = 2400
    max_explanation_ms: float = BUDGET_MS
    group_gap_margin: float = 0.03
    min_group_customers: int = 50
    draws: int = 2000
    seed: int = 20171119


@dataclass(frozen=True)
class Rule:
    """One rule with what was observed (None when it could not be) and what was asked."""

    rule: str
    status: Status
    observed: float | None
    threshold: float | None

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def at_least(rule: str, observed: float | None, threshold: float) -> Rule:
    """Passes when observed >= threshold; what could not be observed is unknown."""
    return _judged(rule, observed, threshold, lambda value: value >= threshold)


def above(rule: str, observed: float | None, threshold: float) -> Rule:
    """Passes when observed > threshold."""
    return _judged(rule, observed, threshold, lambda value: value > threshold)


def at_most(rule: str, observed: float | None, threshold: float) -> Rule:
    """Passes when observed <= threshold."""
    return _judged(rule, observed, threshold, lambda value: value <= threshold)


def _judged(rule: str, observed: float | None, threshold: float, holds: Callable[[float], bool]) -> Rule:
    if observed is None or not np.isfinite(observed):
        return Rule(rule, "unknown", None, threshold)
    return Rule(rule, "passed" if holds(observed) else "failed", float(observed), threshold)


@dataclass(frozen=True)
class Contender:
    """A method as the rules see it.

    Attributes:
        kind: "baseline" or "ranker".
        leaves: trees * 2^depth; 0 for a baseline.
        explanation_ms: What it costs to explain the ten products shown; None: not measured.
    """

    name: str
    kind: str
    judged: Judged
    leaves: int = 0
    explanation_ms: float | None = None


@dataclass(frozen=True)
class Challenge:
    """What was measured of a challenger and its opponent on the same customers and weeks; plain numbers.

    Attributes:
        same_kind: The opponent is an earlier model of the challenger's kind.
        gap_growth: Attribute -> the challenger's gap of NDCG@10 between groups minus the opponent's.
    """

    customers: int
    same_kind: bool
    ndcg_gain: Interval
    ndcg_gain_over_best_baseline: Interval
    recall_gain: Interval
    coverage: float
    opponent_coverage: float
    leaves: int
    gap_growth: dict[str, float]
    explanation_ms: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Challenge":
        intervals = ("ndcg_gain", "ndcg_gain_over_best_baseline", "recall_gain")
        return cls(**{**raw, **{name: Interval(**raw[name]) for name in intervals}})


def compare(ours: Judged, theirs: Judged, metric: str, config: PromotionConfig) -> Interval:
    """Paired interval of a metric's difference on the same customers and cuts."""
    keys = ["cut", "customer_id"]
    paired = ours.per_customer.merge(theirs.per_customer, on=keys, suffixes=("", "_theirs"), validate="one_to_one")
    assert len(paired) == len(ours.per_customer) == len(theirs.per_customer), (
        f"{len(ours.per_customer)} and {len(theirs.per_customer)} judged customers share {len(paired)}"
    )
    return paired_difference(
        paired[metric], paired[f"{metric}_theirs"], paired["customer_id"], draws=config.draws, seed=config.seed
    )


def measure_challenge(
    challenger: Contender,
    opponent: Contender,
    best_baseline: Contender,
    groups: pd.DataFrame,
    config: PromotionConfig,
) -> Challenge:
    """Measure all that the rules ask for.

    Args:
        groups: customer_id and one column per attribute; an attribute with fewer than two groups of
            `min_group_customers` has no gap and is left out.
    """
    ours, theirs = challenger.judged, opponent.judged
    return Challenge(
        customers=int(ours.per_customer["customer_id"].nunique()),
        same_kind=opponent.kind == challenger.kind,
        ndcg_gain=compare(ours, theirs, "ndcg", config),
        ndcg_gain_over_best_baseline=compare(ours, best_baseline.judged, "ndcg", config),
        recall_gain=compare(ours, theirs, "recall", config),
        coverage=ours.coverage,
        opponent_coverage=theirs.coverage,
        leaves=challenger.leaves,
        gap_growth=_gap_growth(ours, theirs, groups, config),
        explanation_ms=challenger.explanation_ms,
    )


def _gap_growth(ours: Judged, theirs: Judged, groups: pd.DataFrame, config: PromotionConfig) -> dict[str, float]:
    growth = {}
    for attribute in [name for name in groups.columns if name != "customer_id"]:
        of_group = groups[["customer_id", attribute]]
        our_gap = group_gap(ours.per_customer, of_group, config.min_group_customers)
        their_gap = group_gap(theirs.per_customer, of_group, config.min_group_customers)
        if our_gap is not None and their_gap is not None:
            growth[attribute] = our_gap - their_gap
    return growth


def group_means(per_customer: pd.DataFrame, groups: pd.DataFrame, min_customers: int) -> dict[str, float]:
    """Mean NDCG@10 by group, of the groups with enough customers.

    Args:
        groups: customer_id and one attribute.
    """
    attribute = groups.columns[-1]
    joined = per_customer.merge(groups, on="customer_id", how="inner", validate="many_to_one")
    by_group = joined.groupby(attribute)
    large = by_group["customer_id"].nunique() >= min_customers
    return {str(name): float(value) for name, value in by_group["ndcg"].mean()[large].items()}


def group_gap(per_customer: pd.DataFrame, groups: pd.DataFrame, min_customers: int) -> float | None:
    """Best minus worst group mean; None with fewer than two groups."""
    means = list(group_means(per_customer, groups, min_customers).values())
    return max(means) - min(means) if len(means) >= 2 else None


def judge_challenge(challenge: Challenge, config: PromotionConfig) -> list[Rule]:
    """All promotion rules of one challenge."""
    ratio = challenge.coverage / challenge.opponent_coverage if challenge.opponent_coverage > 0 else None
    gain_floor = -config.ndcg_margin if challenge.same_kind else 0.0
    enough: Status = "passed" if challenge.customers >= config.min_customers else "unknown"
    return [
        Rule("judged_customers", enough, float(challenge.customers), float(config.min_customers)),
        above("ndcg_at_10_gain_low", challenge.ndcg_gain.low, gain_floor),
        above("ndcg_at_10_gain_low_over_best_baseline", challenge.ndcg_gain_over_best_baseline.low, 0.0),
        at_least("recall_at_10_gain_low", challenge.recall_gain.low, -config.recall_margin),
        at_least("coverage_over_champion", ratio, config.coverage_ratio),
        at_most("model_leaves", challenge.leaves, config.max_leaves),
        at_most("explanation_ms", challenge.explanation_ms, config.max_explanation_ms),
        *(
            at_most(f"ndcg_at_10_gap_growth_{attribute}", growth, config.group_gap_margin)
            for attribute, growth in sorted(challenge.gap_growth.items())
        ),
    ]


def verdict(rules: Sequence[Rule]) -> Literal["promoted", "refused", "unknown"]:
    """Refused when a rule failed; unknown when none failed but one could not be judged."""
    assert rules, "a verdict needs rules"
    statuses = {rule.status for rule in rules}
    if "failed" in statuses:
        return "refused"
    return "unknown" if "unknown" in statuses else "promoted"


def best(judged: Mapping[str, Judged]) -> str:
    """Name of the method with the largest NDCG@10; ties go to the first."""
    return max(judged, key=lambda name: judged[name].summary()["ndcg_at_10"])
