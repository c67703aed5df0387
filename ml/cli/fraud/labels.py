"""What has become known of past orders: how long labels take, whether they look right, which cases nobody looked at."""

from datetime import date, timedelta
from typing import Any

from ml.cli.fraud.inputs import LABELS_MART, NO_PAYMENTS, PAYMENTS_MART, PRODUCT, configuration, has_payments, origin
from ml.fraud.labels import DelayCurve, LabelHealth, estimate_delay, label_health
from ml.monitoring.checks import Watch, store_states, stored_if_raised
from ml.monitoring.fraud_checks import DELAY_MONITOR
from ml.monitoring.states import MonitorState, unknown
from ml.outcomes import DataFailed
from ml.settings import get_settings
from ml.stores import reviews
from ml.stores.operations import Operations
from ml.stores.warehouse import open_marts

FLOW_MONITOR = "label_flow"
_MONITORS = (FLOW_MONITOR, DELAY_MONITOR)
_DAYS_TO_LOOK = 14
"""A case that nobody decided within two weeks is closed: the goods are gone, and chargebacks will tell."""


def settle_labels(partition: date) -> dict[str, Any]:
    """Measure how labels come in by the end of a shop day, and close the cases that nobody looked at.

    Returns:
        With `skipped` where the shop has no payments.

    Raises:
        DataFailed: The marts do not reach the day.
    """
    settings = get_settings()
    operations = Operations.from_settings(settings)
    marts = open_marts(settings)
    if not has_payments(marts):
        return {"partition": partition.isoformat(), "skipped": NO_PAYMENTS}
    watch = Watch(settings, operations, PRODUCT)
    with stored_if_raised(watch, partition, FLOW_MONITOR, _MONITORS):
        if marts.target_day < partition:
            raise DataFailed(f"marts {marts.version.id} reach {marts.target_day}, labels are settled for {partition}")
        moment = settings.shop_clock(partition)
        connection = marts.connect()
        orders = connection.execute(
            f"select order_id, attempted_at from {PAYMENTS_MART} where attempted_at < $moment",  # noqa: S608 - our own name
            {"moment": moment},
        ).df()
        labels = connection.execute(
            f"select order_id, is_fraud, known_at from {LABELS_MART} where known_at < $moment",  # noqa: S608 - our own name
            {"moment": moment},
        ).df()
        delay = estimate_delay(orders, labels, moment, configuration(settings).labels)
        states = [_flow_state(label_health(labels, moment)), _delay_state(delay)]
    store_states(watch, partition, _MONITORS, states)
    disputed = labels.loc[labels["is_fraud"].eq(True), "order_id"].astype(str).tolist()
    expired = reviews.expire(operations, orders=disputed, why="the order turned out to be fraud")
    too_old = partition - timedelta(days=_DAYS_TO_LOOK)
    expired += reviews.expire(operations, before=too_old, why=f"nobody looked at it within {_DAYS_TO_LOOK} days")
    return {
        "partition": partition.isoformat(),
        "payments": origin(settings)["payments"],
        "labels": len(labels),
        "frauds_known": int(labels.loc[labels["is_fraud"].eq(True), "order_id"].nunique()),
        "maturity_days": delay.maturity_days,
        "delay_is_estimated": delay.is_estimated,
        "state": states[0].state,
        "cases_expired": expired,
    }


def _flow_state(health: LabelHealth) -> MonitorState:
    detail = {"usual_per_day": health.usual_per_day, "days": health.days}
    if health.problem is not None:
        return MonitorState(
            FLOW_MONITOR, PRODUCT, "alert", health.recent_per_day, None, {**detail, "why": health.problem}
        )
    if not health.usual_per_day:
        return unknown(FLOW_MONITOR, PRODUCT, "no earlier labels tell what is usual", expected=True)
    why = f"{health.recent_per_day:.1f} frauds a day became known, {health.usual_per_day:.1f} are usual."
    return MonitorState(FLOW_MONITOR, PRODUCT, "ok", health.recent_per_day, None, {**detail, "why": why})


def _delay_state(delay: DelayCurve) -> MonitorState:
    """For people and for the check of past scores: nothing is held against it."""
    detail = {
        "frauds": delay.count_frauds,
        "learnable_days": delay.learnable_days,
        "is_estimated": delay.is_estimated,
        "why": "" if delay.is_estimated else "too few frauds are known; an assumption stands",
    }
    return MonitorState(DELAY_MONITOR, PRODUCT, "ok", float(delay.maturity_days), None, detail)
