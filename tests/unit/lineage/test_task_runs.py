"""What is told of each task, and that a task never notices it."""

import importlib.util
import json
import sys
from datetime import UTC, datetime
from types import ModuleType, SimpleNamespace

import pytest

from ml.lineage import task_datasets, task_runs
from ml.lineage.delivery import events_path
from ml.lineage.events import Rule, TaskRun, Told
from ml.lineage.features import Declared, Service, View, add_features
from ml.lineage.graph import Dataset, DatasetKind, Graph
from ml.lineage.task_datasets import Ended, datasets_of
from ml.outcomes import DataFailed
from ml.settings import PROJECT_DIR
from ml.stores.operations import Operations, monitor_states

DAY = "2024-01-07"
TASK = TaskRun("recommender_train", "gate_training_set", "manual__1", 1, "week-2024-01-01")


@pytest.fixture
def settings(configure):
    return configure(shop_id="tiny")


@pytest.fixture
def graph(settings, tmp_path, monkeypatch) -> Graph:
    graph = Graph()
    for name in ("feat_customer", "fct_orders"):
        graph.add(Dataset(f"model {name}", name, DatasetKind.MART, {"cents": "bigint"}))
    view = View("feat_customer", "customer", "feat_customer", {"cents": "Int64"})
    service = Service("shopper", "recommender", [("feat_customer", "cents")])
    add_features(graph, settings, Declared([view], [service]), tmp_path)
    monkeypatch.setattr(task_datasets, "_graph", lambda _: graph)
    return graph


def verdict(settings, gate: str, name: str, **other: object) -> None:
    rules = [
        {
            "rule": "row_count",
            "scope": "batch",
            "status": "passed",
            "observed": "9",
            "expected": "at least 1",
            "rows": 0,
        },
        {"rule": "null_share", "scope": "batch", "status": "failed", "observed": "0.5", "expected": "0.1", "rows": 0},
        {"rule": "negative", "scope": "row", "status": "set_aside", "observed": "2", "expected": "none", "rows": 2},
    ]
    row = {"gate": gate, "object": name, "batch_id": "b", "partition": DAY, "status": "failed", "rules": rules}
    Operations.from_settings(settings).record_verdict(**{**row, "rows_in": 9, **other})


RULES = [Rule("row_count", True), Rule("null_share", False), Rule("negative", False, is_warning=True)]


def test_gates_tell_names_and_outcomes_of_their_rules(settings, graph):
    verdict(settings, "arrivals", "orders", rows_published=7, rows_quarantined=2)
    verdict(settings, "arrivals", "source")
    assert datasets_of("gate_arrivals", Ended(settings, DAY, {})) == (
        [Told("landing.orders", 9, "b", RULES)],
        [Told("raw.orders", 7), Told("quarantine.orders", 2)],
    )
    verdict(settings, "model_inputs", "recommender")
    assert datasets_of("gate_training_set", Ended(settings, DAY, {})) == (
        [Told("training_set.recommender", 9, rules=RULES)],
        [],
    )
    verdict(settings, "feature_parity", "online_values", rows_in=0)
    inputs, outputs = datasets_of("materialize_features", Ended(settings, DAY, {"marts_version": "v1"}))
    assert inputs == [Told("feat_customer", version="v1", rules=RULES)]
    assert outputs == [Told("features.feat_customer")]
    rules = [{"rule": "better_than_champion", "status": "passed", "observed": 1.0, "threshold": 0.5}]
    decided = {"challenger": "m2", "verdict": "promoted", "rules": rules}
    assert datasets_of("decide_promotion", Ended(settings, DAY, decided)) == (
        [Told("model.recommender", version="m2", rules=[Rule("better_than_champion", True)])],
        [Told("champion.recommender", version="m2")],
    )


def test_a_product_reads_the_marts_of_its_features(settings, graph):
    summary = {"model_version": "m1", "rows": 5, "version": "v9"}
    inputs, outputs = datasets_of("publish_recommendations", Ended(settings, DAY, summary))
    assert inputs == [Told("feat_customer"), Told("champion.recommender", version="m1")]
    assert outputs == [Told("recommendations", 5, "v9")]


def test_a_task_that_moves_no_data_has_no_datasets(settings):
    assert datasets_of("deliver_alerts", Ended(settings, DAY, {})) == ([], [])


def test_an_end_is_told_even_when_what_the_task_read_cannot_be(settings, monkeypatch):
    def broken(*_: object) -> None:
        raise KeyError("a value")

    monkeypatch.setattr(task_runs, "datasets_of", broken)
    task_runs.tell_ended(settings, TASK, datetime(2024, 1, 8, tzinfo=UTC), {})
    event = json.loads(events_path(settings).read_text())
    assert (event["eventType"], event["inputs"]) == ("COMPLETE", [])
    (state,) = Operations.from_settings(settings).rows(monitor_states)
    assert state["partition"] == DAY
    assert state["detail"]["why"] == "what recommender_train.gate_training_set read is not known (KeyError)"


def test_an_error_is_told_by_its_text_only_where_that_holds_no_value(settings):
    for error in (DataFailed("orders: row_count"), ValueError("customer-4711")):
        task_runs.tell_ended(settings, TASK, None, None, error)
    told = [
        json.loads(line)["run"]["facets"]["errorMessage"] for line in events_path(settings).read_text().splitlines()
    ]
    assert [facet["message"] for facet in told] == ["DataFailed: orders: row_count", "ValueError"]


@pytest.fixture
def steps(monkeypatch) -> ModuleType:
    """`dag_support.lineage` with a context that says what Airflow's would."""
    context = {
        "ti": SimpleNamespace(dag_id=TASK.dag_id, task_id=TASK.task_id, try_number=2),
        "dag_run": SimpleNamespace(run_id=TASK.run_id, partition_key=TASK.partition),
    }
    airflow = SimpleNamespace(get_current_context=lambda: context)
    monkeypatch.setitem(sys.modules, "airflow.sdk", airflow)
    spec = importlib.util.spec_from_file_location("lineage_of_tasks", PROJECT_DIR / "dags/dag_support/lineage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_step_is_told_from_its_beginning_to_its_end(settings, steps):
    with steps.told() as tell:
        tell({"partition": DAY})
    start, end = map(json.loads, events_path(settings).read_text().splitlines())
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == end["run"]["runId"]
    with pytest.raises(DataFailed), steps.told():
        raise DataFailed("orders: row_count")
    assert json.loads(events_path(settings).read_text().splitlines()[-1])["eventType"] == "FAIL"


@pytest.mark.parametrize("broken", ["tell_started", "tell_ended", "_send"])
def test_a_step_goes_on_when_nothing_can_be_told(settings, steps, monkeypatch, broken):
    def fail(*_: object) -> None:
        raise RuntimeError("a value")

    monkeypatch.setattr(task_runs, broken, fail)
    with steps.told() as tell:
        tell({"done": True})
    (state,) = Operations.from_settings(settings).rows(monitor_states)
    assert state["state"] == "warn"
    assert state["detail"]["why"] == "not made (RuntimeError)"


def test_a_step_goes_on_when_not_even_that_can_be_counted(settings, steps, monkeypatch):
    monkeypatch.setattr(steps, "get_current_context", dict)
    with steps.told() as tell:
        tell({"done": True})
    assert not events_path(settings).exists()
