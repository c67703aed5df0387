"""What happened lately, as each process counts it from the log."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ml.serving import recent_orders
from ml.serving.decision_record import moment_of
from ml.serving.recent import Recent, seen_of
from ml.stores.serving_log import Entry, ServingLog, Spend
from tests.fraud_serving import NOON, attempt, of_shop

CUSTOMER, INSTRUMENT, DEVICE = (f"count_orders_{entity}_1d" for entity in ("customer", "instrument", "device"))


def declined(rule: str, *, capped: bool = False) -> list[dict[str, Any]]:
    return [{"rule": rule, "kind": "rule", "matched": True, "action": "decline", "capped": capped}]


def entry(
    number: int, trace: list[dict[str, Any]] | None = None, spends: tuple[Spend, ...] = (), **fields: Any
) -> Entry:
    """A decision as it is kept, with what is looked at here."""
    one, digest = attempt(number, **fields)
    at = moment_of(one.event.attempted_at)
    posted = {"order_id": one.event.order_id, "attempted_at": at.isoformat(), **one.event.values}
    body = json.dumps({"attempt": posted, "explained": {"rule_trace": trace or []}})
    return Entry("decision", f"d{number}", body, digest, at, spends)


@pytest.fixture
def log(tmp_path: Path) -> ServingLog:
    return ServingLog.from_settings(of_shop(tmp_path))


@pytest.fixture
def follow(tmp_path: Path, log: ServingLog) -> Iterator[Callable[[], Recent]]:
    made: list[Recent] = []

    def start() -> Recent:
        made.append(Recent(of_shop(tmp_path), log))
        made[-1].start()
        until(lambda: made[-1].is_ready)
        return made[-1]

    yield start
    for one in made:
        one.stop()


def until(holds: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends_at, "it never came to hold"
        time.sleep(0.01)


def test_unknown_before_the_log_was_read(tmp_path: Path, log: ServingLog) -> None:
    log.append([entry(1)])
    assert Recent(of_shop(tmp_path), log).velocities(attempt(2)[0].event) is None


def test_other_orders_of_the_day_before_by_who_and_what(log: ServingLog, follow: Callable[[], Recent]) -> None:
    day_before = (NOON - timedelta(hours=25)).isoformat()
    log.append(
        [
            entry(1, customer_id="c"),
            entry(2, customer_id="c", device_hash="d"),
            entry(3, customer_id="c", attempted_at=day_before),
        ]
    )
    found = follow().velocities(attempt(4, customer_id="c", device_hash="d")[0].event)
    assert found == {CUSTOMER: 2, INSTRUMENT: 0, DEVICE: 1}


def test_the_order_itself_and_later_ones_do_not_count(log: ServingLog, follow: Callable[[], Recent]) -> None:
    log.append([entry(5, customer_id="c"), entry(6, customer_id="c")])
    found = follow().velocities(attempt(5, payment_id="again", customer_id="c")[0].event)
    assert found is not None
    assert found[CUSTOMER] == 0


def test_an_order_of_long_ago_is_unknown_not_zero(log: ServingLog, follow: Callable[[], Recent]) -> None:
    log.append([entry(1)])
    old = attempt(2, attempted_at=(NOON - timedelta(days=3)).isoformat())[0].event
    assert follow().velocities(old) is None


def test_a_payment_that_another_process_took_in_counts_too(log: ServingLog, follow: Callable[[], Recent]) -> None:
    running = follow()
    body = json.dumps({"order_id": "posted", "attempted_at": NOON.isoformat(), "customer_id": "c"})
    log.append([Entry("payment", "p", body, "0" * 64, NOON)])
    until(lambda: (running.velocities(attempt(1, customer_id="c")[0].event) or {}).get(CUSTOMER) == 1)


def test_ones_own_decision_counts_at_once_and_once(log: ServingLog, follow: Callable[[], Recent]) -> None:
    running = follow()
    running.stop()  # nothing is read from here on
    outcome = log.append([entry(1, customer_id="c")])[0]
    own = seen_of(attempt(1, customer_id="c")[0].event, [])
    running.note_attempt(own)
    running.note_own(outcome.position, own, "2024-03-10", ())
    found = running.velocities(attempt(2, customer_id="c")[0].event)
    assert found is not None
    assert found[CUSTOMER] == 1


def test_declines_by_rules_that_were_carried_out_are_counted_once_an_order(
    log: ServingLog, follow: Callable[[], Recent]
) -> None:
    log.append(
        [
            entry(1, declined("testing")),
            entry(2, declined("testing"), order_id="o0001"),
            entry(3, declined("testing", capped=True)),
            entry(4),
        ]
    )
    history = follow().history()
    first, third, fourth = (attempt(number)[0].event.attempted_at * 1000 for number in (1, 3, 4))
    assert {rule: list(moments) for rule, moments in history.declines.items()} == {"testing": [first]}
    assert list(history.orders) == [first, third, fourth]


def test_what_a_day_has_used_up_is_that_of_all_processes(log: ServingLog, follow: Callable[[], Recent]) -> None:
    running = follow()
    day = "2024-03-10"
    assert running.use_of([day])[day].standin_cents == 0
    log.append([entry(1, spends=(Spend("standin_cents", day, 700, 1000), Spend("reviews", day, 1, 20)))])
    until(lambda: running.use_of([day])[day].standin_cents == 700)
    assert running.use_of([day])[day].reviews == 1


def test_memory_holds_two_days_and_no_more(
    log: ServingLog, follow: Callable[[], Recent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_orders, "_TIDY_AT", 3)
    monkeypatch.setattr(recent_orders, "_BLOCK_ROWS", 4)
    running = follow()
    for number in range(40):
        at: datetime = NOON + timedelta(hours=12 * number)
        seen = seen_of(attempt(number, customer_id="c", attempted_at=at.isoformat())[0].event, declined("testing"))
        running.note_attempt(seen)
        running.note_own(10**6 + number, seen, "2024-03-10", ())
    assert len(running._orders._blocks) <= 3  # the five orders of 48 hours
    assert len(running.history().orders) <= 8
    remembered = (running._decided._orders, running._decided._earlier)
    assert sum(len(orders._newest) + 4 * len(orders._blocks) for orders in remembered) <= 8
    last = attempt(50, customer_id="c", attempted_at=at.isoformat())[0].event
    assert running.velocities(last) == {CUSTOMER: 3, INSTRUMENT: 0, DEVICE: 0}


def test_orders_are_counted_over_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_orders, "_BLOCK_ROWS", 4)
    orders, random = recent_orders.RecentOrders(("customer_id",), kept_us=10**6), Random(7)  # noqa: S311 - not for secrets
    noted = [(f"o{random.randrange(30)}", random.randrange(100), f"c{random.randrange(3)}") for _ in range(99)]
    for order_id, at, customer in noted:
        orders.note(order_id, at, {"customer_id": customer})
    assert orders.count("customer_id", "c1", 20, 60, but="o3") == len(
        {one for one, at, customer in noted if customer == "c1" and 20 <= at <= 60 and one != "o3"}
    )


def test_each_order_is_one_moment_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_orders, "_BLOCK_ROWS", 4)
    moments, random = recent_orders.Moments(), Random(7)  # noqa: S311 - not for secrets
    first = {}
    for at in range(200):
        order_id = f"o{random.randrange(60)}"
        moments.count(order_id, at, window_ns=10**6)
        first.setdefault(order_id, at)
    assert list(moments.sorted) == sorted(first.values())


@pytest.mark.parametrize("body", ["{", "5", "null", "{}", '{"attempt":{}}', '{"attempt":null}', "[1,2,3]"])
def test_what_cannot_be_read_is_passed_over(body: str, log: ServingLog, follow: Callable[[], Recent]) -> None:
    running = follow()
    unreadable = [Entry(kind, "unreadable", body, "0" * 64, NOON) for kind in ("payment", "decision")]
    log.append([*unreadable, entry(1, customer_id="c")])
    asked = attempt(2, customer_id="c")[0].event
    until(lambda: (running.velocities(asked) or {}).get(CUSTOMER) == 1)
    assert follow().velocities(asked) == running.velocities(asked)  # who reads all of it anew


def test_all_of_a_long_history_is_counted(
    log: ServingLog, follow: Callable[[], Recent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.serving.recent._AT_ONCE", 3)
    running = follow()
    log.append([entry(number, customer_id="c") for number in range(1, 9)])
    log.append([Entry("interaction", str(number), "{}", "0" * 64, NOON) for number in range(5)])
    asked = attempt(9, customer_id="c")[0].event
    until(lambda: (running.velocities(asked) or {}).get(CUSTOMER) == 8)
    until(lambda: running._position == log.end())


def test_an_order_that_was_noted_twice_counts_once(log: ServingLog, follow: Callable[[], Recent]) -> None:
    running = follow()
    for minutes in (0, 1):
        at = (NOON + timedelta(minutes=minutes)).isoformat()
        event = attempt(1, payment_id=f"p{minutes}", customer_id="c", attempted_at=at)[0].event
        running.note_attempt(seen_of(event, None))
    later = (NOON + timedelta(hours=1)).isoformat()
    found = running.velocities(attempt(2, customer_id="c", attempted_at=later)[0].event)
    assert found is not None
    assert found[CUSTOMER] == 1
