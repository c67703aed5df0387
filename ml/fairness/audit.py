"""Gaps of a quality figure between groups of customers, beyond what chance explains.

Groups come from tables that no model may learn from; they are used here only, and only in sums.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

NOT_GIVEN = "not given"


@dataclass(frozen=True)
class FairnessConfig:
    """When a gap is unfair.

    Attributes:
        min_customers: A smaller group gets no verdict: its mean is chance, and few people could be recognised in it.
        hit_rate_margin, ndcg_margin: Largest gap between two groups that is taken for a difference of their baskets.
            Groups that buy more are easier to serve: on the default shop a count of past purchases, which knows no
            group, serves those who told about themselves better by .15 to .21 in hit rate and .08 to .13 in NDCG.
        confidence: Of the interval of the gap, before it is widened for the number of pairs it was picked from.
    """

    min_customers: int = 50
    hit_rate_margin: float = 0.2
    ndcg_margin: float = 0.15
    draws: int = 1000
    confidence: float = 0.95
    seed: int = 20171119


@dataclass(frozen=True)
class Gap:
    """The gap of one figure between the best and the worst served group of one attribute.

    Attributes:
        verdict: `fair`, `suspect` (beyond the margin, but chance explains it), `unfair`, or `too_small` (fewer than
            two groups are large enough).
        low, high: Interval of the gap.
        means: Group -> mean, of the groups that are large enough.
        counts: Group -> customers, of all groups.
    """

    attribute: str
    metric: str
    verdict: Literal["fair", "suspect", "unfair", "too_small"]
    gap: float | None
    low: float | None
    high: float | None
    margin: float
    means: dict[str, float]
    counts: dict[str, int]


def audit_gap(
    values: "pd.Series[float]", groups: "pd.Series[str]", metric: str, margin: float, config: FairnessConfig
) -> Gap:
    """Judge one figure by one attribute.

    Args:
        values: The figure, one per customer.
        groups: Group of each customer, aligned with `values`; its name is the attribute.
    """
    from fairlearn.metrics import MetricFrame, count, mean_prediction

    assert len(values) == len(groups), f"{len(values)} values, {len(groups)} groups"
    attribute = str(groups.name)
    counts = {str(name): int(size) for name, size in groups.value_counts(sort=False).sort_index().items()}
    large = [name for name, size in counts.items() if size >= config.min_customers]
    if len(large) < 2:
        return Gap(attribute, metric, "too_small", None, None, None, margin, {}, counts)
    kept = groups.isin(large).to_numpy()
    judged, labels = values[kept].reset_index(drop=True), groups[kept].reset_index(drop=True)
    frame = MetricFrame(
        metrics={"mean": mean_prediction, "count": count}, y_true=judged, y_pred=judged, sensitive_features=labels
    )
    means = frame.by_group["mean"].astype(float)
    best, worst = str(means.idxmax()), str(means.idxmin())
    gap = float(frame.difference()["mean"])
    pairs = len(large) * (len(large) - 1) // 2
    low, high = _interval(judged[labels == best], judged[labels == worst], pairs, config)
    verdict: Literal["fair", "suspect", "unfair"] = "fair"
    if gap > margin:
        verdict = "unfair" if low > margin else "suspect"
    return Gap(attribute, metric, verdict, gap, low, high, margin, {str(k): float(v) for k, v in means.items()}, counts)


def _interval(
    best: "pd.Series[float]", worst: "pd.Series[float]", pairs: int, config: FairnessConfig
) -> tuple[float, float]:
    """Bootstrap interval of the difference, widened (Bonferroni) because the pair is the extreme one of `pairs`."""
    generator = np.random.default_rng(config.seed)
    differences = _drawn_means(best, generator, config.draws) - _drawn_means(worst, generator, config.draws)
    tail = (1.0 - config.confidence) / pairs / 2.0
    low, high = np.quantile(differences, [tail, 1.0 - tail])
    return float(low), float(high)


def _drawn_means(
    values: "pd.Series[float]", generator: np.random.Generator, draws: int
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    numbers = values.to_numpy(np.float64)
    return np.array([numbers[generator.integers(0, len(numbers), len(numbers))].mean() for _draw in range(draws)])


def group_customers(customers: "pd.Series[str]", demographics: pd.DataFrame) -> pd.DataFrame:
    """Group of each customer by each audited attribute, and by whether anything is known of them at all.

    Args:
        demographics: customer_id and the attributes; one row per customer who told.

    Returns:
        One row per customer as given; customers without an attribute are a group of their own. Attributes that
        nobody told are left out.
    """
    attributes = [name for name in demographics.columns if name != "customer_id" and demographics[name].notna().any()]
    known = pd.DataFrame({"customer_id": customers.to_numpy()}).merge(
        demographics.assign(has_demographics="yes"), on="customer_id", how="left", validate="many_to_one"
    )
    groups = known[attributes].astype("object").where(known[attributes].notna(), NOT_GIVEN).astype(str)
    return groups.assign(has_demographics=known["has_demographics"].fillna("no"))
