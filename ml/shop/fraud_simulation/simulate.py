"""Laying payments and fraud over a shop's orders."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.shop.fraud_simulation.attacks import attacks_on
from ml.shop.fraud_simulation.config import SimulationConfig
from ml.shop.fraud_simulation.context import context_of
from ml.shop.fraud_simulation.disputes import disputes_of
from ml.shop.fraud_simulation.entities import entities_of, is_honest
from ml.shop.fraud_simulation.methods import METHODS, NORMAL
from ml.shop.fraud_simulation.payments import is_in_group, payments_of


@dataclass(frozen=True)
class Simulated:
    """Made-up payments, and the truth about them.

    Attributes:
        payments, chargebacks, refunds: Columns of the contract, without `currency`.
        truth: For evaluation only, no contract table holds it. order_id, scenario ("normal" or a method), is_fraud,
            is_attack_visible (fraud that is not friendly), ring (text; null without), is_reported, is_prevented,
            is_over_reported and group ("marked" or "other", by the customer) for the planted bias.
    """

    payments: pd.DataFrame
    chargebacks: pd.DataFrame
    refunds: pd.DataFrame
    truth: pd.DataFrame


def simulate(orders: pd.DataFrame, config: SimulationConfig, decisions: pd.DataFrame | None = None) -> Simulated:
    """Lay payments and fraud over orders.

    What is made for an order depends on the seed, the configuration, that order and earlier ones: a longer shop begins
    with the shorter one. Chargebacks and refunds depend on the decisions too.

    Args:
        orders: order_id, customer_id (null: guest), ordered_at (aware), store_id, total_amount_cents; a row per order.
        decisions: order_id, action, decided_at (aware); orders that are not listed were let through.

    Raises:
        ValueError: A column is missing, or an order stands twice.
    """
    context = context_of(orders, config)
    attacks = attacks_on(context, config)
    entities = entities_of(context, attacks, config)
    chargebacks, refunds, outcome = disputes_of(context, attacks, config, decisions)
    is_attack = ~is_honest(attacks)
    scenario = np.array([*(method.name for method in METHODS), NORMAL], dtype=object)[attacks.method]
    truth = outcome.assign(
        scenario=scenario,
        is_fraud=attacks.method >= 0,
        is_attack_visible=is_attack,
        ring=pd.Series([f"{key:016x}" for key in attacks.ring.tolist()], dtype=object).where(is_attack, None),
        group=np.where(is_in_group(context, config), "marked", "other"),
    )
    return Simulated(payments_of(context, attacks, entities, config), chargebacks, refunds, truth)
