"""Fraud's marts by hand: orders whose features are noise, but for those of the frauds, published as a version."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from ml.fraud.declaration import declaration
from ml.settings import Settings
from ml.stores.versions import Version
from ml.stores.warehouse import marts_store

COLUMNS = ("device_hash", "ip_hash", "shipping_address_hash", "billing_address_hash", "email_domain", "terminal_id")


def orders(first_day: date, days: int, per_day: int, fraud_share: float, seed: int = 0) -> pd.DataFrame:
    """order_id, customer_id, attempted_at (UTC), attempt_date, amount_cents, is_fraud; in order of time."""
    draw = np.random.default_rng(seed)
    dates = [first_day + timedelta(days=offset) for offset in range(days) for _ in range(per_day)]
    number = np.arange(len(dates)) % max(per_day, 1)
    frame = pd.DataFrame(
        {
            "order_id": [f"{day:%Y%m%d}-{place:03d}" for day, place in zip(dates, number, strict=True)],
            "customer_id": [f"c{customer:03d}" for customer in draw.integers(0, 200, len(dates))],
            "attempt_date": dates,
        },
        dtype=object,
    )
    begin = pd.to_datetime(frame["attempt_date"]) + pd.Timedelta(hours=15)
    return frame.assign(
        attempted_at=(begin + pd.to_timedelta(number, unit="m")).dt.tz_localize("UTC").dt.as_unit("us"),
        amount_cents=draw.integers(500, 20_000, len(frame)),
        is_fraud=draw.random(len(frame)) < fraud_share,
    )


def features(judged: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """Rows of `feat_order_risk`: counts are noise; a fraud's device and card were busy, most of the time."""
    draw = np.random.default_rng(seed)
    shows = judged["is_fraud"].to_numpy() & (draw.random(len(judged)) < 0.8)
    rows = judged[["order_id", "attempted_at", "attempt_date", "amount_cents"]].assign(
        hour_of_day=judged["attempted_at"].dt.hour,
        day_of_week=judged["attempted_at"].dt.dayofweek + 1,
        account_age_days=draw.integers(1, 900, len(judged)).astype(float),
        is_billing_shipping_same=True,
        channel="web",
    )
    counted = {}
    for name in declaration().counted_features():
        values = draw.poisson(1.0, len(judged)).astype(float)
        if name.startswith("fraud_rate_"):
            values = np.full(len(judged), 0.005) * (1 + draw.random(len(judged)))
        if name.startswith(("count_orders_device", "count_failed_device", "count_orders_instrument")):
            values = values + np.where(shows, draw.poisson(4.0, len(judged)), 0.0)
        counted[name] = values
    for name in counted:  # what is counted of some orders cannot be more than all of them
        if name.startswith("count_failed_"):
            counted[name] = np.minimum(counted[name], counted[name.replace("count_failed_", "count_orders_")])
    for first, second in declaration().pairs:
        pair = f"count_orders_{first}_{second}_ever"
        counted[pair] = np.minimum(counted[pair], counted[f"count_orders_{first}_ever"])
    return pd.concat([rows, pd.DataFrame(counted, index=judged.index)], axis=1)


def publish(
    settings: Settings,
    judged: pd.DataFrame,
    target_day: date,
    delay_days: int = 5,
    changes: dict[str, str] | None = None,
    labels: pd.DataFrame | None = None,
    busier: float = 0.0,
) -> Version:
    """Marts up to a day; the label of a fraud becomes known `delay_days` after the order, and one day later for some.

    Args:
        changes: Fingerprints that differ, by name of a mart.
        labels: In place of those that follow from `judged`.
        busier: So many orders more on every device and card, whatever becomes of the order.
    """
    known = judged[pd.to_datetime(judged["attempt_date"]) <= pd.Timestamp(target_day)]
    payments = known.assign(
        **{name: name[0] + known["customer_id"] for name in COLUMNS},
        instrument_hash="i" + known["customer_id"],
        ip_country="US",
        account_created_at=known["attempted_at"] - pd.Timedelta(days=400),
        currency="USD",
        channel="web",
        first_outcome="approved",
        is_approved=True,
        count_attempts=1,
    ).drop(columns="is_fraud")
    if labels is None:
        labels = fraud_labels(judged, delay_days)
    moment = pd.Timestamp(settings.shop_clock(target_day))
    tables = {
        "fct_order_payments": payments,
        "feat_order_risk": _busier(features(judged).loc[known.index], busier),
        "fct_fraud_labels": labels[labels["known_at"] < moment],
        "fct_fraud_decisions": pd.DataFrame(
            {
                "order_id": pd.Series(dtype=str),
                "decision_id": pd.Series(dtype=str),
                "decided_at": pd.Series(dtype="datetime64[us, UTC]"),
                "action": pd.Series(dtype=str),
                "score": pd.Series(dtype=float),
                "would_decline": pd.Series(dtype=bool),
                "propensity": pd.Series(dtype=float),
                "model_version": pd.Series(dtype=str),
                "policy_version": pd.Series(dtype=str),
            }
        ),
    }
    store = marts_store(settings)
    parts = [
        store.write_part(name, "all", pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None))
        for name, rows in tables.items()
    ]
    fingerprints = {"feat_order_risk": "risk-1"} | (changes or {})
    lineage = {"shop_id": settings.shop_id, "target_day": target_day.isoformat(), "fingerprints": fingerprints}
    current = store.current()
    return store.publish(parts, lineage, current.id if current else None)


def _busier(rows: pd.DataFrame, orders: float) -> pd.DataFrame:
    busy = [name for name in rows.columns if name.startswith(("count_orders_device", "count_orders_instrument"))]
    return rows.assign(**{name: rows[name] + orders for name in busy})


def fraud_labels(judged: pd.DataFrame, delay_days: int) -> pd.DataFrame:
    frauds = judged[judged["is_fraud"]].reset_index(drop=True)
    late = pd.to_timedelta(delay_days + frauds.index.to_numpy() % 2, unit="D")
    return pd.DataFrame(
        {
            "label_id": "l" + frauds["order_id"],
            "order_id": frauds["order_id"],
            "is_fraud": True,
            "known_at": (frauds["attempted_at"] + late).dt.as_unit("us"),
            "label_source": "chargeback",
        }
    )
