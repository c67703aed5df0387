"""The DAGs as Airflow parses them. The parsing runs in a child process, with Airflow's home in a temporary folder."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml.embedded.airflow_home import DAGS_DIR
from ml.embedded.stack import DAG_IDS, ONE_SLOT_POOLS

DAILY_CHAIN = {
    "shop_ingest": ["land_days", "gate_arrivals"],
    "warehouse_build": ["build_models", "gate_marts", "publish_marts"],
    "features_materialize": ["materialize_features"],
    "recommender_publish": ["publish_recommendations"],
    "monitoring_check": [
        "check_drift",
        "check_performance",
        "scrub_stores",
        "reconcile_registry",
        "check_gate_proofs",
        "deliver_alerts",
    ],
    "fraud_score_backfill": ["feed_state", "score_orders", "check_drift", "check_performance"],
    "fraud_labels_ingest": ["settle_labels"],
}
WEEKLY = {
    "recommender_train": ["build_training_set", "gate_training_set", "train_challenger", "decide_promotion"],
    "fraud_train": ["build_training_set", "gate_training_set", "train_challenger", "decide_promotion"],
    "gates_selftest": ["prove_gates"],
}
BY_CLOCK = {"shop_ingest", "gates_selftest"}
HEADINGS = ["What", "When and why then", "Inputs and outputs", "If it fails", "Owner"]

_DESCRIBE = """
import json, sys
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag

sys.path.insert(0, sys.argv[1])
bag = DagBag(dag_folder=sys.argv[1])
described = {}
for dag_id, dag in bag.dags.items():
    described[dag_id] = {
        "file": Path(dag.fileloc).name,
        "tasks": [task.task_id for task in dag.topological_sort()],
        "doc": dag.doc_md,
        "tags": sorted(dag.tags),
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "start": str(dag.start_date),
        "end": str(dag.end_date) if dag.end_date else None,
        "timetable": type(dag.timetable).__name__,
        "mappers": {type(m).__name__ for m in getattr(dag.timetable, "partition_mapper_config", {}).values()},
        "params": list(dag.params),
        "per_task": {
            task.task_id: {
                "retries": task.retries,
                "timeout": task.execution_timeout.total_seconds(),
                "pool": task.pool,
                "callbacks": [
                    bool(getattr(task, f"on_{when}_callback")) for when in ("failure", "retry", "success")
                ],
                "outlets": [outlet.name for outlet in task.outlets],
                "is_teardown": task.is_teardown,
            }
            for task in dag.tasks
        },
    }
    described[dag_id]["mappers"] = sorted(described[dag_id]["mappers"])
