"""The same feature computed twice: by dbt's SQL over all rows, and online by a process that applied posted events.

The events are shuffled over four days at a time (so some come days late), some come twice, second attempts come before
first ones, labels before their orders, and the follower is killed with -9 on the way.
"""

import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from benchmarks.fraud_marts import build_fraud_marts
from ml.cli.fraud.events import post_events
from ml.fraud.declaration import Declaration, declaration
from ml.fraud.events import TEXT_COLUMNS, OrderEvent, microseconds, parse_event
from ml.fraud.online_state import features_of
from ml.fraud.state_records import state_digest
from ml.fraud.state_updates import apply_events
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.stores.serving_log import ServingLog
from ml.stores.state_store import StateUnavailable, open_state_store
from tests.conftest import find_binary
from tests.private_redis import private_redis

FIRST_DAY = datetime(2024, 2, 1, tzinfo=UTC)
DAYS, ORDERS_A_DAY = 36, 100
SEGMENT = timedelta(days=4)
SEED = 20240201
LEAST_VALUES = 100_000
LEAST_EQUAL = 0.999
FLOAT_TOLERANCE = 1e-6
_CAUGHT_UP_SECONDS = 120

Row = dict[str, Any]
Features = Mapping[str, float | None]


@dataclass(frozen=True)
class Shop:
    """Rows of the contract's tables; made up."""

    orders: list[Row]
    payments: list[Row]
    chargebacks: list[Row]
    reviews: list[Row]


def made_up_shop(seed: int) -> Shop:
    """Few customers with much in common: shared devices and addresses, bursts, ties in time, nulls, failed attempts.

    A third of the orders is echoed at the edge of a window, or less than a minute beside it.
    """
    dice = random.Random(seed)  # noqa: S311 - made-up orders
    end = FIRST_DAY + timedelta(days=DAYS)
    placed: list[tuple[datetime, dict[str, str | None]]] = []
    burst: dict[str, str | None] | None = None
    at = FIRST_DAY
    while at < end:
        is_burst = burst is not None and dice.random() < 0.85
        values = dict(burst) if is_burst and burst else identity(dice)
        if is_burst:
            values["instrument_hash"] = f"card{dice.randrange(4000)}"
        burst = values if is_burst or dice.random() < 0.01 else None
        placed.append((at, values))
        if dice.random() < 0.3:
            beside = dice.choice([0, dice.uniform(-60, 0), dice.uniform(0, 60), dice.uniform(0, 60)])
            window = dice.choice(list(declaration().window_seconds.values()))
            placed.append((at + timedelta(seconds=window + beside), values))
        at += timedelta(seconds=dice.choice([0, 0, 1, 20]) if burst else dice.expovariate(ORDERS_A_DAY / 86_400))
    shop = Shop([], [], [], [])
    numbers = list(range(len(placed)))
    dice.shuffle(numbers)  # ids do not follow time: ties are told apart by them
    for number, (when, values) in zip(numbers, placed, strict=True):
        if when < end:
            add_order(shop, dice, f"o{number:06}", when, values)
    return shop


def identity(dice: random.Random) -> dict[str, str | None]:
    customer = min(dice.randrange(400), dice.randrange(400))

    def usually(text: str, other: str, share: float = 0.1) -> str | None:
        return None if dice.random() < 0.04 else other if dice.random() < share else text

    return {
        "customer_id": usually(f"c{customer}", "c0", 0.02),
        "instrument_hash": usually(f"card{customer}", f"card{dice.randrange(4000)}"),
        "device_hash": usually(f"device{customer * 2 // 3}", f"device{dice.randrange(800)}"),
        "ip_hash": usually(f"ip{customer // 2}", f"ip{dice.randrange(50)}", 0.3),
        "ip_country": usually("US", dice.choice(["CA", "MX", "FR"]), 0.05),
        "shipping_address_hash": usually(f"home{customer // 2}", f"home{dice.randrange(400)}"),
        "billing_address_hash": f"home{customer // 2}",
        "email_domain": usually("mail.example", f"mail{customer % 9}.example", 0.5),
        "channel": dice.choice(["web", "app", None]),
        "terminal_id": usually("t0", f"t{customer % 40}", 0.9),
    }


