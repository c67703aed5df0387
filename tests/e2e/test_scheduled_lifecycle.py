"""Through the real scheduler: backfill in any order, a bad day, a killed task, and who can reach it.

The tests share one Airflow and one shop; each uses days of its own.
"""

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from ml.embedded.asking import Api
from ml.embedded.processes import members, read_leaders
from ml.settings import PREFIX
from ml.shop.breakages import renamed_column
from ml.shop.generated import day_file
from ml.stores.fraud_tables import decisions
from ml.stores.operations import alerts, gate_verdicts, incidents, monitor_states, promotions
from ml.stores.warehouse import marts_store
from tests.e2e.conftest import FIRST_DAY, HISTORY_DAYS, LAST_HISTORY_DAY, Platform, await_it, run_python, shop_settings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

KEYS = [(FIRST_DAY + timedelta(days=offset)).isoformat() for offset in range(HISTORY_DAYS)]
BAD_DAY = LAST_HISTORY_DAY + timedelta(days=1)
KILLED_DAY = LAST_HISTORY_DAY + timedelta(days=2)

LOAD_AT_ONCE = f"""
from datetime import date
from ml.cli import features, ingest, warehouse
first, last = date.fromisoformat({KEYS[0]!r}), date.fromisoformat({KEYS[-1]!r})
ingest.land_days(first, last)
for step in (ingest.gate_arrivals, warehouse.build_models, warehouse.gate_marts, warehouse.publish_marts,
             features.materialize_features):
    step(last)
"""


def _end_state(environment: dict[str, str], file: Path) -> dict:
    run_python(
        f"import runpy, sys; sys.argv = ['end_state', {str(file)!r}]; "
        "runpy.run_module('tests.e2e.end_state', run_name='__main__')",
        environment,
    )
    return json.loads(file.read_text())


def _environment(platform: Platform) -> dict[str, str]:
    return {name: value for name, value in platform.stack.processes.environment.items() if name.startswith(PREFIX)}


