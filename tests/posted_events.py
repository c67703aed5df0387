"""A few orders and labels as they are posted, and what the online state makes of them."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ml.cli.fraud.events import follow_log
from ml.fraud.declaration import declaration
from ml.fraud.events import OrderEvent, parse_event
from ml.fraud.online_state import features_of
from ml.fraud.state_records import state_digest
from ml.settings import Settings
from ml.stores.state_store import StateStore, open_state_store

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
ORDERS, FRAUDS = 30, 5
ASKED = {"customer_id": "c1", "device_hash": "d1", "instrument_hash": "i1"}


def of_shop(state_dir: Path | str, state_url: str | None = None, shop_id: str = "smallshop") -> Settings:
    return Settings(_env_file=None, state_dir=state_dir, shop_id=shop_id, state_url=state_url)


def state_of(settings: Settings, *, is_writer: bool = True) -> StateStore:
    return open_state_store(settings, state_digest(declaration()), is_writer=is_writer)


def payment(number: int) -> str:
    event = {"type": "payment", "payment_id": f"p{number}", "order_id": f"o{number:03}", **ASKED}
    at = (NOON + timedelta(minutes=number)).isoformat()
    return json.dumps(event | {"attempted_at": at, "amount_cents": 100, "currency": "USD", "outcome": "approved"})


def label(number: int) -> str:
    event = {"type": "label", "label_id": f"l{number}", "order_id": f"o{number:03}", "is_fraud": True}
    return json.dumps(event | {"known_at": (NOON + timedelta(hours=2)).isoformat(), "label_source": "chargeback"})


def events() -> list[str]:
    """30 orders of one customer, 5 of them fraud; a fifth of all events twice."""
    lines = [*(payment(number) for number in range(ORDERS)), *(label(number) for number in range(FRAUDS))]
    return [*lines, *lines[::5]]


def asked() -> OrderEvent:
    event = parse_event(payment(ORDERS * 10), None, "USD")
    assert isinstance(event, OrderEvent)
    return event


def counts(settings: Settings) -> tuple[object, ...]:
    features = features_of(state_of(settings), asked(), declaration())
    return tuple(features[f"{name}_customer_ever"] for name in ("count_orders", "count_frauds"))


def follow_once(settings: Settings) -> int:
    return follow_log(settings, stops=threading.Event(), is_once=True)