def add_order(shop: Shop, dice: random.Random, order_id: str, at: datetime, values: dict[str, str | None]) -> None:
    customer = values["customer_id"]
    order = {"order_id": order_id, "customer_id": customer, "ordered_at": at, "store_id": None}
    shop.orders.append(order | {"total_amount_cents": None, "currency": "USD"})
    amount = int(dice.lognormvariate(8, 1))
    for attempt in range(dice.choice([1, 1, 1, 1, 2, 3])):
        tried = identity(dice) if attempt and dice.random() < 0.5 else values
        payment = {column: tried[column] for column in TEXT_COLUMNS if column != "customer_id"}
        payment |= {
            "payment_id": f"{order_id}-{dice.randrange(10**6)}",
            "order_id": order_id,
            "account_created_at": None,
        }
        when = at + timedelta(seconds=dice.choice([0, 30, 90]) * attempt)
        outcome = dice.choice(["approved", "approved", "approved", "declined", "failed"])
        shop.payments.append(
            payment | {"attempted_at": when, "amount_cents": amount, "currency": "USD", "outcome": outcome}
        )
    if dice.random() < 0.06:
        add_labels(shop, dice, order_id, at)


def add_labels(shop: Shop, dice: random.Random, order_id: str, at: datetime) -> None:
    end = FIRST_DAY + timedelta(days=DAYS)
    for number in range(dice.choice([1, 1, 2])):
        known_at = at + timedelta(days=dice.expovariate(1 / 6) - 0.1)
        if known_at >= end:
            continue
        label = {"order_id": order_id}
        if dice.random() < 0.7:
            shop.chargebacks.append(
                label
                | {"chargeback_id": f"cb-{order_id}-{number}", "reported_at": known_at, "reason": None}
                | {"is_fraud": dice.choice([True, True, None, False]), "amount_cents": 1, "currency": "USD"}
            )
        else:
            verdict = dice.choice(["fraud", "legitimate"])
            review = {"review_id": f"r-{order_id}-{number}", "decided_at": known_at, "analyst": "a"}
            shop.reviews.append(label | review | {"verdict": verdict})


def posted_events(shop: Shop) -> list[tuple[datetime, str]]:
    """Every payment and label as it is posted, with its moment."""
    customers = {order["order_id"]: order["customer_id"] for order in shop.orders}
    events = []
    for payment in shop.payments:
        row = payment | {"customer_id": customers[payment["order_id"]], "attempted_at": iso(payment["attempted_at"])}
        events.append((payment["attempted_at"], {"type": "payment"} | row))
    for chargeback in shop.chargebacks:
        is_fraud = chargeback["is_fraud"] is not False
        label = {"label_id": chargeback["chargeback_id"], "label_source": "chargeback", "is_fraud": is_fraud}
        label |= {"order_id": chargeback["order_id"], "known_at": iso(chargeback["reported_at"])}
        events.append((chargeback["reported_at"], {"type": "label"} | label))
    for review in shop.reviews:
        label = {"label_id": review["review_id"], "label_source": "review", "is_fraud": review["verdict"] == "fraud"}
        label |= {"order_id": review["order_id"], "known_at": iso(review["decided_at"])}
        events.append((review["decided_at"], {"type": "label"} | label))
    return [(at, json.dumps(event)) for at, event in events]


def iso(at: datetime) -> str:
    return at.isoformat()