errors = {str(path): error for path, error in bag.import_errors.items()}
Path(sys.argv[2]).write_text(json.dumps({"dags": described, "errors": errors}))
"""


def _parse(home: Path, **settings: str) -> dict:
    found = home / "found.json"
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(DAGS_DIR.parent),
        "SHOPWRIGHT_STATE_DIR": str(home / "var"),
        **settings,
    }
    done = subprocess.run(
        [sys.executable, "-c", _DESCRIBE, str(DAGS_DIR), str(found)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(found.read_text())


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict:
    found = _parse(tmp_path_factory.mktemp("airflow"))
    assert found["errors"] == {}
    return found["dags"]


def test_exactly_the_expected_dags_are_found(parsed):
    assert set(parsed) == {*DAILY_CHAIN, *WEEKLY}
    assert set(parsed) == DAG_IDS  # what `up` waits for
    assert {path.stem for path in DAGS_DIR.glob("*.py")} == set(parsed)


@pytest.mark.parametrize(("dag_id", "tasks"), [*DAILY_CHAIN.items(), *WEEKLY.items()])
def test_a_dag_has_its_tasks_and_its_page(parsed, dag_id, tasks):
    dag = parsed[dag_id]
    assert sorted(dag["tasks"]) == sorted(tasks)
    assert dag["file"] == f"{dag_id}.py"
    assert [line.removeprefix("## ") for line in dag["doc"].splitlines() if line.startswith("## ")] == HEADINGS


def test_the_daily_chain_is_short_and_each_key_runs_alone(parsed):
    assert sum(len(parsed[dag_id]["tasks"]) for dag_id in DAILY_CHAIN) <= 25
    assert {dag["max_active_runs"] for dag in parsed.values()} == {1}
    assert {dag["catchup"] for dag in parsed.values()} == {False}


def test_every_run_has_a_partition_key_and_only_training_waits_for_a_week(parsed):
    assert {parsed[dag_id]["timetable"] for dag_id in BY_CLOCK} == {"CronPartitionTimetable"}
    others = {dag_id: dag for dag_id, dag in parsed.items() if dag_id not in BY_CLOCK}
    assert {dag["timetable"] for dag in others.values()} == {"PartitionedAssetTimetable"}
    assert {dag_id for dag_id, dag in others.items() if dag["mappers"] == ["RollupMapper"]} == {
        "recommender_train",
        "fraud_train",
    }


def test_the_stages_are_chained_by_what_their_last_task_publishes(parsed):
    outlets = {
        f"{dag_id}.{task_id}": task["outlets"]
        for dag_id, dag in parsed.items()
        for task_id, task in dag["per_task"].items()
        if task["outlets"]
    }
    assert outlets == {
        "shop_ingest.gate_arrivals": ["raw"],
        "warehouse_build.publish_marts": ["marts"],
        "features_materialize.materialize_features": ["features"],
        "recommender_publish.publish_recommendations": ["recommendations"],
    }


def test_every_task_is_retried_bounded_and_reports_its_end(parsed):
    tasks = [task for dag in parsed.values() for task in dag["per_task"].values()]
    assert len(tasks) == 27
    assert all(task["retries"] >= 1 and 0 < task["timeout"] <= 3600 for task in tasks)
    assert all(task["callbacks"] == [True, True, True] for task in tasks)


def test_one_writer_files_are_guarded_by_pools_that_up_makes(parsed):
    pools = {task["pool"] for dag in parsed.values() for task in dag["per_task"].values()}
    assert pools == {"default_pool", *ONE_SLOT_POOLS}
    assert parsed["features_materialize"]["per_task"]["materialize_features"]["pool"] == "feature_store"


def test_delivery_runs_whatever_the_checks_found_and_hides_no_failure(parsed):
    assert parsed["monitoring_check"]["per_task"]["deliver_alerts"]["is_teardown"]


def test_a_replayed_shop_has_an_end_and_a_live_one_has_none(parsed, tmp_path):
    assert parsed["shop_ingest"]["end"].startswith("2018-01-02")
    assert parsed["shop_ingest"]["params"] == ["first_day"]
    live = _parse(tmp_path, SHOPWRIGHT_LAST_DAY="")
    assert live["errors"] == {}
    assert live["dags"]["shop_ingest"]["end"] is None
    # The first day after the bootstrap (11-19) is run when it has ended: midnight in New York of the 21st.
    assert live["dags"]["shop_ingest"]["start"].startswith("2017-11-21 05:00")
    assert live["dags"]["shop_ingest"]["catchup"] is True
    # The self-test follows the wall clock, so a replayed shop's is over before it begins; days missed are not made up.
    assert parsed["gates_selftest"]["end"].startswith("2018-01-02")
    assert live["dags"]["gates_selftest"]["end"] is None
    assert live["dags"]["gates_selftest"]["catchup"] is False


@pytest.mark.parametrize("path", sorted(DAGS_DIR.glob("*.py")), ids=lambda path: path.stem)
def test_a_dag_file_imports_nothing_heavy_at_its_top(path):
    allowed = {*sys.stdlib_module_names, "airflow", "dag_support"}
    imported = set()
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.Import):
            imported |= {name.name for name in statement.names}
        if isinstance(statement, ast.ImportFrom):
            imported.add(statement.module)
    assert imported  # the loop looked at something
    assert {name.split(".")[0] for name in imported} <= allowed
    assert {name for name in imported if name.startswith("airflow")} == {"airflow.sdk"}
