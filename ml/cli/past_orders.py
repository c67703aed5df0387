"""Past orders of which it is known by now what they were, with a probability that their label had no part in."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.cli.feature_changes import changed_features
from ml.cli.fraud.inputs import (
    DECISIONS_MART,
    LABELS_MART,
    NO_PAYMENTS,
    PAYMENTS_MART,
    PRODUCT,
    configuration,
    has_payments,
    read_orders,
    used_fingerprints,
)
from ml.fraud.backtest import PastOrders
from ml.fraud.config import FraudConfig
from ml.fraud.features import with_derived
from ml.fraud.labels import DelayCurve, estimate_delay, known_labels
from ml.outcomes import DataFailed
from ml.serving.fraud_parts import scorer_of
from ml.settings import Settings
from ml.stores import registry
from ml.stores.warehouse import Marts, open_marts

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Past:
    """Mature orders, and where they and their probabilities come from.

    Attributes:
        first_day: Shop day of the oldest order; `last_day` that of the newest.
        scored_then: Orders with the probability that they were decided by.
        scored_now: Orders scored by the champion now, which has not learnt from them.
        left_out: Orders that are not looked at, by reason.
    """

    past: PastOrders
    first_day: date
    last_day: date
    maturity_days: int
    model_version: str | None
    scored_then: int
    scored_now: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class Known:
    """What the marts know at a moment.

    Attributes:
        labels: `ml.fraud.labels.known_labels` of all orders.
        decisions: The decision of each decided order.
        max_weight: An order let through stands for at most this many that were declined.
    """

    labels: pd.DataFrame
    decisions: pd.DataFrame
    moment: datetime
    delay: DelayCurve
    max_weight: float


def read_past_orders(settings: Settings, days: int) -> Past:
    """The newest so many shop days of mature orders that the champion has not learnt from.

    Raises:
        DataFailed: There are no payments, or no such orders.
    """
    marts = open_marts(settings)
    if not has_payments(marts):
        raise DataFailed(f"past orders: {NO_PAYMENTS}")
    connection = marts.connect()
    known = read_known(connection, settings.shop_clock(marts.target_day), configuration(settings))
    delay = known.delay
    last_day = marts.target_day - timedelta(days=delay.maturity_days)
    first_day = last_day - timedelta(days=days - 1)
    orders = read_orders(connection, first_day, last_day)
    if orders.empty:
        raise DataFailed(
            f"past orders: none lie between {first_day} and {last_day}; labels take {delay.maturity_days} days"
        )
    return _scored(settings, marts, orders, outcomes(orders, known), first_day, last_day, delay)


def read_known(connection: duckdb.DuckDBPyConnection, moment: datetime, config: FraudConfig) -> Known:
    """What is known at a moment of all orders of the marts."""
    attempts = connection.execute(f"select order_id, attempted_at, is_approved from {PAYMENTS_MART}").df()  # noqa: S608 - our own names
    labels = connection.execute(f"select * from {LABELS_MART}").df()  # noqa: S608 - our own names
    decisions = connection.execute(
        f"select order_id, action, would_decline, propensity, score from {DECISIONS_MART}"  # noqa: S608 - our own names
    ).df()
    delay = estimate_delay(attempts, labels, moment, config.labels)
    found = known_labels(attempts, labels, moment, delay, config.labels)
    return Known(found, decisions, moment, delay, config.evaluation.max_weight)


def outcomes(orders: pd.DataFrame, known: Known) -> pd.DataFrame:
    """What orders turned out to be.

    Args:
        orders: order_id, attempted_at.

    Returns:
        Row by row: is_fraud, weight (how many orders it stands for), score (recorded with the decision, else NaN), and
        reason: why nothing can be said of the order, empty where something can.
    """
    told = orders[["order_id", "attempted_at"]].merge(
        known.labels[["order_id", "is_fraud", "is_mature"]], on="order_id", how="left", validate="one_to_one"
    )
    told = told.merge(known.decisions, on="order_id", how="left", validate="one_to_one")
    would_decline = told["would_decline"].eq(True)
    propensity = told["propensity"].astype(float).where(would_decline, 1.0).fillna(1.0)
    is_declined = told["action"].eq("decline") | propensity.le(0)
    mature_until = pd.Timestamp(known.moment) - timedelta(days=known.delay.maturity_days)
    is_old = pd.to_datetime(told["attempted_at"], utc=True) <= mature_until
    is_known = told["is_mature"].eq(True) & is_old
    reason = np.select(
        [is_declined.to_numpy(), ~is_known.to_numpy()],
        ["declined, so nobody knows what they were", "without an approved payment, or too young"],
        default="",
    )
    weight = (1.0 / propensity.where(~is_declined, 1.0)).clip(upper=known.max_weight)
    return pd.DataFrame(
        {
            "is_fraud": told["is_fraud"].eq(True),
            "weight": weight,
            "score": told["score"].astype(float),
            "reason": reason,
        }
    )


def _scored(
    settings: Settings,
    marts: Marts,
    orders: pd.DataFrame,
    joined: pd.DataFrame,
    first_day: date,
    last_day: date,
    delay: DelayCurve,
) -> Past:
    bundle = registry.load_champion(settings, PRODUCT)
    probabilities: Any = joined["score"].to_numpy(np.float64, copy=True)
    is_recorded = np.isfinite(probabilities)
    reason = joined["reason"].to_numpy(dtype=object, copy=True)
    scored_now = 0
    if bundle is not None:
        if changed_features(bundle, used_fingerprints(marts, bundle.manifest["features"])):
            raise DataFailed("past orders: a feature is no longer what the champion was trained on; train first")
        learnt_until = pd.Timestamp(bundle.manifest["split"]["train_until"])
        is_unseen = (pd.to_datetime(orders["attempt_date"]) >= learnt_until).to_numpy()
        waiting = ~is_recorded & is_unseen & (reason == "")
        reason = np.where((reason == "") & ~is_recorded & ~is_unseen, "the champion has learnt from them", reason)
        if waiting.any():
            probabilities[waiting] = scorer_of(bundle).probabilities(with_derived(orders[waiting]))
            scored_now = int(waiting.sum())
    kept = reason == ""
    if not kept.any():
        raise DataFailed(
            f"past orders: none is left between {first_day} and {last_day}; {_counts(reason)}. Try more --days"
        )
    days = pd.to_datetime(orders.loc[kept, "attempt_date"]).dt.date
    past = PastOrders(
        orders=orders[kept].reset_index(drop=True),
        probabilities=probabilities[kept] if np.isfinite(probabilities[kept]).any() else None,
        is_fraud=joined["is_fraud"].to_numpy(dtype=np.bool_)[kept],
        weight=joined["weight"].to_numpy(np.float64)[kept],
    )
    return Past(
        past,
        days.min(),
        days.max(),
        delay.maturity_days,
        bundle.version if bundle else None,
        int((is_recorded & kept).sum()),
        scored_now,
        _counts(reason),
    )


def _counts(reasons: npt.NDArray[np.object_]) -> dict[str, int]:
    return {str(name): int(count) for name, count in pd.Series(reasons[reasons != ""]).value_counts().items()}
