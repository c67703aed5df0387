"""Lineage events of the DAGs' own tasks, run for real, and what becomes of them when nobody takes them."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

import pytest
from click.testing import CliRunner
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    data_quality_assertions_dataset,
    data_quality_metrics_input_dataset,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    parent_run,
    schema_dataset,
)

from ml.cli.monitoring import monitor
from ml.embedded.airflow_home import DAGS_DIR
from ml.lineage import delivery
from ml.lineage.delivery import Delivery, deliver, events_path, note
from ml.lineage.events import PartitionRunFacet
from ml.settings import PROJECT_DIR
from ml.shop.breakages import renamed_column
from ml.shop.generated import small_shop
from ml.stores.operations import Operations, monitor_states

FIRST_DAY, HISTORY_END, NEXT_DAY, BAD_DAY = (date(2024, 1, 1), date(2024, 2, 11), date(2024, 2, 12), date(2024, 2, 13))
FACETS = {
    "columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet,
    "dataQualityAssertions": data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet,
    "dataQualityMetrics": data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet,
    "errorMessage": error_message_run.ErrorMessageRunFacet,
    "jobType": job_type_job.JobTypeJobFacet,
    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    "parent": parent_run.ParentRunFacet,
    "schema": schema_dataset.SchemaDatasetFacet,
    "shopwright_partition": PartitionRunFacet,
    "version": dataset_version_dataset.DatasetVersionDatasetFacet,
}

# Runs tasks as Airflow's own runner does, each with the settings given for it.
_RUN = """
import contextvars, importlib, json, os, sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.execution_time.context import set_current_context

from ml.settings import get_settings

def run(dag_id, task_id, key, params):
    task = getattr(importlib.import_module(dag_id), dag_id)().get_task(task_id)
    ti = SimpleNamespace(dag_id=dag_id, task_id=task_id, run_id=f"manual__{key}", try_number=1)
    context = {"dag_run": SimpleNamespace(partition_key=key, run_id=f"manual__{key}"), "ti": ti, "params": params}
    def execute():
        ExecutorSafeguard.tracker.set(task)
        with set_current_context(context):
            task.execute(context)
    try:
        contextvars.copy_context().run(execute)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "passed"

outcomes = []
for step in json.loads(sys.argv[2]):
    os.environ.update(step["settings"])
    get_settings.cache_clear()
    outcomes.append(run(step["dag"], step["task"], step["key"], {"first_day": step["first_day"]}))
Path(sys.argv[3]).write_text(json.dumps(outcomes))
"""


class _Collector(BaseHTTPRequestHandler):
    """Takes events on any path but /broken."""

    taken: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            threading.Event().wait(5)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/api/v1/lineage")
        elif self.path == "/broken":
            self.send_response(503)
        else:
            self.taken.append((self.path, json.loads(body)))
            self.send_response(201)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, server: str) -> SimpleNamespace:
    """A shop's history and two more days through the tasks: told to the file, to a server, to one that refuses."""
    folder = tmp_path_factory.mktemp("lineage")
    shop = folder / "shop"
    small_shop(shop, FIRST_DAY, (BAD_DAY - FIRST_DAY).days + 1, customers=200, products=60, seed=20240101)

    def step(dag: str, task: str, day: date, url: str = "none", first: date | None = None) -> dict:
        return {
            "dag": dag,
            "task": task,
            "key": day.isoformat(),
            "first_day": first.isoformat() if first else None,
            "settings": {"SHOPWRIGHT_LINEAGE_URL": url},
        }

    renamed_column(shop, BAD_DAY)
    steps = [
        step("shop_ingest", "land_days", HISTORY_END, first=FIRST_DAY),
        step("shop_ingest", "gate_arrivals", HISTORY_END),
        step("warehouse_build", "build_models", HISTORY_END),
        step("warehouse_build", "gate_marts", HISTORY_END),
        step("warehouse_build", "publish_marts", HISTORY_END),
        step("shop_ingest", "land_days", NEXT_DAY, server),
        step("shop_ingest", "gate_arrivals", NEXT_DAY, f"{server}/broken"),
        step("shop_ingest", "land_days", BAD_DAY),
        step("shop_ingest", "gate_arrivals", BAD_DAY),
    ]
    settings = {
        "SHOPWRIGHT_STATE_DIR": str(folder / "var"),
        "SHOPWRIGHT_SHOP_ID": "smallshop",
        "SHOPWRIGHT_SOURCE": "files",
        "SHOPWRIGHT_FILES_DIR": str(shop),
        "SHOPWRIGHT_FIRST_DAY": FIRST_DAY.isoformat(),
        "SHOPWRIGHT_BOOTSTRAP_DAY": HISTORY_END.isoformat(),
        "SHOPWRIGHT_LAST_DAY": BAD_DAY.isoformat(),
    }
    environment = {
        **{name: os.environ[name] for name in ("PATH", "DO_NOT_TRACK", "GX_ANALYTICS_ENABLED")},
        **settings,
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(PROJECT_DIR),
    }
    results = folder / "outcomes.json"
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(DAGS_DIR), json.dumps(steps), str(results)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = json.loads(results.read_text())
    events = [json.loads(line) for line in (folder / "var/smallshop/lineage/events.jsonl").read_text().splitlines()]
    return SimpleNamespace(state_dir=folder / "var", outcomes=outcomes, events=events, log=done.stderr)


