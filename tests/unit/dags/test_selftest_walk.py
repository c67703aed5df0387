"""The walk over DAG objects that the gates' self-test is made of, on DAGs made by hand, in a child process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ml.embedded.airflow_home import DAGS_DIR

_WALK = """
import json, sys
from datetime import datetime, timedelta
from airflow.sdk import (
    Asset, PartitionedAssetTimetable, RollupMapper, StartOfWeekMapper, WeekWindow, dag, get_current_context, task
)
from dag_support.selftest import DagWalk
from ml.outcomes import DataFailed, ToolFailed
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

LOG = []
A, B = Asset("a", uri="shopwright://a"), Asset("b", uri="shopwright://b")
week = StartOfWeekMapper(timezone="UTC", input_format="%Y-%m-%d", output_format="week-%Y-%m-%d")
by_week = PartitionedAssetTimetable(
    assets=A, partition_mapper_config={A: RollupMapper(upstream_mapper=week, window=WeekWindow())}
)
args = {
    "on_success_callback": lambda context: LOG.append(f"passed {context['ti'].task_id}"),
    "on_failure_callback": lambda context: LOG.append(f"failed {context['ti'].task_id} {context['exception']}"),
}
problems = {}

def step(name):
    context = get_current_context()
    LOG.append(f"{name} {context['dag_run'].partition_key} {dict(context['params'])}")
    if name in problems:
        try:
            raise problems[name]
        except DataFailed as error:
            raise AirflowFailException("the data failed") from error

def make(dag_id, schedule, names, outlets=(), teardown=None, **params):
    @dag(dag_id=dag_id, schedule=schedule, start_date=datetime(2024, 1, 1), default_args=args, params=params)
    def build():
        before = None
        for name in names:
            published = list(outlets) if name == names[-1] else []
            made = task(task_id=name, outlets=published)(lambda name=name: step(name))()
            if before is not None:
                before >> made
            before = made
        if teardown:
            before >> task(task_id=teardown)(lambda: step(teardown))().as_teardown(on_failure_fail_dagrun=True)
    return build()

walk = DagWalk({
    "first": make("first", None, ["land", "gate"], [A], day=None),
    "second": make("second", PartitionedAssetTimetable(assets=A), ["build", "publish"], [B], teardown="tidy"),
    "third": make("third", PartitionedAssetTimetable(assets=B), ["show"]),
    "weekly": make("weekly", by_week, ["train"]),
})

def case(first, until, params=None, **failing):
    LOG.clear()
    problems.clear()
    problems.update(failing)
    walked = walk(first, until, "2024-01-01", params)
    failed = {name: [failure.is_data, failure.message] for name, failure in walked.failed.items()}
    return {"passed": walked.passed, "failed": failed, "due": walked.due, "log": list(LOG)}

cases = {
    "good": case("first.land", "first.gate", {"day": "x"}),
    "bad": case("first.land", "first.gate", gate=DataFailed("rows")),
    "tool": case("first.land", "first.gate", gate=ToolFailed("disk")),
    "skipped": case("first.land", "first.gate", land=AirflowSkipException("nothing to do")),
    "from_the_middle": case("second.publish", "second.publish"),
    "through": case("first.gate", "third.show"),
    "fails_on_the_way": case("first.land", "third.show", build=DataFailed("rows")),
}

# Beside the walk, what keeps the self-test's DAG from running when nobody expects it.
from types import SimpleNamespace
from airflow.sdk.execution_time.context import set_current_context
from dag_support.steps import skip_when_late

def is_skipped(run_type, minutes):
    begin = datetime(2024, 1, 1, 4)
    run = SimpleNamespace(run_type=run_type, run_after=begin, start_date=begin + timedelta(minutes=minutes))
    with set_current_context({"dag_run": run}):
        try:
            skip_when_late()
        except AirflowSkipException:
            return True
    return False

cases["late"] = [is_skipped("scheduled", 2), is_skipped("scheduled", 90), is_skipped("manual", 9000)]
open(sys.argv[1], "w").write(json.dumps(cases))
"""


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict:
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "AIRFLOW_HOME": str(home),
        "PYTHONPATH": f"{DAGS_DIR.parent}:{DAGS_DIR}",
    }
    found = home / "found.json"
    done = subprocess.run(
        [sys.executable, "-c", _WALK, str(found)], env=environment, cwd=home, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(Path(home).rglob("*.db")), "a walk needs no database"
    return json.loads(found.read_text())


def test_good_data_goes_as_far_as_asked_and_what_would_start_next_is_told(walked):
    good = walked["good"]
    assert good["passed"] == ["first.land", "first.gate"]
    assert good["due"] == ["second.build"], "the weekly one waits for its other days"
    assert good["failed"] == {}
    assert good["log"] == ["land 2024-01-01 {'day': 'x'}", "passed land", "gate 2024-01-01 {'day': 'x'}", "passed gate"]


def test_a_failed_gate_ends_its_branch_and_runs_its_own_callback(walked):
    bad = walked["bad"]
    assert bad["passed"] == ["first.land"]
    assert bad["due"] == []
    assert bad["failed"] == {"first.gate": [True, "DataFailed: rows"]}
    assert bad["log"][-1] == "failed gate the data failed"


def test_a_tool_that_failed_is_told_from_data_that_failed(walked):
    assert walked["tool"]["failed"] == {"first.gate": [False, "ToolFailed: disk"]}


def test_a_skipped_task_starts_nothing(walked):
    skipped = walked["skipped"]
    assert (skipped["passed"], skipped["due"]) == ([], [])
    assert skipped["failed"] == {"first.land": [False, "skipped: nothing to do"]}


def test_a_walk_from_the_middle_takes_what_lies_before_as_done(walked):
    assert walked["from_the_middle"]["passed"] == ["second.publish"]
    assert walked["from_the_middle"]["due"] == ["third.show"]


def test_assets_lead_from_one_dag_to_the_next_with_the_same_key(walked):
    through = walked["through"]
    assert through["passed"] == ["first.gate", "second.build", "second.publish", "third.show"]
    assert through["due"] == []
    assert "show 2024-01-01 {}" in through["log"]


def test_nothing_after_a_failure_runs_in_any_dag(walked):
    failed = walked["fails_on_the_way"]
    assert failed["passed"] == ["first.land", "first.gate"]
    assert set(failed["failed"]) == {"second.build"}
    assert failed["due"] == []


def test_only_a_run_that_the_clock_started_long_ago_is_left_out(walked):
    assert walked["late"] == [False, True, False]
