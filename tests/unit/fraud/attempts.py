"""Attempts to pay with made-up counts, as a request tells them and as the batch reads them from the mart."""

import datetime as dt
from dataclasses import replace
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from ml.fraud.attempt_rows import COUNTED, own_fields
from ml.fraud.config import FraudConfig
from ml.fraud.engine import Attempt
from ml.fraud.events import parse_attempt
from ml.fraud.features import with_derived
from ml.fraud.score import FraudModel
from ml.fraud.train import fit

START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
ZONE = ZoneInfo("America/New_York")


def attempt(number: int = 0, **changed: object) -> Attempt:
    """An attempt of 100.00, an hour apart from the one before."""
    raw = {
        "payment_id": f"p{number}", "order_id": f"o{number}", "currency": "USD", "amount_cents": 10_000,
        "attempted_at": (START + dt.timedelta(hours=number)).isoformat(), "customer_id": "ada",
        "device_hash": "d1", "instrument_hash": "i1", "channel": "web",
        "account_created_at": (START - dt.timedelta(days=400)).isoformat(),
        "billing_address_hash": "home", "shipping_address_hash": "home",
    } | changed  # fmt: skip
    return parse_attempt({name: value for name, value in raw.items() if value is not None}, None, "USD")


def random_attempts(count: int, seed: int) -> list[Attempt]:
    """Of a few customers and devices, with fields missing here and there, in no order of time."""
    draw = np.random.default_rng(seed)

    def maybe(value: object, share: float = 0.15) -> object:
        return None if draw.random() < share else value

    return [
        attempt(
            number,
            attempted_at=(START + dt.timedelta(minutes=int(draw.integers(0, 4 * 24 * 60)))).isoformat(),
            amount_cents=int(draw.choice([1, 2, 999, 4_000, 25_000, 80_000])),
            customer_id=maybe(f"c{draw.integers(20)}"),
            device_hash=maybe(f"d{draw.integers(20)}"),
            instrument_hash=maybe(f"i{draw.integers(20)}"),
            channel=maybe(str(draw.choice(["web", "app", "kiosk"]))),
            ip_country=maybe(str(draw.choice(["US", "FR"]))),
            email_domain=maybe("mail.example"),
            account_created_at=maybe((START - dt.timedelta(hours=int(draw.integers(1, 9000)))).isoformat()),
            billing_address_hash=maybe(f"h{draw.integers(2)}"),
            shipping_address_hash=maybe(f"h{draw.integers(2)}"),
        )
        for number in range(count)
    ]


def random_counts(count: int, seed: int) -> list[dict[str, int | float | None]]:
    """Counted features without any sense, missing here and there."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        values: dict[str, int | float | None] = {}
        for name in COUNTED:
            if name.startswith("fraud_rate"):
                values[name] = float(draw.beta(1, 200))
            elif name.startswith("count_"):
                values[name] = int(draw.poisson(0.2 if "fraud" in name or "failed" in name else 2))
            else:
                values[name] = float(draw.lognormal(8, 1))
            if draw.random() < 0.05 and not name.startswith("fraud_rate_shop"):
                values[name] = None
        found.append(values)
    return found


def as_read(attempts: list[Attempt], counted: list[dict[str, int | float | None]]) -> pd.DataFrame:
    """The same orders as the batch reads them: `ml.cli.fraud.inputs.read_orders`."""
    rows = []
    for one in attempts:
        own = own_fields(one, ZONE)
        rows.append(
            {
                "order_id": one.event.order_id,
                "attempted_at": pd.Timestamp(one.event.attempted_at, unit="us", tz="UTC"),
                "attempt_date": pd.Timestamp(own.day),
                "amount_cents": one.event.amount_cents,
                "hour_of_day": own.hour_of_day,
                "day_of_week": own.day_of_week,
                "account_age_days": np.nan if own.account_age_days is None else own.account_age_days,
                "is_billing_shipping_same": own.is_billing_shipping_same,
                "currency": one.currency,
                **one.event.values,
            }
        )
    counts = pd.DataFrame(counted, columns=list(COUNTED)).astype(np.float64).astype(np.float32)
    frame = pd.DataFrame(rows)
    return pd.concat(
        [frame.assign(is_billing_shipping_same=frame["is_billing_shipping_same"].astype("boolean")), counts], axis=1
    )


@lru_cache(maxsize=16)
def trained(
    count: int = 1200, seed: int = 5, columns: tuple[str, ...] | None = None, *, as_shipped: bool = False
) -> FraudModel:
    """A small model of such orders: failed attempts on the device and large amounts speak for fraud.

    Args:
        columns: Raw columns to learn from; all without.
        as_shipped: With the parameters of a shop's model; else few trees, which is soon done.
    """
    orders = as_read(random_attempts(count, seed), random_counts(count, seed))
    failed = orders["count_failed_device_1h"].fillna(0).to_numpy(np.float64)
    risk = 1.5 * failed + orders["amount_cents"].to_numpy() / 30_000 - 3.5
    draw = np.random.default_rng(seed)
    kept = orders if columns is None else orders[["order_id", "attempted_at", *columns]]
    rows = with_derived(kept).assign(
        is_fraud=draw.random(count) < 1 / (1 + np.exp(-risk)),
        weight=1.0,
        known_share=1.0,
        fold=np.where(np.arange(count) < count * 0.7, "train", "calibration"),
    )
    few = replace(FraudConfig().trees, trees=40, patience=8, max_bin=64)
    return fit(rows, FraudConfig() if as_shipped else replace(FraudConfig(), trees=few))