def of(events: list[dict], job: str, state: str, day: date | None = None) -> dict:
    (found,) = [
        event
        for event in events
        if event["job"]["name"] == job
        and event["eventType"] == state
        and (day is None or event["run"]["facets"]["shopwright_partition"]["partition"] == day.isoformat())
    ]
    return found


def check_form(event: dict[str, Any]) -> None:
    """Hold an event against OpenLineage's own classes, facet by facet."""

    def facets(found: dict[str, Any]) -> dict[str, Any]:
        for name, facet in found.items():
            assert facet["_producer"].startswith("shopwright://")
            assert facet["_schemaURL"]
            known = {key: value for key, value in facet.items() if not key.startswith("_")}
            FACETS[name](**known)
        return found

    assert set(event) == {"eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"}
    assert event["schemaURL"].startswith("https://openlineage.io/spec/2-0-2/OpenLineage.json")
    UUID(event["run"]["runId"])
    assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
    RunEvent(
        eventType=RunState(event["eventType"]),
        eventTime=event["eventTime"],
        run=Run(event["run"]["runId"], facets(event["run"]["facets"])),
        job=Job(event["job"]["namespace"], event["job"]["name"], facets(event["job"]["facets"])),
        inputs=[
            InputDataset(each["namespace"], each["name"], facets(each["inputFacets"]), facets=facets(each["facets"]))
            for each in event["inputs"]
        ],
        outputs=[
            OutputDataset(each["namespace"], each["name"], facets(each["outputFacets"]), facets=facets(each["facets"]))
            for each in event["outputs"]
        ],
        producer=event["producer"],
    )
    assert {each["namespace"] for each in (event["job"], *event["inputs"], *event["outputs"])} == {
        "shopwright://smallshop"
    }


def test_every_task_ran_as_if_nothing_were_told(ran):
    assert ran.outcomes[:8] == ["passed"] * 8, ran.outcomes
    assert ran.outcomes[8].startswith("AirflowFailException: the data failed")
    assert "no lineage event" not in ran.log


def test_every_event_has_the_form_of_openlineage(ran):
    assert len(ran.events) > 20
    for event in ran.events:
        check_form(event)


@pytest.mark.parametrize(
    "job",
    [
        "shop_ingest.land_days",
        "shop_ingest.gate_arrivals",
        "warehouse_build.build_models",
        "warehouse_build.gate_marts",
        "warehouse_build.publish_marts",
    ],
)
def test_a_task_has_a_beginning_and_an_end_of_one_run_below_its_dag(ran, job):
    start, end = (of(ran.events, job, state, HISTORY_END) for state in ("START", "COMPLETE"))
    assert start["run"]["runId"] == end["run"]["runId"]
    assert start["eventTime"] <= end["eventTime"]
    parent = end["run"]["facets"]["parent"]
    assert parent["job"]["name"] == job.partition(".")[0]
    assert parent["run"]["runId"] != end["run"]["runId"]
    assert end["outputs"] or job.endswith("gate_marts")
    assert end["inputs"]


def test_the_arrival_gate_tells_its_rules_and_counts_and_no_value(ran):
    end = of(ran.events, "shop_ingest.gate_arrivals", "COMPLETE", HISTORY_END)
    inputs = {each["name"]: each["inputFacets"] for each in end["inputs"]}
    orders = inputs["landing.orders"]
    rules = orders["dataQualityAssertions"]["assertions"]
    assert len(rules) > 5
    assert all(set(rule) <= {"assertion", "success", "severity", "params"} for rule in rules)
    assert all(rule["success"] for rule in rules)
    assert orders["dataQualityMetrics"]["rowCount"] > 100
    outputs = {each["name"]: each["outputFacets"]["outputStatistics"]["rowCount"] for each in end["outputs"]}
    assert 0 < outputs["raw.orders"] <= orders["dataQualityMetrics"]["rowCount"]


def test_each_mart_is_a_run_of_dbt_below_the_build_with_its_columns_and_theirs(ran):
    build = of(ran.events, "warehouse_build.build_models", "COMPLETE", HISTORY_END)
    marts = {each["name"] for each in build["outputs"]}
    assert {"fct_orders", "feat_customer", "feat_product", "dim_products"} <= marts
    for mart in marts:
        end = of(ran.events, f"dbt.{mart}", "COMPLETE")
        assert end["run"]["facets"]["parent"]["run"]["runId"] == build["run"]["runId"]
        assert end["run"]["runId"] == of(ran.events, f"dbt.{mart}", "START")["run"]["runId"]
    (mart,) = of(ran.events, "dbt.feat_customer", "COMPLETE")["outputs"]
    types = {field["name"]: field["type"] for field in mart["facets"]["schema"]["fields"]}
    assert types["amount_cents_28d"] == "bigint"
    fields = mart["facets"]["columnLineage"]["fields"]
    assert set(fields) == set(types)
    direct = [
        (field["name"], field["field"])
        for field in fields["amount_cents_28d"]["inputFields"]
        if field["transformations"] == [{"type": "DIRECT"}]
    ]
    assert direct == [("int_customer_days__aggregated", "amount_cents")]
    assert mart["outputFacets"]["outputStatistics"]["rowCount"] > 0