@pytest.fixture(scope="module")
def backfilled(platform: Platform) -> Platform:
    """Eight days through `airflow backfill create`, the last one first."""
    subprocess.run(
        [
            *(sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", "shop_ingest"),
            *("--from-date", KEYS[0], "--to-date", KEYS[-1], "--run-backwards"),
        ],
        env=platform.stack.processes.environment,
        check=True,
        capture_output=True,
    )
    for key in KEYS:
        assert platform.await_run("features_materialize", key, seconds=900).state == "success"
    return platform


def test_days_in_any_order_end_like_one_load(backfilled, tmp_path):
    at_once = shop_settings(backfilled.shop, tmp_path / "state")
    run_python(LOAD_AT_ONCE, at_once)
    by_day = _end_state(_environment(backfilled), tmp_path / "by_day.json")
    expected = _end_state(at_once, tmp_path / "at_once.json")
    assert expected["raw"]["order_lines"]["rows"] > 500
    assert any(name.startswith("order_lines: ") for name in expected["quarantine"])
    assert by_day == expected


def test_runs_were_started_in_another_order_than_the_days(backfilled):
    """The comparison above would prove little if the days had come in order."""
    runs = {run.partition_key: run.started_at for run in backfilled.stack.airflow.runs("shop_ingest")}
    assert set(runs) >= set(KEYS)
    assert sorted(KEYS, key=runs.get) != KEYS


def test_without_a_champion_publishing_is_green_and_nothing_follows(backfilled):
    run = backfilled.await_run("recommender_publish", KEYS[-1])
    assert run.state == "success"
    assert [task.state for task in backfilled.stack.airflow.tasks(run)] == ["skipped"]
    assert backfilled.stack.airflow.runs("monitoring_check") == []


def test_the_week_of_the_backfill_started_one_training(backfilled):
    """1 to 7 April is a full week, 8 April is not."""
    assert [run.partition_key for run in backfilled.stack.airflow.runs("recommender_train")] == ["week-2024-04-01"]


def test_fraud_has_nothing_to_learn_from_a_week_and_history_waits_for_it(backfilled):
    """Green and skipped: rules, lists and the stand-in decide from the first day after the history."""
    trained = backfilled.await_run("fraud_train", "week-2024-04-01")
    assert trained.state == "success"
    assert {task.state for task in backfilled.stack.airflow.tasks(trained)} == {"skipped"}
    for key in KEYS:
        scored = backfilled.await_run("fraud_score_backfill", key)
        assert scored.state == "success"
        states = {task.task_id: task.state for task in backfilled.stack.airflow.tasks(scored)}
        assert states.pop("feed_state") == "success"  # the state of features knows history before any model does
        assert set(states.values()) == {"skipped"}
    labels = backfilled.await_run("fraud_labels_ingest", KEYS[-1])
    assert [task.state for task in backfilled.stack.airflow.tasks(labels)] == ["success"]
    assert backfilled.operations.rows(decisions) == []
    assert backfilled.operations.rows(promotions, product="fraud") == []


def test_a_bad_batch_stops_the_chain_and_alerts_once(backfilled):
    store = marts_store(backfilled.settings)
    before = store.current().id
    good = day_file(backfilled.shop, "order_lines", BAD_DAY).read_bytes()
    assert renamed_column(backfilled.shop, BAD_DAY) > 0
    backfilled.stack.airflow.trigger("shop_ingest", BAD_DAY.isoformat())
    run = backfilled.await_run("shop_ingest", BAD_DAY.isoformat())
    assert run.state == "failed"
    tasks = {task.task_id: task for task in backfilled.stack.airflow.tasks(run)}
    assert (tasks["gate_arrivals"].state, tasks["gate_arrivals"].try_number) == ("failed", 1)  # a verdict, no retry

    verdict = backfilled.operations.rows(gate_verdicts, gate="arrivals", object="order_lines")[-1]
    assert (verdict["partition"], verdict["status"], verdict["rows_published"]) == (BAD_DAY.isoformat(), "failed", 0)
    opened = backfilled.operations.rows(incidents, state="open", last_partition=BAD_DAY.isoformat())
    assert {(row["kind"], row["object"]) for row in opened} == {("schema_changed", "order_lines")}
    told = [
        alert for alert in backfilled.operations.rows(alerts) if alert["incident_id"] in {row["id"] for row in opened}
    ]
    assert len(told) == len(opened) >= 1

    assert backfilled.stack.airflow.runs("warehouse_build", BAD_DAY.isoformat()) == []
    assert store.current().id == before
    day_file(backfilled.shop, "order_lines", BAD_DAY).write_bytes(good)


def test_a_killed_task_alerts_and_its_retry_recovers(backfilled):
    backfilled.stack.airflow.trigger("shop_ingest", KILLED_DAY.isoformat())
    pid = await_it(lambda: _pid_of_running(backfilled, "warehouse_build", "build_models"), 120, "a running dbt build")
    os.kill(pid, signal.SIGKILL)

    def incident_of(state: str) -> dict | None:
        found = backfilled.operations.rows(incidents, kind="task_failed", object="warehouse_build.build_models")
        return next((row for row in found if row["state"] == state), None)

    opened = await_it(lambda: incident_of("open"), 60, "the alert of the killed task")
    assert opened["last_partition"] == KILLED_DAY.isoformat()
    assert backfilled.await_run("warehouse_build", KILLED_DAY.isoformat()).state == "success"
    await_it(lambda: incident_of("closed"), 30, "the alert's recovery")
    deliveries = await_it(lambda: _deliveries(backfilled, opened["id"]), 30, "both alerts' delivery")
    assert deliveries == ["unrouted", "unrouted"]  # no route is configured: the console got them


def test_without_a_model_orders_are_decided_all_the_same(backfilled):
    """After the day before: its marts started the run."""
    key = KILLED_DAY.isoformat()
    run = backfilled.await_run("fraud_score_backfill", key)
    assert run.state == "success"
    assert {task.state for task in backfilled.stack.airflow.tasks(run)} == {"success"}
    decided = backfilled.operations.rows(decisions)
    assert {row["partition"] for row in decided} >= {key}
    assert {row["model_version"] for row in decided} == {None}
    assert {row["source"] for row in decided} <= {"standin", "rule", "list"}
    drift = backfilled.operations.rows(monitor_states, monitor="data_drift", object="fraud", partition=key)
    assert [(row["state"], row["detail"]["expected"]) for row in drift] == [("unknown", True)]


def _deliveries(platform: Platform, incident_id: int) -> list[str] | None:
    found = [row["delivery"] for row in platform.operations.rows(alerts, incident_id=incident_id)]
    return found if len(found) == 2 and "pending" not in found else None


def _pid_of_running(platform: Platform, dag_id: str, task_id: str) -> int | None:
    for run in platform.stack.airflow.runs(dag_id, KILLED_DAY.isoformat()):
        for task in platform.stack.airflow.tasks(run):
            if task.task_id == task_id and task.state == "running":
                return task.pid
    return None


def test_nothing_listens_but_on_loopback(platform):
    listening = []
    ours = members(read_leaders(platform.stack.layout.processes))
    children = [child for process in ours for child in process.children(recursive=True)]  # the API's have own sessions
    for process in {*ours, *children}:
        try:
            listening += [
                found.laddr for found in process.net_connections("inet") if found.status == psutil.CONN_LISTEN
            ]
        except psutil.NoSuchProcess:
            continue
    assert {address.ip for address in listening} == {"127.0.0.1"}
    ports = platform.stack.ports
    assert {address.port for address in listening} >= {ports.airflow, ports.mlflow, ports.serving}


def test_the_api_answers_from_the_first_minute_by_its_ladders(backfilled):
    """No champion, no lists: it says so with every answer, and none of them is an error."""
    api = Api(backfilled.stack.ports.serving_url, backfilled.stack.layout)
    payment = {
        "payment_id": "asked-1",
        "order_id": "asked-1",
        "attempted_at": f"{KILLED_DAY + timedelta(days=1)}T12:00:00-04:00",
        "amount_cents": 1000,
        "currency": "USD",
    }
    decided = api.ask("/v1/fraud/decisions", payment)
    assert (decided["step"], decided["degraded"], decided["model_version"]) == ("standin", True, None)
    assert api.ask("/v1/fraud/decisions", payment) == decided
    shown = api.ask("/v1/recommendations/anybody?k=3")
    assert shown["step"] in ("popular", "static")
    assert api.ask("/healthz") == {"status": "ok"}
