"""What is known of an order before anything is simulated: who, when, how much, through which channel.

All of it depends on the order and on orders before it, never on later ones.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from ml.shop.fraud_simulation.config import CHANNEL_WEIGHTS, CHANNELS, SimulationConfig
from ml.shop.fraud_simulation.draws import chosen, keys_of, uniforms

ORDER_COLUMNS = ("order_id", "customer_id", "ordered_at", "store_id", "total_amount_cents")
_SAME_DAY_ACCOUNTS = 0.15
_MEAN_ACCOUNT_AGE_DAYS = 400.0
_MICROSECONDS = 86_400_000_000


@dataclass(frozen=True)
class Context:
    """Orders in the order of (ordered_at, order_id); every array has one entry per order.

    Attributes:
        key: uint64 of the order; the source of its draws.
        person: Number of the customer, by first order; a guest's order is a person of its own.
        person_key: uint64 of the customer.
        days: Time since 1970 in days (UTC).
        local_day: Shop-local day since 1970.
        hour: Shop-local hour.
        amount: Cents.
        deviation_shop, deviation_customer: Log amount less its mean over the shop's / the customer's earlier orders.
        gap_days: Days since the customer's last order; 0 for the first.
        account_days: Time of opening the account since 1970 in days; NaN for guests.
        channel: Position in `CHANNELS`.
    """

    zone: ZoneInfo
    orders: pd.DataFrame
    key: np.ndarray
    person: np.ndarray
    person_key: np.ndarray
    days: np.ndarray
    local_day: np.ndarray
    hour: np.ndarray
    amount: np.ndarray
    deviation_shop: np.ndarray
    deviation_customer: np.ndarray
    gap_days: np.ndarray
    account_days: np.ndarray
    channel: np.ndarray

    @property
    def in_store(self) -> np.ndarray:
        return np.asarray(self.channel == CHANNELS.index("store"))

    def is_from(self, day: date) -> np.ndarray:
        """Whether each order is of this shop-local day or later."""
        return np.asarray(self.local_day >= (day - date(1970, 1, 1)).days)


def context_of(orders: pd.DataFrame, config: SimulationConfig) -> Context:
    """The context of orders.

    Args:
        orders: `ORDER_COLUMNS`; `ordered_at` aware; a null amount counts as 0.

    Raises:
        ValueError: A column is missing, or an order stands twice.
    """
    rows = _sorted(orders)
    key = keys_of(rows["order_id"].tolist())
    customer = rows["customer_id"].where(rows["customer_id"].notna(), "guest of " + rows["order_id"])
    person, names = pd.factorize(customer)
    person_key = keys_of(names.tolist())[person] if len(rows) else np.array([], dtype=np.uint64)
    moments = rows["ordered_at"].astype("int64").to_numpy()
    days = moments / _MICROSECONDS
    zone = ZoneInfo(config.timezone)
    local = rows["ordered_at"].dt.tz_convert(zone).dt.tz_localize(None)
    amount = rows["total_amount_cents"].to_numpy(dtype=np.int64)
    opened = _accounts_opened(person, person_key, days, config.seed)
    log = np.log(amount + 100.0)
    return Context(
        zone=zone,
        orders=rows,
        key=key,
        person=person,
        person_key=person_key,
        days=days,
        local_day=local.dt.normalize().astype("datetime64[us]").astype("int64").to_numpy() // _MICROSECONDS,
        hour=local.dt.hour.to_numpy(),
        amount=amount,
        deviation_shop=_deviation_shop(log),
        deviation_customer=_deviation_customer(log, person),
        gap_days=pd.Series(days).groupby(person).diff().fillna(0.0).to_numpy(),
        account_days=np.where(rows["customer_id"].notna(), opened, np.nan),
        channel=_channels(key, person_key, config.seed),
    )


def _sorted(orders: pd.DataFrame) -> pd.DataFrame:
    missing = [column for column in ORDER_COLUMNS if column not in orders.columns]
    if missing:
        raise ValueError(f"orders lack the column {', '.join(missing)}; expected {', '.join(ORDER_COLUMNS)}")
    typed: dict[str, Any] = {
        "order_id": orders["order_id"].astype(str),
        "customer_id": orders["customer_id"].astype(object),
        "ordered_at": pd.to_datetime(orders["ordered_at"], utc=True).astype("datetime64[us, UTC]"),
        "store_id": orders["store_id"].astype(object),
        "total_amount_cents": pd.to_numeric(orders["total_amount_cents"]).fillna(0).astype("int64"),
    }
    rows = pd.DataFrame(typed).sort_values(["ordered_at", "order_id"], ignore_index=True)
    twice = int(rows["order_id"].duplicated().sum())
    if twice:
        raise ValueError(f"{twice} orders stand more than once; expected one row per order_id")
    return rows


def _accounts_opened(person: np.ndarray, person_key: np.ndarray, days: np.ndarray, seed: int) -> np.ndarray:
    first = pd.Series(days).groupby(person).transform("min").to_numpy()
    draw = uniforms(person_key, "account age", seed)
    age = -np.log1p(-uniforms(person_key, "account days", seed)) * _MEAN_ACCOUNT_AGE_DAYS
    return np.asarray(first - np.where(draw < _SAME_DAY_ACCOUNTS, draw, age) - 1e-3)


def _channels(key: np.ndarray, person_key: np.ndarray, seed: int) -> np.ndarray:
    """Two orders in three go through the customer's favourite channel."""
    favourite = chosen(uniforms(person_key, "favourite channel", seed), CHANNEL_WEIGHTS)
    other = chosen(uniforms(key, "channel", seed), CHANNEL_WEIGHTS)
    return np.where(uniforms(key, "keeps channel", seed) < 2 / 3, favourite, other)


def _deviation_shop(log: np.ndarray) -> np.ndarray:
    before = np.arange(len(log))
    mean = (np.cumsum(log) - log) / np.maximum(before, 1)
    return np.where(before > 0, log - mean, 0.0)


def _deviation_customer(log: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Shrunk towards 0 while the customer has few orders."""
    grouped = pd.Series(log).groupby(person)
    before = grouped.cumcount().to_numpy()
    mean = (grouped.cumsum().to_numpy() - log) / np.maximum(before, 1)
    return np.where(before > 0, (log - mean) * before / (before + 2), 0.0)
