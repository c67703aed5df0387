"""Whether decisions on orders treat groups of customers alike: rates by group, gaps, and what chance explains of them.

Groups are joined to orders after they were decided on; no score, rule or policy sees them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fairness.audit import NOT_GIVEN

Verdict = Literal["fair", "suspect", "unfair", "too_small"]
Floats = npt.NDArray[np.float64]
METRICS = ("false_positive_rate", "decline_rate", "review_rate", "calibration")
_DRAWS_AT_ONCE = 100


@dataclass(frozen=True)
class RatesConfig:
    """When a gap between groups is unfair.

    A gap may be as large as the larger of an absolute margin and a share of the rate of all: stopping 3 of 1,000
    honest orders instead of 2 is not the same as stopping 300 instead of 200, nor is it half as many again.

    Attributes:
        min_customers: A smaller group gets no verdict: few people could be recognised in it.
        min_orders: Nor does one with fewer orders that the rate is taken over.
        min_events: Nor one that would have fewer events (false alarms, declines) than this, were it like all others:
            no interval can be drawn around none.
        margins: Metric -> largest gap in absolute terms (a share of orders).
        relative_margin: Largest gap as a share of the rate of all orders.
        reported_only: Attributes whose gaps are shown but block nothing: that an account is new is evidence of fraud
            in itself, and every honest model finds more among new ones.
        confidence: Of the interval of the gap, before it is widened for the number of pairs it was picked from.
    """

    min_customers: int = 50
    min_orders: int = 200
    min_events: float = 5.0
    margins: Mapping[str, float] = field(
        default_factory=lambda: {
            "false_positive_rate": 0.01,
            "decline_rate": 0.01,
            "review_rate": 0.01,
            "calibration": 0.005,
        }
    )
    relative_margin: float = 0.5
    reported_only: tuple[str, ...] = ("account_age",)
    draws: int = 1000
    confidence: float = 0.95
    seed: int = 20171119


@dataclass(frozen=True)
class RateGap:
    """The gap of one rate between the two groups of an attribute that lie farthest apart.

    Attributes:
        metric: One of `METRICS`.
        verdict: `fair`, `suspect` (beyond the margin, but chance explains it), `unfair`, or `too_small` (fewer than
            two groups are large enough).
        gap: Highest minus lowest rate.
        low, high: Interval of the gap, drawn by customer.
        rates: Group -> rate, of the groups that are large enough.
        orders: Group -> orders that the rate is taken over, of all groups.
        is_gated: Whether an unfair gap blocks a promotion.
    """

    attribute: str
    metric: str
    verdict: Verdict
    gap: float | None
    low: float | None
    high: float | None
    margin: float | None
    overall: float | None
    rates: dict[str, float]
    orders: dict[str, int]
    is_gated: bool

    @property
    def blocks(self) -> bool:
        return self.is_gated and self.verdict == "unfair"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Measure:
    """A rate as a ratio of sums: sum(weight * value) / sum(weight), over the orders whose weight is above 0."""

    metric: str
    value: Floats
    weight: Floats
    is_event: npt.NDArray[np.bool_]


def audit_decisions(frame: pd.DataFrame, groups: pd.DataFrame, config: RatesConfig) -> list[RateGap]:
    """Judge all rates by all attributes.

    `false_positive_rate` is the share of honest orders that were not simply approved, `decline_rate` and `review_rate`
    the shares of all orders, `calibration` the mean probability minus the share of frauds among labelled orders.

    Args:
        frame: One row per order: order_id, customer_id (null for a guest, who counts as a customer of one order),
            action; where known also is_fraud (null when no mature label is known), probability (null when no model
            scored), would_decline, and propensity, the chance that the order's label could become known. Orders with
            a label stand for 1 / propensity orders like them, so that those declined unseen are accounted for.
        groups: order_id and one column per attribute; orders that it lacks are of the group "not given".

    Returns:
        One gap per attribute and metric; a metric whose columns are missing is left out.
    """
    attributes = [str(name) for name in groups.columns if name != "order_id"]
    joined = frame[["order_id"]].merge(groups, on="order_id", how="left", validate="one_to_one")
    customers = _clusters(frame)
    return [
        _gap(measure, joined[attribute], customers, config) for attribute in attributes for measure in _measures(frame)
    ]


def _clusters(frame: pd.DataFrame) -> npt.NDArray[np.int64]:
    """A number per customer; each guest's order is one of its own."""
    owner = frame["customer_id"].astype("object")
    named = ("c" + owner.astype(str)).where(owner.notna(), "o" + frame["order_id"].astype(str))
    return np.asarray(pd.factorize(named)[0], dtype=np.int64)


