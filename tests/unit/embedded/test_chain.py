from datetime import UTC, datetime, timedelta

import pytest

from ml.embedded import chain as chain_module
from ml.embedded.airflow_api import Run, TaskRun
from ml.embedded.chain import BUILD, DAY_CHAIN, INGEST, MONITOR, PUBLISH, Chain, StageFailed
from ml.embedded.progress import Progress

KEY = "2024-05-06"
BEGUN = datetime(2024, 5, 7, 4, 0, tzinfo=UTC)


class _Airflow:
    """Answers as a scheduler that has done everything at once, but for the outcomes that a test plants."""

    def __init__(self, outcomes=None):
        self.outcomes = outcomes or {}
        self.stored = {}

    def trigger(self, dag_id, key, conf=None):
        for offset, follower in enumerate(DAY_CHAIN[DAY_CHAIN.index(dag_id) :]):
            state = self.outcomes.get(follower, "success")
            if state == "missing":
                break
            at = BEGUN + timedelta(seconds=offset)
            run = Run(follower, f"{follower}-1", key, "failed" if state == "failed" else "success", at, at, at)
            self.stored.setdefault(follower, []).insert(0, run)
            if state != "success":
                break
        return self.stored[dag_id][0]

    def run(self, dag_id, run_id):
        return next(run for run in self.stored[dag_id] if run.run_id == run_id)

    def runs(self, dag_id, key=None):
        return self.stored.get(dag_id, [])

    def tasks(self, run):
        state = self.outcomes.get(run.dag_id, "success")
        return [TaskRun(run.dag_id, run.run_id, f"the_task_of_{run.dag_id}", state, 1, BEGUN, BEGUN)]


class _Processes:
    def assert_alive(self):
        pass


@pytest.fixture
def lines():
    return []


@pytest.fixture
def follow(lines, monkeypatch):
    monkeypatch.setattr(chain_module, "_POLL_SECONDS", 0)
    monkeypatch.setattr(chain_module, "_NEXT_RUN_SECONDS", 0.05)

    def run(outcomes=None):
        chain = Chain(_Airflow(outcomes), _Processes(), Progress(lines.append))
        return chain.follow(chain.start(INGEST, KEY), then=DAY_CHAIN[1:])

    return run


def test_a_day_is_followed_to_its_end_with_a_line_per_task(follow, lines):
    assert follow() is True
    assert len(lines) == len(DAY_CHAIN)
    assert all(KEY in line for line in lines)


def test_a_failed_stage_is_named_and_nothing_after_it_is_waited_for(follow, lines):
    with pytest.raises(StageFailed, match=r"warehouse_build failed for 2024-05-06 \(the_task_of_warehouse_build\)"):
        follow({BUILD: "failed"})
    assert len(lines) == 2
    assert "FAILED" in lines[-1]


def test_a_stage_that_does_not_start_is_named(follow):
    with pytest.raises(StageFailed, match="monitoring_check was not started for 2024-05-06"):
        follow({MONITOR: "missing"})


def test_a_stage_with_nothing_to_do_ends_the_chain_without_failure(follow, lines):
    assert follow({PUBLISH: "skipped"}) is False
    assert "SKIPPED" in lines[-1]


def test_an_older_run_of_the_same_key_is_not_taken_for_the_new_one(lines, monkeypatch):
    monkeypatch.setattr(chain_module, "_POLL_SECONDS", 0)
    monkeypatch.setattr(chain_module, "_NEXT_RUN_SECONDS", 0.05)
    airflow = _Airflow()
    earlier = BEGUN - timedelta(hours=1)
    airflow.stored[BUILD] = [Run(BUILD, "old", KEY, "success", earlier, earlier, earlier)]
    chain = Chain(airflow, _Processes(), Progress(lines.append))
    assert chain.find_run(BUILD, KEY, since=BEGUN) is None
    airflow.stored[BUILD] = [Run(BUILD, "old", KEY, "running", earlier, earlier, None)]
    found = chain.find_run(BUILD, KEY, since=BEGUN)  # still under way: what an earlier start left
    assert found is not None
    assert chain.unfinished(DAY_CHAIN, KEY) == found
