"""Quality of past recommendations: what was shown against what was then bought, in all and by group of customers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import duckdb
import numpy as np
import pandas as pd

from ml.evaluation.bootstrap import paired_difference
from ml.evaluation.ranking_metrics import K, judge_rankings
from ml.fairness.audit import NOT_GIVEN, FairnessConfig, Gap, audit_gap, group_customers
from ml.monitoring.states import MonitorState, State, unknown, worst

WINDOW = timedelta(days=7)

_BOUGHT = """
    select bought.customer_id, bought.product_id, before.product_id is not null as is_repeat
    from (
        select distinct customer_id, product_id from fct_order_lines
        where
            is_merchandise and not is_suspect and quantity > 0 and order_date >= $as_of_date and order_date < $end_date
            and customer_id is not null
    ) as bought
    left join (
        select distinct customer_id, product_id from fct_order_lines
        where is_merchandise and not is_suspect and quantity > 0 and order_date < $as_of_date
    ) as before using (customer_id, product_id)
    order by customer_id, product_id
"""

_POPULAR = """
    select product_id from fct_order_lines
    where is_merchandise and not is_suspect and quantity > 0 and order_date < $as_of_date and order_date >= $first_day
    group by product_id
    order by
        count(distinct (customer_id, case when customer_id is null then order_id end, order_date)) desc, product_id
    limit $k
"""


@dataclass(frozen=True)
class PerformanceConfig:
    """When past recommendations did too badly.

    Attributes:
        min_customers: With fewer customers who bought anything, the week says nothing.
        popularity_days: Window of the list that anybody could show; not to beat it is an alert.
        min_past: Judged days before a level is known; a week, so that each weekday is in it.
        warn_ratio, alert_ratio: NDCG@10 over the median of the days judged before. On the default shop the same
            method stayed within 12% of its median in seven weeks of November and December.
    """

    min_customers: int = 50
    popularity_days: int = 28
    min_past: int = 7
    warn_ratio: float = 0.85
    alert_ratio: float = 0.7
    draws: int = 1000
    seed: int = 20171119
    fairness: FairnessConfig = field(default_factory=FairnessConfig)


@dataclass(frozen=True)
class Purchases:
    """What was bought in the week from a day on, and what was popular before it.

    Attributes:
        bought: customer_id, product_id, is_repeat; once per pair.
        popular: The most popular products before the day, best first.
    """

    bought: pd.DataFrame
    popular: list[str]


def read_purchases(connection: duckdb.DuckDBPyConnection, as_of_date: date, config: PerformanceConfig) -> Purchases:
    """Read them from mart views."""
    end = as_of_date + WINDOW
    bought = connection.execute(_BOUGHT, {"as_of_date": as_of_date, "end_date": end}).df()
    first_day = as_of_date - timedelta(days=config.popularity_days)
    popular = connection.execute(_POPULAR, {"as_of_date": as_of_date, "first_day": first_day, "k": K}).df()
    return Purchases(bought, list(popular["product_id"]))


def judge_performance(
    product: str, shown: pd.DataFrame, purchases: Purchases, past: Sequence[float], config: PerformanceConfig
) -> tuple[MonitorState, pd.DataFrame]:
    """Judge one day's recommendations.

    Args:
        shown: customer_id, product_id, rank.
        past: NDCG@10 of days judged before.

    Returns:
        The state, and the metrics of each customer who was shown a list and bought something.
    """
    bought = purchases.bought[purchases.bought["customer_id"].isin(shown["customer_id"].unique())]
    customers = bought["customer_id"].nunique()
    if customers < config.min_customers:
        why = f"{customers} customers with a list bought something, {config.min_customers} are needed"
        return unknown("performance", product, why, expected=False), pd.DataFrame()
    ours = judge_rankings(shown, bought)
    theirs = judge_rankings(_same_for_all(bought, purchases.popular), bought)
    assert ours["customer_id"].equals(theirs["customer_id"]), "both sides must judge the same customers"
    lead = paired_difference(ours["ndcg"], theirs["ndcg"], ours["customer_id"], draws=config.draws, seed=config.seed)
    ndcg = float(ours["ndcg"].mean())
    level = float(np.median(past)) if len(past) >= config.min_past else None
    state = worst([_against_popularity(lead.low, lead.high), _against_level(ndcg, level, config)])
    detail = {
        "customers": customers,
        "hit_rate_at_10": float(ours["hit"].mean()),
        "recall_at_10": float(ours["recall"].mean()),
        "ndcg_at_10": ndcg,
        "lead_over_popularity": [lead.low, lead.mean, lead.high],
        "usual_ndcg_at_10": level,
    }
    floor = level * config.alert_ratio if level is not None else float(theirs["ndcg"].mean())
    return MonitorState("performance", product, state, ndcg, floor, detail), ours


def _same_for_all(bought: pd.DataFrame, popular: list[str]) -> pd.DataFrame:
    lists = pd.DataFrame({"product_id": popular, "rank": range(1, len(popular) + 1)})
    return bought[["customer_id"]].drop_duplicates().merge(lists, how="cross")


def _against_popularity(low: float, high: float) -> State:
    if high <= 0.0:
        return "alert"
    return "ok" if low > 0.0 else "warn"


def _against_level(ndcg: float, level: float | None, config: PerformanceConfig) -> State:
    if level is None or ndcg >= level * config.warn_ratio:
        return "ok"
    return "alert" if ndcg < level * config.alert_ratio else "warn"


def judge_groups(
    product: str, per_customer: pd.DataFrame, demographics: pd.DataFrame, config: FairnessConfig
) -> list[MonitorState]:
    """Gaps of hit rate and NDCG between groups of customers: one state per attribute and figure."""
    if demographics.empty:
        return [unknown("bias", product, "no demographics were delivered, so no groups are known", expected=True)]
    groups = group_customers(per_customer["customer_id"], demographics)
    margins = {"hit": config.hit_rate_margin, "ndcg": config.ndcg_margin}
    states = []
    for attribute in groups.columns:
        # Those who did not tell are judged once, by `has_demographics`, and not again by each attribute.
        told = groups[attribute] != NOT_GIVEN
        for metric, margin in margins.items():
            gap = audit_gap(per_customer.loc[told, metric], groups.loc[told, attribute], metric, margin, config)
            states.append(_gap_state(product, gap))
    return states


def _gap_state(product: str, gap: Gap) -> MonitorState:
    states: dict[str, State] = {"fair": "ok", "suspect": "warn", "unfair": "alert", "too_small": "unknown"}
    detail: dict[str, object] = {"interval": [gap.low, gap.high], "means": gap.means, "customers": gap.counts}
    if gap.verdict == "too_small":
        detail |= {"why": "fewer than two groups are large enough", "expected": True}
    return MonitorState(
        "bias", f"{product}: {gap.metric} by {gap.attribute}", states[gap.verdict], gap.gap, gap.margin, detail
    )
