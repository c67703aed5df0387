"""Payments, chargebacks, refunds and reviews made up over the orders of a small shop: ties, nulls, shared entities."""

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

Rows = list[dict[str, Any]]

_SHARED = ("instrument_hash", "device_hash", "ip_hash", "shipping_address_hash", "billing_address_hash", "terminal_id")


def payments_of(orders: Sequence[dict[str, Any]], seed: int = 0) -> Rows:
    """One or two attempts an order; many orders share a moment, entities are shared and missing at random."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    rows: Rows = []
    for order in orders:
        moment = order["ordered_at"].replace(minute=draw.choice([0, 10, 10, 20, 50]), second=0, microsecond=0)
        attempts = draw.choice([1, 1, 1, 2])
        for attempt in range(attempts):
            is_last = attempt == attempts - 1
            rows.append(
                {
                    "payment_id": f"{order['order_id']}-{attempt}",
                    "order_id": order["order_id"],
                    "attempted_at": moment + timedelta(seconds=attempt * draw.choice([0, 30])),
                    **{name: draw.choice([None, *(f"{name[:2]}{each}" for each in range(8))]) for name in _SHARED},
                    "ip_country": draw.choice(["US", "US", "US", "CA", None]),
                    "email_domain": draw.choice(["a.example", "b.example", None]),
                    "account_created_at": draw.choice([None, moment - timedelta(days=draw.randrange(400))]),
                    "channel": draw.choice(["web", "app", None]),
                    "amount_cents": draw.choice([100, 2500, 2500, 19_999, 1]),
                    "currency": "USD",
                    "outcome": draw.choice(["approved", "approved", "declined", "failed"] if is_last else ["failed"]),
                }
            )
    return rows


def labels_of(payments: Sequence[dict[str, Any]], until: datetime, seed: int = 1) -> dict[str, Rows]:
    """Chargebacks, refunds and reviews of some of the orders, those that are known by `until`."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    tables: dict[str, Rows] = {"chargebacks": [], "refunds": [], "fraud_reviews": []}
    for order_id, first in sorted({row["order_id"]: row for row in reversed(payments)}.items()):
        known_at = first["attempted_at"] + timedelta(days=draw.randrange(9), minutes=draw.choice([0, 10, 30]))
        order, money = {"order_id": order_id}, {"amount_cents": first["amount_cents"], "currency": "USD"}
        kind = draw.randrange(8)
        if known_at >= until:
            continue
        if kind in (0, 1):
            claim = {"reported_at": known_at, "is_fraud": draw.choice([True, True, None, False])}
            tables["chargebacks"].append({"chargeback_id": f"c{order_id}", **order, **claim, **money})
        if kind in (1, 2):
            given = {"refunded_at": known_at, "reason": draw.choice(["fraud", "damaged"])}
            tables["refunds"].append({"refund_id": f"r{order_id}", **order, **given, **money})
        if kind in (2, 3):
            found = {"decided_at": known_at, "verdict": draw.choice(["fraud", "legitimate"]), "analyst": "ann"}
            tables["fraud_reviews"].append({"review_id": f"v{order_id}", **order, **found})
    return tables


def first_frauds(tables: Mapping[str, Rows]) -> dict[str, datetime]:
    """Order -> when its first fraud label became known."""
    labels = [(row["order_id"], row["reported_at"]) for row in tables["chargebacks"] if row["is_fraud"] is not False]
    labels += [(row["order_id"], row["refunded_at"]) for row in tables["refunds"] if row["reason"] == "fraud"]
    labels += [(row["order_id"], row["decided_at"]) for row in tables["fraud_reviews"] if row["verdict"] == "fraud"]
    first: dict[str, datetime] = {}
    for order_id, known_at in labels:
        first[order_id] = min(known_at, first.get(order_id, datetime.max.replace(tzinfo=UTC)))
    return first
