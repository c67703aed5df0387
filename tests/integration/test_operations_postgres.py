"""The operational record on PostgreSQL: the same code, the same promises as on SQLite."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from ml.alerts import incidents as incidents_module
from ml.alerts import notify
from ml.alerts.incidents import close_incident, open_incident, store_due_reminders
from ml.settings import Settings, wall_clock
from ml.stores.operations import Operations, alerts, gate_verdicts, incidents, metadata, monitor_states

KEY = {"kind": "gate_failed", "object": "orders", "rule": "row_count"}
WRITERS = 8


@pytest.fixture
def settings(configure: Callable[..., Settings], server_url: str) -> Settings:
    return configure(operations_url=server_url)


@pytest.fixture
def operations(settings: Settings) -> Iterator[Operations]:
    operations = Operations.from_settings(settings)
    yield operations
    metadata.drop_all(operations.engine)
    operations.engine.dispose()


def fail(operations: Operations, day: int, **changes: str) -> bool:
    told = {"severity": "alert", "title": "orders failed", "body": "12 rows", **KEY, **changes}
    return open_incident(operations, partition=date(2017, 11, day), **told)


def succeed(operations: Operations, day: int) -> bool:
    return close_incident(operations, partition=date(2017, 11, day), **KEY)


def at_once(work: Callable[[int], object]) -> list:
    """Run the work in several threads that start together, each with a connection of its own."""
    barrier = threading.Barrier(WRITERS)

    def run(number: int) -> object:
        barrier.wait(60)
        return work(number)

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(run, range(WRITERS)))


def test_the_settings_lead_to_this_server(operations):
    assert operations.engine.dialect.name == "postgresql"


def test_an_incident_lives_as_on_sqlite(operations, monkeypatch):
    assert [fail(operations, day) for day in (20, 20, 21)] == [True, False, False]
    assert operations.rows(incidents)[0]["count"] == 2
    assert [succeed(operations, day) for day in (20, 21, 21)] == [False, True, False]
    assert [fail(operations, day) for day in (20, 22)] == [False, True]
    monkeypatch.setattr(incidents_module, "wall_clock", lambda: wall_clock() + timedelta(hours=25))
    assert [store_due_reminders(operations), store_due_reminders(operations)] == [1, 0]
    assert [row["purpose"] for row in operations.rows(alerts)] == ["opened", "closed", "opened", "reminder"]


def test_writers_that_find_the_same_incident_at_once_store_one_alert(operations):
    told = at_once(lambda _number: fail(operations, 20))
    assert sorted(told) == [False] * (WRITERS - 1) + [True]
    assert len(operations.rows(incidents)) == len(operations.rows(alerts)) == 1


def test_days_that_fail_at_once_are_all_counted(operations):
    at_once(lambda number: fail(operations, 10 + number))
    (incident,) = operations.rows(incidents)
    assert (incident["count"], incident["last_partition"]) == (WRITERS, f"2017-11-{10 + WRITERS - 1}")


def test_opening_and_closing_at_once_leaves_no_two_open(operations):
    def flap(number: int) -> None:
        for day in range(1, 16):
            fail(operations, day) if number % 2 else succeed(operations, day)

    at_once(flap)
    assert len(operations.rows(incidents, state="open")) <= 1
    purposes = [row["purpose"] for row in operations.rows(alerts)]
    assert purposes.count("opened") == len(operations.rows(incidents))
    assert purposes.count("closed") == len(operations.rows(incidents, state="closed"))


def test_tables_are_created_once_by_whoever_comes_first(operations, settings):
    metadata.drop_all(operations.engine)

    def connect(_number: int) -> int:
        mine = Operations.from_settings(settings)
        try:
            return len(mine.rows(incidents))
        finally:
            mine.engine.dispose()

    assert at_once(connect) == [0] * WRITERS


def test_an_alert_is_sent_once_by_two_senders(operations, configure, server_url, monkeypatch):
    fail(operations, 20)
    sent: list[str] = []
    monkeypatch.setattr(notify, "send", lambda route, _message: sent.append(route.name))
    settings = configure(operations_url=server_url, alert_urls='["json://hook.test"]')
    at_once(lambda _number: notify.deliver(operations, settings))
    assert sent == ["1-json"]
    assert operations.rows(alerts)[0]["delivery"] == "sent"


def test_verdicts_and_states_are_replaced_by_their_key(operations):
    berlin = datetime(2026, 1, 5, 13, tzinfo=timezone(timedelta(hours=1)))
    verdict = {"gate": "arrivals", "object": "orders", "batch_id": "b1", "partition": "2017-11-20", "rules": []}
    for status in ("failed", "passed"):
        operations.record_verdict(status=status, judged_at=berlin, **verdict)
    (row,) = operations.rows(gate_verdicts)
    assert (row["status"], row["judged_at"]) == ("passed", datetime(2026, 1, 5, 12, tzinfo=UTC))
    for name in ("a", "b"):
        state = {"monitor": "feature_drift", "object": name, "state": "ok", "detail": {"warn": 0.1}}
        operations.replace_monitor_states("2017-11-20", ["feature_drift"], [state])
    assert [(row["object"], row["detail"]) for row in operations.rows(monitor_states)] == [("b", {"warn": 0.1})]


def test_the_session_has_no_open_transaction_left(operations):
    fail(operations, 20)
    with operations.transaction() as connection:
        query = text("select count(*) from pg_stat_activity where state = 'idle in transaction'")
        assert connection.execute(query).scalar() == 0