def first_attempts(shop: Shop) -> list[OrderEvent]:
    customers = {order["order_id"]: order["customer_id"] for order in shop.orders}
    first: dict[str, Row] = {}
    for payment in sorted(shop.payments, key=lambda row: (row["attempted_at"], row["payment_id"])):
        first.setdefault(payment["order_id"], payment)
    return [
        OrderEvent(order_id, microseconds(row["attempted_at"]), row | {"customer_id": customers[order_id]})
        for order_id, row in first.items()
    ]


def batch_features(shop: Shop, folder: Path) -> dict[str, Features]:
    """Order -> features, by dbt."""
    names = {"orders": shop.orders, "payments": shop.payments, "chargebacks": shop.chargebacks}
    customers = {row["customer_id"] for row in shop.orders if row["customer_id"]}
    names |= {"fraud_reviews": shop.reviews, "customers": [{"customer_id": one} for one in sorted(customers)]}
    tables = {name: pa.Table.from_pylist(rows, CONTRACT[name].schema) for name, rows in names.items()}
    target_day = FIRST_DAY.date() + timedelta(days=DAYS)
    marts = build_fraud_marts(folder, tables, target_day, "UTC").connect()
    columns = ", ".join(declaration().counted_features())
    rows = marts.execute(f"select order_id, {columns} from feat_order_risk").fetchall()  # noqa: S608 - declared names
    return {row[0]: dict(zip(declaration().counted_features(), row[1:], strict=True)) for row in rows}


