"""What the benchmark asks: the shop's own customers, cards and devices, with newcomers among them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from serving_processes import KEY
from serving_shop import SEED, BenchShop

NEW_DEVICE_SHARE, NEW_CUSTOMER_SHARE, UNKNOWN_CUSTOMER_SHARE = 0.15, 0.05, 0.10
DECISION_STEPS = ("model", "fallback_model", "standin")
RECOMMENDATION_STEPS = ("personal", "batch", "segment", "popular", "static")
# Shop time between two attempts: as many a day as a shop of this size has at its busiest, not all within one second.
_APART = timedelta(seconds=1)
_LEFT_OUT = 1000  # of a run that was broken off
_OF_THE_ATTEMPT = ("payment_id", "order_id", "attempted_at", "outcome")  # not drawn from the past
_HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"


@dataclass
class Asked:
    """Gives requests that were never asked before.

    Attributes:
        payments: Past attempts to pay, as new ones are drawn from.
        place: Of the next attempt; its id and time follow from it.
    """

    shop: BenchShop
    payments: Sequence[dict[str, Any]]
    customers: Sequence[str]
    begin: datetime
    place: int = 0

    def attempts(self, count: int) -> Iterator[dict[str, Any]]:
        """Attempts to pay; 15% with a new device and address, 5% with nothing that was seen before."""
        draw = np.random.default_rng([SEED, self.place])
        chosen = draw.integers(len(self.payments), size=count)
        chances = draw.random(count)
        for at, chance in zip(chosen, chances, strict=True):
            self.place += 1
            name = f"bench-{self.place:08d}"
            attempt = dict(self.payments[int(at)])
            if chance < NEW_DEVICE_SHARE + NEW_CUSTOMER_SHARE:
                attempt |= {"device_hash": f"device-{name}", "ip_hash": f"ip-{name}"}
            if chance < NEW_CUSTOMER_SHARE:
                attempt |= {"customer_id": f"customer-{name}", "instrument_hash": f"card-{name}"}
                attempt |= {"shipping_address_hash": f"to-{name}", "billing_address_hash": f"of-{name}"}
            attempted_at = self.begin + self.place * _APART
            yield {"payment_id": name, "order_id": f"order-{name}", "attempted_at": attempted_at.isoformat(), **attempt}

    def decisions(self, count: int) -> Iterator[str]:
        """Raw requests for decisions, each with an idempotency key, as the client sends them."""
        for attempt in self.attempts(count):
            body = json.dumps(attempt)
            yield (
                f"POST /v1/fraud/decisions HTTP/1.1\r\n{_HEAD}Content-Type: application/json\r\n"
                f"Idempotency-Key: {attempt['payment_id']}\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
            )

    def recommendations(self, count: int) -> Iterator[str]:
        """Raw requests for ten products; 10% of the customers are unknown."""
        draw = np.random.default_rng([SEED, 1, self.place])
        chosen, chances = draw.integers(len(self.customers), size=count), draw.random(count)
        for at, chance in zip(chosen, chances, strict=True):
            self.place += 1
            unknown = chance < UNKNOWN_CUSTOMER_SHARE
            customer = f"unknown-{self.place}" if unknown else self.customers[int(at)]
            yield f"GET /v1/recommendations/{customer}?k=10&placement=home HTTP/1.1\r\n{_HEAD}\r\n"

    def write(self, kind: str, count: int, path: Path) -> Path:
        """A file of fresh requests, for the load generator."""
        path.parent.mkdir(parents=True, exist_ok=True)
        requests = self.decisions(count) if kind == "decisions" else self.recommendations(count)
        path.write_text("\n".join(json.dumps(request) for request in requests))
        self.remember()
        return path

    def remember(self) -> None:
        """Note how far asking has come, for the next run on this shop."""
        (self.shop.folder / "asked.json").write_text(json.dumps(self.place))


def open_asked(shop: BenchShop) -> Asked:
    """Read what requests are drawn from. This process has the shop's environment."""
    from ml.settings import get_settings
    from ml.shop.contract import CONTRACT
    from ml.stores.warehouse import open_marts

    settings = get_settings()
    marts = open_marts(settings)
    names = [column.name for column in CONTRACT["payments"].columns if column.name not in _OF_THE_ATTEMPT]
    names.append("customer_id")  # of the order
    newest = marts.connect().execute(
        f"select {', '.join(names)} from fct_order_payments where amount_cents > 0 "  # noqa: S608 - our own names
        "order by attempted_at desc, order_id limit 20000"
    )
    payments = []
    for row in newest.fetchall():
        known = {name: value for name, value in zip(names, row, strict=True) if value is not None}
        if "account_created_at" in known:
            known["account_created_at"] = known["account_created_at"].isoformat()
        payments.append({**known, "amount_cents": int(known["amount_cents"])})
    customers = marts.connect().execute("select customer_id from dim_customers order by customer_id").fetchall()
    begin = settings.shop_clock(marts.target_day)
    return Asked(shop, payments, [str(row[0]) for row in customers], begin, _last_place(shop))


def _last_place(shop: BenchShop) -> int:
    """After what earlier runs asked: an id that was used is answered from the log."""
    path = shop.folder / "asked.json"
    return int(json.loads(path.read_bytes())) + _LEFT_OUT if path.exists() else 0