def _measures(frame: pd.DataFrame) -> list[_Measure]:
    action = frame["action"]
    everyone = np.ones(len(frame))
    declined, reviewed = (action == "decline").to_numpy(), (action == "review").to_numpy()
    measures = [
        _Measure("decline_rate", declined.astype(float), everyone, declined),
        _Measure("review_rate", reviewed.astype(float), everyone, reviewed),
    ]
    if "is_fraud" not in frame.columns:
        return measures
    fraud = frame["is_fraud"].astype("object")
    labelled = fraud.notna().to_numpy()
    is_fraud = fraud.where(labelled, False).astype(bool).to_numpy()
    weight = _label_weights(frame, labelled)
    would = frame["would_decline"].fillna(False).to_numpy(bool) if "would_decline" in frame.columns else declined
    stopped = (action != "approve").to_numpy() | would
    honest = weight * ~is_fraud
    measures.insert(0, _Measure("false_positive_rate", stopped.astype(float), honest, stopped & (honest > 0)))
    if "probability" in frame.columns:
        probability = frame["probability"].to_numpy(float)
        scored = weight * np.isfinite(probability)
        excess = np.nan_to_num(probability) - is_fraud
        measures.append(_Measure("calibration", excess, scored, is_fraud & (scored > 0)))
    return measures


def _label_weights(frame: pd.DataFrame, labelled: npt.NDArray[np.bool_]) -> Floats:
    if "propensity" not in frame.columns:
        return labelled.astype(float)
    propensity = frame["propensity"].fillna(1.0).to_numpy(float)
    known = labelled & (propensity > 0)
    return np.where(known, 1.0 / np.where(known, propensity, 1.0), 0.0)


def _gap(measure: _Measure, groups: pd.Series, customers: npt.NDArray[np.int64], config: RatesConfig) -> RateGap:
    attribute = str(groups.name)
    kept = measure.weight > 0
    value, weight = measure.value[kept], measure.weight[kept]
    label = groups.astype("object").where(groups.notna(), NOT_GIVEN).astype(str).to_numpy()[kept]
    table = pd.DataFrame({"group": label, "customer": customers[kept], "sum": value * weight, "weight": weight})
    by_group = table.groupby("group", sort=True)
    orders = {str(name): int(size) for name, size in by_group.size().items()}
    is_gated = attribute not in config.reported_only
    overall = float(np.average(value, weights=weight)) if len(value) else None
    share_of_events = float(measure.is_event[kept].mean()) if len(value) else 0.0
    people = by_group["customer"].nunique()
    large = [
        name
        for name, size in orders.items()
        if size >= config.min_orders
        and people[name] >= config.min_customers
        and size * share_of_events >= config.min_events
    ]
    if overall is None or len(large) < 2:
        return RateGap(attribute, measure.metric, "too_small", None, None, None, None, overall, {}, orders, is_gated)
    sums = by_group[["sum", "weight"]].sum().loc[large]
    rates = sums["sum"] / sums["weight"]
    ordered = rates.sort_values(kind="stable")
    lowest, highest = str(ordered.index[0]), str(ordered.index[-1])
    gap = float(ordered.iloc[-1] - ordered.iloc[0])
    pairs = len(large) * (len(large) - 1) // 2
    low, high = _interval(table, highest, lowest, pairs, config)
    relative = abs(overall) if measure.metric != "calibration" else share_of_events
    margin = max(config.margins[measure.metric], config.relative_margin * relative)
    verdict: Verdict = "fair"
    if gap > margin:
        verdict = "unfair" if low > margin else "suspect"
    return RateGap(
        attribute,
        measure.metric,
        verdict,
        gap,
        low,
        high,
        margin,
        overall,
        {str(name): float(rate) for name, rate in rates.items()},
        orders,
        is_gated,
    )


def _interval(table: pd.DataFrame, highest: str, lowest: str, pairs: int, config: RatesConfig) -> tuple[float, float]:
    """Bootstrap interval of the difference, whole customers drawn; widened (Bonferroni) for the pairs picked from.

    A customer may have orders in both groups (an account grows old), so both are drawn together.
    """
    both = table[table["group"].isin([highest, lowest])]
    codes, names = pd.factorize(both["customer"])
    is_high = (both["group"] == highest).to_numpy()
    cells = [
        np.bincount(codes, weights=np.where(side, both[column], 0.0), minlength=len(names))
        for side in (is_high, ~is_high)
        for column in ("sum", "weight")
    ]
    stacked = np.stack(cells, axis=1)
    generator = np.random.default_rng(config.seed)
    differences = []
    for begin in range(0, config.draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, config.draws - begin)
        drawn = generator.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=count) @ stacked
        with np.errstate(invalid="ignore", divide="ignore"):
            differences.append(drawn[:, 0] / drawn[:, 1] - drawn[:, 2] / drawn[:, 3])
    tail = (1.0 - config.confidence) / pairs / 2.0
    low, high = np.nanquantile(np.concatenate(differences), [tail, 1.0 - tail])
    return float(low), float(high)