class Follower:
    """`follow` in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "SHOPWRIGHT_STATE_DIR": str(settings.state_dir),
            "SHOPWRIGHT_SHOP_ID": settings.shop_id,
        }
        if settings.state_url:
            environment["SHOPWRIGHT_STATE_URL"] = settings.state_url.get_secret_value()
        self._environment = environment
        self._settings = settings
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", "from ml.cli.fraud.events import follow; follow()"]
        self._process = subprocess.Popen(command, env=self._environment, cwd=Path(__file__).resolve().parents[2])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def wait_until_caught_up(self) -> None:
        end = ServingLog.from_settings(self._settings).end()
        state = open_state_store(self._settings, state_digest(declaration()), is_writer=True)
        ends_at = time.monotonic() + _CAUGHT_UP_SECONDS
        while time.monotonic() < ends_at:
            assert self._process.poll() is None, "the follower ended"
            position = state.position()
            if position is not None and position.applied == end:
                return
            time.sleep(0.05)
        raise AssertionError(f"the follower did not reach position {end}")


@contextmanager
def following(settings: Settings) -> Iterator[Follower]:
    follower = Follower(settings)
    try:
        yield follower
    finally:
        follower.kill()


def online_features(shop: Shop, settings: Settings) -> dict[str, Features]:
    """Order -> features, of the orders of the last day before each fourth day's end, read when the state is there."""
    dice = random.Random(SEED)  # noqa: S311 - an order of arrival
    events, orders = posted_events(shop), first_attempts(shop)
    reader = open_state_store(settings, state_digest(declaration()), is_writer=True)
    found: dict[str, Features] = {}
    with following(settings) as follower:
        start, end = FIRST_DAY - timedelta(days=30), FIRST_DAY
        while end < FIRST_DAY + timedelta(days=DAYS):
            start, end = (start if end == FIRST_DAY else end), end + SEGMENT
            arriving = [event for at, event in events if start <= at < end]
            arriving += dice.sample(arriving, len(arriving) // 20)
            dice.shuffle(arriving)
            half = len(arriving) // 2
            assert post_events(settings, arriving[:half], end).refused == []
            if len(found) < 500:
                follower.kill()
                follower.start()
            assert post_events(settings, arriving[half:], end).refused == []
            follower.wait_until_caught_up()
            asked = window_of_questions(orders, end)
            found |= {order.order_id: features_of(reader, order, declaration()) for order in asked}
    return found


def window_of_questions(orders: Sequence[OrderEvent], end: datetime) -> list[OrderEvent]:
    newest = microseconds(end)
    return [order for order in orders if newest - 86_400_000_000 <= order.attempted_at < newest]


def unequal(batch: Mapping[str, Features], online: Mapping[str, Features]) -> dict[str, float]:
    """Feature -> share of the orders for which the two differ, of those that differ at all."""
    shares = {}
    for name in declaration().counted_features():
        differing = sum(not equal(batch[order_id][name], online[order_id][name]) for order_id in online)
        if differing:
            shares[name] = differing / len(online)
    return shares


def equal(batch: float | None, online: float | None) -> bool:
    if batch is None or online is None:
        return batch is None and online is None
    if isinstance(batch, int) and isinstance(online, int):
        return batch == online
    return math.isclose(batch, online, rel_tol=FLOAT_TOLERANCE, abs_tol=FLOAT_TOLERANCE)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return made_up_shop(SEED)


@pytest.fixture(scope="module")
def batch(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Features]:
    return batch_features(shop, tmp_path_factory.mktemp("batch"))


@pytest.fixture(scope="module", params=["sqlite", pytest.param("redis", marks=pytest.mark.full)])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    given = {"_env_file": None, "state_dir": tmp_path_factory.mktemp("online"), "shop_id": "smallshop"}
    if request.param == "sqlite":
        yield Settings(**given)
        return
    with private_redis(find_binary) as server:
        yield Settings(**given, state_url=server.url)


@pytest.fixture(scope="module")
def online(shop: Shop, settings: Settings) -> dict[str, Features]:
    return online_features(shop, settings)


def test_batch_and_online_are_equal(batch: dict[str, Features], online: dict[str, Features]) -> None:
    values = len(online) * len(declaration().counted_features())
    assert values >= LEAST_VALUES
    told = [value for features in online.values() for value in features.values() if value]
    assert len(told) > values / 4, "the shop is too empty to compare anything"
    shares = {name: share for name, share in unequal(batch, online).items() if share > 1 - LEAST_EQUAL}
    assert shares == {}


class InMemory:
    """A state without a store."""

    def __init__(self) -> None:
        self.records: dict[str, bytes] = {}

    def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        return {key: self.records[key] for key in keys if key in self.records}


def last_questions(shop: Shop) -> list[OrderEvent]:
    return window_of_questions(first_attempts(shop), FIRST_DAY + timedelta(days=DAYS))


@pytest.mark.parametrize("window", ["10m", "1h", "1d"])
def test_a_window_that_is_a_minute_longer_is_noticed(
    shop: Shop, batch: dict[str, Features], online: dict[str, Features], settings: Settings, window: str
) -> None:
    seconds = {**declaration().window_seconds}
    seconds[window] += 60
    skewed = replace(declaration(), window_seconds=seconds)
    assert online
    with pytest.raises(StateUnavailable, match="another declaration"):
        features_of(open_state_store(settings, state_digest(skewed)), last_questions(shop)[0], skewed)
    reader = open_state_store(settings, state_digest(declaration()), is_writer=True)
    assert unequal(batch, {one.order_id: features_of(reader, one, skewed) for one in last_questions(shop)})


def skewed_state(shop: Shop, later: timedelta, declared: Declaration) -> dict[str, Features]:
    """What a state tells whose labels became known earlier or later than they did."""
    state, events = InMemory(), [parse_event(event, None, "USD") for _, event in posted_events(shop)]
    shift = later // timedelta(microseconds=1)
    moved = [
        event if isinstance(event, OrderEvent) else replace(event, known_at=event.known_at + shift) for event in events
    ]
    state.records |= {key: one for key, one in apply_events(state, moved, declared).items() if one is not None}
    return {one.order_id: features_of(state, one, declared) for one in last_questions(shop)}


def test_a_label_known_a_day_early_is_noticed(shop: Shop, batch: dict[str, Features]) -> None:
    shares = unequal(batch, skewed_state(shop, -timedelta(days=1), declaration()))
    assert shares
    assert all("fraud" in name for name in shares)
