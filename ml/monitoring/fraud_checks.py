"""The daily check of past fraud scores: its inputs from the stores, its verdict into the record."""

from datetime import date
from typing import Any

import pandas as pd
from sqlalchemy import select

from ml.monitoring.checks import Watch, store_states, stored_if_raised
from ml.monitoring.fraud_performance import MONITOR, FraudPerformanceConfig, judge_fraud_performance
from ml.monitoring.states import MonitorState, unknown
from ml.outcomes import DataFailed
from ml.stores.bundles import load_bundle
from ml.stores.fraud_tables import decisions
from ml.stores.operations import monitor_states
from ml.stores.warehouse import open_marts

DELAY_MONITOR = "label_delay"
_LABELS = """
    select order_id, bool_or(is_fraud) as is_fraud
    from fct_fraud_labels
    where known_at <= $moment
    group by order_id
"""


def watch_fraud_performance(watch: Watch, partition: date, config: FraudPerformanceConfig) -> MonitorState:
    """Judge the scores of orders whose labels are mature at the end of a shop day.

    Raises:
        DataFailed, ToolFailed: The comparison could not be made; that is stored first, and tells an operator.
    """
    with stored_if_raised(watch, partition, MONITOR, [MONITOR]):
        state = _judge(watch, partition, config)
    store_states(watch, partition, [MONITOR], [state])
    return state


def _judge(watch: Watch, partition: date, config: FraudPerformanceConfig) -> MonitorState:
    maturity = _maturity_days(watch, partition)
    if maturity is None:
        return unknown(MONITOR, watch.product, "how long labels take is not known yet", expected=True)
    first, last = config.days(partition, maturity)
    scored = _scored(watch, first, last)
    if scored.empty:
        why = f"not yet mature: no order up to {last} was scored, and labels take {maturity} days"
        return unknown(MONITOR, watch.product, why, expected=True)
    marts = open_marts(watch.settings)
    if marts.target_day < partition:
        return unknown(MONITOR, watch.product, "the marts do not reach the day", expected=False)
    connection = marts.connect()
    try:
        labels = connection.execute(_LABELS, {"moment": watch.settings.shop_clock(partition)}).df()
    finally:
        connection.close()
    # What was paid for and nobody disputed by now is honest; what never went on cannot be disputed.
    orders = scored.merge(labels, on="order_id", how="left", validate="one_to_one")
    is_labelled = orders["is_fraud"].notna()
    orders = orders[is_labelled | orders["action"].isin(["approve", "challenge", "review"])]
    orders = orders.assign(is_fraud=orders["is_fraud"].eq(True), weight=1.0 / orders["propensity"])
    state = judge_fraud_performance(watch.product, orders, _level(watch, orders), config)
    state.detail.update(first_day=first.isoformat(), last_day=last.isoformat(), maturity_days=maturity)
    return state


def _maturity_days(watch: Watch, partition: date) -> int | None:
    """As the ingestion of labels measured it last."""
    rows = watch.operations.rows(monitor_states, monitor=DELAY_MONITOR, object=watch.product)
    known = [(row["partition"], row["value"]) for row in rows if row["value"] is not None]
    past = [value for day, value in sorted(known) if day <= partition.isoformat()]
    return int(past[-1]) if past else None


def _scored(watch: Watch, first: date, last: date) -> pd.DataFrame:
    names = ("order_id", "customer_id", "action", "score", "propensity", "model_version")
    statement = select(*(decisions.c[name] for name in names)).where(
        decisions.c.partition >= first.isoformat(),
        decisions.c.partition <= last.isoformat(),
        decisions.c.score.is_not(None),
        decisions.c.propensity > 0,
    )
    with watch.operations.transaction() as connection:
        found: list[dict[str, Any]] = [dict(row._mapping) for row in connection.execute(statement)]
    return pd.DataFrame(found, columns=list(names))


def _level(watch: Watch, orders: pd.DataFrame) -> float | None:
    """What the models reached before their promotion, by the share of the orders that each scored."""
    levels = {version: _promised(watch, version) for version in orders["model_version"].unique()}
    if not levels or any(level is None for level in levels.values()):
        return None
    return float(orders["model_version"].map(levels).mean())


def _promised(watch: Watch, version: str) -> float | None:
    try:
        manifest = load_bundle(watch.settings, watch.product, version).manifest
    except DataFailed:  # pruned since
        return None
    reached = manifest["metrics"].get(manifest["name"], {}).get("average_precision")
    return None if reached is None else float(reached)