def test_the_tests_of_dbt_and_the_mart_gate_are_told_by_mart(ran):
    tests = of(ran.events, "dbt.tests", "COMPLETE")
    orders = next(each for each in tests["inputs"] if each["name"] == "fct_orders")
    rules = orders["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {"order_id"} <= {rule.get("column") for rule in rules}
    assert all(rule["success"] for rule in rules)
    gate = of(ran.events, "warehouse_build.gate_marts", "COMPLETE", HISTORY_END)
    assert {"fct_orders", "feat_customer"} <= {each["name"] for each in gate["inputs"]}


def test_what_is_published_has_its_version(ran):
    end = of(ran.events, "warehouse_build.publish_marts", "COMPLETE", HISTORY_END)
    versions = {each["facets"]["version"]["datasetVersion"] for each in end["outputs"]}
    assert len(versions) == 1


def test_a_server_takes_the_events_instead_of_the_file(ran):
    taken = [event for path, event in _Collector.taken if path == "/api/v1/lineage"]
    assert [(event["job"]["name"], event["eventType"]) for event in taken[:2]] == [
        ("shop_ingest.land_days", "START"),
        ("shop_ingest.land_days", "COMPLETE"),
    ]
    for event in taken[:2]:
        check_form(event)
    told = [event for event in ran.events if NEXT_DAY.isoformat() in json.dumps(event["run"])]
    assert {event["job"]["name"] for event in told} == {"shop_ingest.gate_arrivals"}  # what the server did not take


def test_events_that_a_server_refuses_are_counted_and_shown(ran, configure):
    settings = configure(state_dir=ran.state_dir, shop_id="smallshop")
    states = {
        row["partition"]: (row["state"], row["detail"])
        for row in Operations.from_settings(settings).rows(monitor_states, monitor="lineage", object="events")
    }
    assert states[HISTORY_END.isoformat()] == ("ok", {"sent": len_of(ran.events, HISTORY_END), "unsent": 0})
    assert states[NEXT_DAY.isoformat()] == ("warn", {"sent": 2, "unsent": 2, "why": "the address answered 503"})
    shown = CliRunner().invoke(monitor, ["--day", NEXT_DAY.isoformat(), "--why"]).output
    assert "warn" in shown
    assert "unsent=2" in shown


def len_of(events: list[dict], day: date) -> int:
    return sum(event["run"]["facets"]["shopwright_partition"]["partition"] == day.isoformat() for event in events)


def test_a_task_that_fails_says_so_and_of_which_kind(ran):
    (failed,) = [event for event in ran.events if event["eventType"] == "FAIL"]
    assert failed == of(ran.events, "shop_ingest.gate_arrivals", "FAIL", BAD_DAY)
    assert failed["run"]["facets"]["errorMessage"]["message"].startswith("DataFailed: ")
    lines = next(each for each in failed["inputs"] if each["name"] == "landing.order_lines")
    assert not all(rule["success"] for rule in lines["inputFacets"]["dataQualityAssertions"]["assertions"])
    assert failed["outputs"] == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/broken", "the address answered 503"),
        ("/moved", "the address answered 302"),
        ("/slow", "it failed (TimeoutError)"),
    ],
)
def test_an_address_that_does_not_take_an_event_is_asked_once(configure, server, monkeypatch, path, problem):
    monkeypatch.setattr(delivery, "_TIMEOUT_SECONDS", 0.2)
    before = len(_Collector.taken)
    settings = configure(lineage_url=f"{server}{path}")
    assert deliver(settings, ["{}", "{}", "{}"]) == Delivery(0, 3, problem)
    assert len(_Collector.taken) == before or path == "/slow"
    assert events_path(settings).read_text() == "{}\n" * 3


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://secret-host.invalid/token", "ftp://example.org", "nonsense"]
)
def test_an_address_that_cannot_be_reached_is_told_without_naming_it(configure, url):
    settings = configure(lineage_url=url)
    done = deliver(settings, ["{}"])
    assert (done.sent, done.unsent) == (0, 1)
    assert done.problem
    assert not any(word in done.problem for word in ("secret", "token", "127.0.0.1", "example", "nonsense"))
    note(settings, "2024-01-01", done)
    note(settings, "2024-01-01", Delivery(2, 0))
    (row,) = Operations.from_settings(settings).rows(monitor_states)
    assert (row["state"], row["value"], row["detail"]["sent"]) == ("warn", 1.0, 2)
