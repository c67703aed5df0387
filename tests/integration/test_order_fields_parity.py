"""The fields of an order itself, as a decision computes them and as the mart does: equal, by the shop's own clock."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from benchmarks.fraud_marts import build_fraud_marts
from ml.fraud.attempt_rows import own_fields
from ml.fraud.events import TEXT_COLUMNS, parse_attempt
from ml.shop.contract import CONTRACT

Row = dict[str, Any]
NEW_YORK = ZoneInfo("America/New_York")
OWN = ("attempt_date", "hour_of_day", "day_of_week", "account_age_days", "is_billing_shipping_same", "channel")


def own_payments(seed: int) -> list[Row]:
    """One attempt each, every few hours over two changes of the clocks, ids and dates missing here and there."""
    dice, found = random.Random(seed), []  # noqa: S311 - made-up payments
    begin = datetime(2025, 10, 25, 0, 30, tzinfo=UTC)
    for number in range(700):
        at = begin + timedelta(minutes=307 * number, microseconds=dice.randrange(10**6))
        age = timedelta(seconds=dice.uniform(-86_400, 10**7))
        found.append(
            dict.fromkeys(column for column in TEXT_COLUMNS if column != "customer_id")
            | {"payment_id": f"p{number}", "order_id": f"o{number}", "attempted_at": at, "currency": "USD"}
            | {"amount_cents": dice.randrange(10**6), "outcome": "approved"}
            | {"channel": dice.choice(["web", "kiosk", None])}
            | {"account_created_at": dice.choice([None, at - age, at - age])}
            | {"billing_address_hash": dice.choice(["a", "b", None])}
            | {"shipping_address_hash": dice.choice(["a", "b", None])}
        )
    return found


def test_the_fields_of_the_order_itself_are_those_of_the_mart(tmp_path: Path) -> None:
    payments = own_payments(20240201)
    orders = [
        {"order_id": row["order_id"], "customer_id": None, "ordered_at": row["attempted_at"], "store_id": None}
        | {"total_amount_cents": None, "currency": "USD"}
        for row in payments
    ]
    given: dict[str, list[Row]] = {"orders": orders, "payments": payments, "customers": []}
    tables = {name: pa.Table.from_pylist(rows, CONTRACT[name].schema) for name, rows in given.items()}
    target_day = payments[-1]["attempted_at"].date() + timedelta(days=1)
    marts = build_fraud_marts(tmp_path, tables, target_day, str(NEW_YORK)).connect()
    rows = marts.execute(f"select order_id, {', '.join(OWN)} from feat_order_risk").fetchall()  # noqa: S608 - our names
    batch = {row[0]: dict(zip(OWN, row[1:], strict=True)) for row in rows}
    assert len(batch) == len(payments)
    differing: set[str] = set()
    for payment in payments:
        moments = {name: payment[name].isoformat() for name in ("attempted_at", "account_created_at") if payment[name]}
        attempt = parse_attempt(payment | moments, None, "USD")
        online, expected = own_fields(attempt, NEW_YORK), batch[payment["order_id"]]
        assert online.day == expected.pop("attempt_date").isoformat()
        assert {name: getattr(online, name) for name in expected} == expected
        as_utc = own_fields(attempt, ZoneInfo("UTC"))
        differing |= {name for name in expected if getattr(as_utc, name) != expected[name]}
    assert differing == {"hour_of_day", "day_of_week"}, "in another time zone nothing differed: nothing was compared"
