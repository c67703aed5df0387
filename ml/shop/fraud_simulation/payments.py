"""The attempts to pay each order, as rows of the contract's `payments`."""

import numpy as np
import pandas as pd

from ml.shop.fraud_simulation.attacks import Attacks
from ml.shop.fraud_simulation.config import (
    CHANNELS,
    COUNTRIES,
    DOMAIN_WEIGHTS,
    DOMAINS,
    GROUP_DOMAIN,
    THROWAWAY_DOMAINS,
    SimulationConfig,
)
from ml.shop.fraud_simulation.context import Context
from ml.shop.fraud_simulation.draws import chosen, mixed, uniforms
from ml.shop.fraud_simulation.entities import Entities, behaviour_of, behaviours
from ml.shop.fraud_simulation.methods import METHODS

_MOST_FAILED = 4
_BETWEEN_ATTEMPTS_SECONDS = 40
_TERMINALS = 4
_OTHER_PAYER = 0.02
_GROUP_DOMAIN_SHARE = 0.9
_TESTING_POSITION = next(position for position, method in enumerate(METHODS) if method.name == "card_testing")
_DAY_SECONDS = 86_400


def payments_of(context: Context, attacks: Attacks, entities: Entities, config: SimulationConfig) -> pd.DataFrame:
    """One row per attempt; the last attempt of an order is approved, because the order was placed.

    The first attempt comes before `ordered_at` when there are several, but never before the order's shop-local day, so
    that a day's payments are those of the day's orders.
    """
    rows = _first_attempts(context, attacks, entities, config)
    failed = _failed_attempts(context, attacks, config)
    at = np.repeat(np.arange(len(rows)), failed + 1)
    number = np.arange(len(at)) - np.repeat(np.cumsum(failed + 1) - failed - 1, failed + 1)
    payments = rows.iloc[at].reset_index(drop=True)
    payments["payment_id"] = payments["order_id"] + "-p" + pd.Series((number + 1).astype(str))
    remaining = failed[at] - number
    payments["attempted_at"] -= pd.to_timedelta(np.minimum(remaining * _pause(context, failed)[at], 1e6), unit="s")
    payments["attempted_at"] = payments["attempted_at"].astype("datetime64[us, UTC]")
    is_final = remaining == 0
    refused = uniforms(context.key[at] + number.astype(np.uint64), "refusal", config.seed) < 0.8
    payments["outcome"] = np.where(is_final, "approved", np.where(refused, "declined", "failed"))
    is_other_card = (number > 0) & (attacks.method[at] == _TESTING_POSITION)
    other = _texts(mixed(context.key[at] + number.astype(np.uint64), "tested card", config.seed))
    payments["instrument_hash"] = payments["instrument_hash"].where(~is_other_card, pd.Series(other))
    return payments[
        [
            "payment_id",
            "order_id",
            "attempted_at",
            "instrument_hash",
            "device_hash",
            "ip_hash",
            "ip_country",
            "shipping_address_hash",
            "billing_address_hash",
            "email_domain",
            "account_created_at",
            "channel",
            "terminal_id",
            "amount_cents",
            "outcome",
        ]
    ]


def is_in_group(context: Context, config: SimulationConfig) -> np.ndarray:
    """Whether the customer belongs to the group that "group_bias" wrongs: a hash of the customer."""
    return uniforms(context.person_key, "group", config.seed) < config.group_share


def _first_attempts(context: Context, attacks: Attacks, entities: Entities, config: SimulationConfig) -> pd.DataFrame:
    in_store = context.in_store
    names = {entity: _texts(keys) for entity, keys in entities.names.items()}
    online = {
        "device_hash": names["device"],
        "ip_hash": names["ip"],
        "ip_country": np.array([*COUNTRIES, config.home_country], dtype=object)[entities.country],
        "shipping_address_hash": names["shipping_address"],
        "billing_address_hash": _texts(_payers(context, attacks, entities, config)),
    }
    opened = pd.to_datetime(
        pd.Series(np.rint(context.account_days * _DAY_SECONDS)).astype("Int64"), unit="s", utc=True
    ).astype("datetime64[us, UTC]")
    store = context.orders["store_id"].fillna("store").astype(str)
    terminal = store + "-t" + pd.Series((context.key % np.uint64(_TERMINALS) + np.uint64(1)).astype(str))
    return pd.DataFrame(
        {
            "order_id": context.orders["order_id"],
            "attempted_at": context.orders["ordered_at"],
            "instrument_hash": names["instrument"],
            **{column: pd.Series(values, dtype=object).where(~in_store, None) for column, values in online.items()},
            "email_domain": _domains(context, attacks, config),
            "account_created_at": opened,
            "channel": np.array(CHANNELS, dtype=object)[context.channel],
            "terminal_id": terminal.astype(object).where(in_store, None),
            "amount_cents": context.amount,
        }
    )


def _payers(context: Context, attacks: Attacks, entities: Entities, config: SimulationConfig) -> np.ndarray:
    """The payer's address: where the parcel goes, the customer's own, or another."""
    stated = np.array([one.bill_to_shipping for one in behaviours(config)])[behaviour_of(context, attacks, config)]
    draw = uniforms(context.key, "payer", config.seed)
    shipped_to = entities.names["shipping_address"]
    other = mixed(context.key, "other payer", config.seed)
    own = np.where(entities.has_home, entities.home_address, other)
    return np.where(draw < stated, shipped_to, np.where(draw > 1 - _OTHER_PAYER, other, own))


def _domains(context: Context, attacks: Attacks, config: SimulationConfig) -> np.ndarray:
    own = np.array(DOMAINS, dtype=object)[
        chosen(uniforms(context.person_key, "e-mail domain", config.seed), DOMAIN_WEIGHTS)
    ]
    if config.plant == "group_bias":
        is_marked = uniforms(context.person_key, "group domain", config.seed) < _GROUP_DOMAIN_SHARE
        own = np.where(is_in_group(context, config) & is_marked, GROUP_DOMAIN, own)
    chance = np.array([one.throwaway for one in behaviours(config)])[behaviour_of(context, attacks, config)]
    draw = uniforms(context.key, "throwaway", config.seed)
    which = (uniforms(context.key, "which throwaway", config.seed) * len(THROWAWAY_DOMAINS)).astype(int)
    return np.asarray(np.where(draw < chance, np.array(THROWAWAY_DOMAINS, dtype=object)[which], own))


def _failed_attempts(context: Context, attacks: Attacks, config: SimulationConfig) -> np.ndarray:
    """How many attempts fail before the one that is approved."""
    chance = np.array([one.fails for one in behaviours(config)])[behaviour_of(context, attacks, config)]
    draw = np.maximum(uniforms(context.key, "fails", config.seed), 1e-12)
    return np.asarray(np.minimum(np.log(draw) // np.log(chance), _MOST_FAILED), dtype=np.int64)


def _pause(context: Context, failed: np.ndarray) -> np.ndarray:
    """Seconds between attempts: short enough that the first one lies within the shop-local day."""
    local = context.orders["ordered_at"].dt.tz_convert(context.zone)
    since_midnight = (local - local.dt.normalize()).dt.total_seconds().to_numpy()
    return np.asarray(np.minimum(_BETWEEN_ATTEMPTS_SECONDS, np.floor(since_midnight / np.maximum(failed, 1))))


def _texts(keys: np.ndarray) -> np.ndarray:
    return np.array([f"{key:016x}" for key in keys.tolist()], dtype=object)
