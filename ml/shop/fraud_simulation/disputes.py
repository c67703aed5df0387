"""When fraud becomes known: chargebacks and refunds, with those that have nothing to do with fraud."""

import numpy as np
import pandas as pd

from ml.shop.fraud_simulation.attacks import Attacks
from ml.shop.fraud_simulation.config import (
    DELAY_FIRST_DAY,
    DELAY_LAST_DAY,
    DELAY_SPREAD,
    FOUND_BY_SHOP,
    FOUND_BY_SHOP_DAYS,
    UNREPORTED,
    SimulationConfig,
)
from ml.shop.fraud_simulation.context import Context
from ml.shop.fraud_simulation.draws import uniforms
from ml.shop.fraud_simulation.methods import FRIENDLY_POSITION, METHODS
from ml.shop.fraud_simulation.payments import is_in_group

_NOT_RECEIVED = 0.0008
_NOT_RECEIVED_DAYS = 25.0
_OVER_REPORTED_DAYS = 16.0
_REFUNDED = 0.015
_REFUND_DAYS = 6.0
_REFUND_REASONS = ("damaged", "wrong_item", "changed_mind")
_UNSTATED = 0.05
_DAY_MICROSECONDS = 86_400_000_000


def disputes_of(
    context: Context, attacks: Attacks, config: SimulationConfig, decisions: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The chargebacks, the refunds, and what of the fraud was prevented or never reported.

    A decision counts only if it was made before the report. A declined order yields nothing, whatever it was; a
    challenge stops the fraud by the method's odds.

    Args:
        decisions: order_id, action, decided_at; None for a shop that lets everything through.

    Returns:
        Rows of `chargebacks` and `refunds` without a currency; per order: is_prevented, is_reported.
    """
    size, seed = len(context.key), config.seed
    is_fraud = attacks.method >= 0
    medians = np.array([*(method.reported_after_days for method in METHODS), 1.0])[attacks.method]
    reported = context.days + _delays(medians, uniforms(context.key, "report delay", seed), context.key, seed)
    draw = uniforms(context.key, "reported", seed)
    is_visible = is_fraud & (attacks.method != FRIENDLY_POSITION)
    is_found = is_visible & (draw < FOUND_BY_SHOP)
    found = context.days + 0.5 - np.log1p(-uniforms(context.key, "found after", seed)) * FOUND_BY_SHOP_DAYS
    is_disputed = is_fraud & ~is_found & (draw < 1 - UNREPORTED)

    quiet = uniforms(context.key, "goods", seed)
    is_not_received = ~is_fraud & (quiet < _NOT_RECEIVED)
    is_wronged = np.zeros(size, dtype=bool)
    if config.plant == "group_bias":
        is_wronged = ~is_fraud & ~is_not_received & is_in_group(context, config) & context.is_from(config.plant_from)
        is_wronged &= uniforms(context.key, "over-reported", seed) < config.group_over_reported
    late = np.where(is_not_received, _NOT_RECEIVED_DAYS, _OVER_REPORTED_DAYS)
    reported = np.where(is_fraud, reported, context.days + _delays(late, quiet / 2 + 0.5 * draw, context.key, seed))
    is_refunded = ~is_fraud & (quiet >= _NOT_RECEIVED) & (quiet < _NOT_RECEIVED + _REFUNDED) & ~is_wronged
    refunded = np.where(is_found, found, context.days + 0.2 - np.log1p(-draw) * _REFUND_DAYS)

    declined, stopped = _decided(context, attacks, config, decisions)
    is_charged = (is_disputed | is_not_received | is_wronged) & ~(reported > np.minimum(declined, stopped))
    is_given_back = (is_found | is_refunded) & ~(refunded > np.minimum(declined, stopped))
    outcome = pd.DataFrame(
        {
            "order_id": context.orders["order_id"],
            "is_prevented": is_fraud & np.isfinite(np.minimum(declined, stopped)) & ~is_charged & ~is_given_back,
            "is_reported": is_fraud & (is_charged | is_given_back),
            "is_over_reported": is_wronged & is_charged,
        }
    )
    chargebacks = _chargebacks(context, is_charged, is_not_received, reported, seed)
    return chargebacks, _refunds(context, is_given_back, is_found, refunded, seed), outcome


def _delays(medians: np.ndarray, first: np.ndarray, key: np.ndarray, seed: int) -> np.ndarray:
    second = uniforms(key, "report delay angle", seed)
    normal = np.sqrt(-2 * np.log1p(-np.minimum(first, 1 - 1e-12))) * np.cos(2 * np.pi * second)  # Box-Muller
    delays = DELAY_FIRST_DAY + medians * np.exp(DELAY_SPREAD * normal)
    return np.asarray(np.minimum(delays, DELAY_LAST_DAY))


def _decided(
    context: Context, attacks: Attacks, config: SimulationConfig, decisions: pd.DataFrame | None
) -> tuple[np.ndarray, np.ndarray]:
    """When each order was declined, and when a challenge stopped it, in days since 1970; infinity for never."""
    never = np.full(len(context.key), np.inf)
    if decisions is None or decisions.empty:
        return never, never
    rows = decisions.drop_duplicates("order_id", keep="last").set_index("order_id")
    rows = rows.reindex(context.orders["order_id"])
    decided = pd.to_datetime(rows["decided_at"], utc=True).astype("datetime64[us, UTC]")
    moment = decided.astype("int64").to_numpy() / _DAY_MICROSECONDS
    action = rows["action"].to_numpy(dtype=object)
    odds = np.array([*(method.challenge_stops for method in METHODS), 0.0])[attacks.method]
    is_stopped = (action == "challenge") & (uniforms(context.key, "challenge", config.seed) < odds)
    return np.where(action == "decline", moment, np.inf), np.where(is_stopped, moment, np.inf)


def _chargebacks(
    context: Context, is_charged: np.ndarray, is_not_received: np.ndarray, reported: np.ndarray, seed: int
) -> pd.DataFrame:
    unstated = uniforms(context.key, "unstated", seed) < _UNSTATED
    is_fraud = pd.Series(np.where(is_not_received, False, True), dtype="boolean").mask(unstated & ~is_not_received)
    rows = pd.DataFrame(
        {
            "chargeback_id": "cb-" + context.orders["order_id"],
            "order_id": context.orders["order_id"],
            "reported_at": _moments(reported),
            "reason": np.where(is_not_received, "goods_not_received", np.where(unstated, "unknown", "fraud")),
            "is_fraud": is_fraud,
            "amount_cents": context.amount,
        }
    )
    return rows[is_charged].sort_values(["reported_at", "chargeback_id"], ignore_index=True)


def _refunds(
    context: Context, is_given_back: np.ndarray, is_found: np.ndarray, refunded: np.ndarray, seed: int
) -> pd.DataFrame:
    which = (uniforms(context.key, "refund reason", seed) * len(_REFUND_REASONS)).astype(int)
    rows = pd.DataFrame(
        {
            "refund_id": "rf-" + context.orders["order_id"],
            "order_id": context.orders["order_id"],
            "refunded_at": _moments(refunded),
            "reason": np.where(is_found, "fraud", np.array(_REFUND_REASONS, dtype=object)[which]),
            "amount_cents": context.amount,
        }
    )
    return rows[is_given_back].sort_values(["refunded_at", "refund_id"], ignore_index=True)


def _moments(days: np.ndarray) -> pd.Series:
    seconds = np.rint(np.where(np.isfinite(days), days, 0) * 86_400).astype("int64")
    return pd.Series(pd.to_datetime(seconds, unit="s", utc=True)).astype("datetime64[us, UTC]")
