"""The operational record: upserts on natural keys, and one open incident whoever comes first."""

import multiprocessing
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from ml.alerts.incidents import open_incident
from ml.settings import Settings
from ml.stores.operations import Operations, alerts, gate_verdicts, incidents, monitor_states

RULES = [f"rule_{number}" for number in range(20)]
PROCESSES = 3


@pytest.fixture
def settings(configure) -> Settings:
    return configure()


@pytest.fixture
def operations(settings) -> Operations:
    return Operations.from_settings(settings)


def record(operations: Operations, **changes: object) -> None:
    row = {"gate": "arrivals", "object": "orders", "batch_id": "b1", "partition": "2017-11-20", "status": "passed"}
    operations.record_verdict(**{**row, "rules": [], **changes})


def test_the_same_verdict_twice_is_one_row_with_the_newer_content(operations):
    record(operations)
    record(operations, status="failed", rules=[{"rule": "row_count"}])
    record(operations, batch_id="b2")
    rows = operations.rows(gate_verdicts)
    assert [(row["batch_id"], row["status"], row["rules"]) for row in rows] == [
        ("b1", "failed", [{"rule": "row_count"}]),
        ("b2", "passed", []),
    ]


def test_a_limit_gives_the_newest_in_the_order_of_their_making(operations):
    for number in range(4):
        record(operations, batch_id=f"b{number}")
    assert [row["batch_id"] for row in operations.rows(gate_verdicts, limit=2)] == ["b2", "b3"]


def test_moments_come_back_aware_and_in_utc(operations):
    berlin = datetime(2026, 1, 5, 13, tzinfo=timezone(timedelta(hours=1)))
    record(operations, judged_at=berlin)
    (row,) = operations.rows(gate_verdicts)
    assert row["judged_at"] == datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert row["judged_at"].tzinfo is UTC


def test_states_of_a_day_are_replaced_as_a_whole_and_others_stay(operations):
    def state(monitor: str, name: str, level: str = "ok") -> dict:
        return {"monitor": monitor, "object": name, "state": level, "detail": {}}

    operations.replace_monitor_states("2017-11-20", ["feature_drift"], [state("feature_drift", name) for name in "ab"])
    operations.record_monitor_state(partition="2017-11-20", **state("scrub", "raw"))
    operations.replace_monitor_states("2017-11-21", ["feature_drift"], [state("feature_drift", "a")])
    operations.replace_monitor_states("2017-11-20", ["feature_drift"], [state("feature_drift", "b", "alert")])
    found = {(row["partition"], row["object"], row["state"]) for row in operations.rows(monitor_states)}
    assert found == {("2017-11-20", "b", "alert"), ("2017-11-20", "raw", "ok"), ("2017-11-21", "a", "ok")}


def test_the_database_itself_refuses_a_second_open_incident(operations):
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    row = {
        "kind": "drift",
        "object": "recommender",
        "rule": "score_drift",
        "state": "open",
        "severity": "alert",
        "title": "t",
        "body": "b",
        "opened_partition": "2017-11-20",
        "last_partition": "2017-11-20",
        "opened_at": moment,
        "last_seen_at": moment,
    }
    with operations.transaction() as connection:
        connection.execute(incidents.insert().values(**row))
    with pytest.raises(IntegrityError), operations.transaction() as connection:
        connection.execute(incidents.insert().values(**row))
    with operations.transaction() as connection:
        connection.execute(incidents.insert().values(**{**row, "state": "closed"}))
    assert [row["state"] for row in operations.rows(incidents)] == ["open", "closed"]


def test_a_failed_transaction_leaves_nothing(operations):
    with pytest.raises(RuntimeError), operations.transaction() as connection:
        connection.execute(
            gate_verdicts.insert().values(
                gate="arrivals",
                object="orders",
                batch_id="b1",
                partition="2017-11-20",
                status="passed",
                rules=[],
                judged_at=datetime(2026, 1, 5, tzinfo=UTC),
            )
        )
        raise RuntimeError
    assert operations.rows(gate_verdicts) == []


def _open_all(settings: Settings, barrier, results) -> None:
    barrier.wait(60)
    operations = Operations.from_settings(settings)  # also races for the creation of the tables
    told = {"kind": "gate_failed", "object": "orders", "severity": "alert", "title": "failed", "body": "12 rows"}
    results.put([open_incident(operations, rule=rule, partition=date(2017, 11, 20), **told) for rule in RULES])


def test_processes_that_find_the_same_incident_at_once_store_one_alert(settings):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    workers = [context.Process(target=_open_all, args=(settings, barrier, results)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    told = [results.get(timeout=120) for _worker in workers]
    for worker in workers:
        worker.join()
    operations = Operations.from_settings(settings)
    assert [sum(of_rule) for of_rule in zip(*told, strict=True)] == [1] * len(RULES)
    assert [row["rule"] for row in operations.rows(incidents, state="open", count=1)] != []
    assert sorted(row["rule"] for row in operations.rows(incidents)) == sorted(RULES)
    assert len(operations.rows(alerts)) == len(RULES)


def test_the_database_lies_in_the_shops_folder_in_wal_mode(settings, operations):
    assert (settings.shop_dir / "operations.db").exists()
    with operations.transaction() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
    assert Path(str(operations.engine.url.database)) == settings.shop_dir / "operations.db"
