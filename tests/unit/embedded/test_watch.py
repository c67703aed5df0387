from datetime import UTC, date, datetime, timedelta

import pytest

from ml.embedded import watch as watch_module
from ml.embedded.airflow_api import Run, TaskRun
from ml.embedded.watch import Watch, watch_forever
from ml.outcomes import ToolFailed
from ml.stores.operations import Operations, incidents

WHEN = datetime(2024, 5, 7, 3, 0, tzinfo=UTC)
HEALTHY = {"api-server": True, "scheduler": True, "dag_processor": True, "metadatabase": True}


class _Airflow:
    def __init__(self):
        self.troubled, self.errors, self.parts, self.key = [], {}, dict(HEALTHY), "2024-05-06"

    def health(self):
        if self.parts is None:
            raise ToolFailed("no answer")
        return self.parts

    def tasks_in_trouble(self, since):
        return self.troubled

    def import_errors(self):
        return self.errors

    def run(self, dag_id, run_id):
        return Run(dag_id, run_id, self.key, "running", WHEN, WHEN, None)


def _task(state):
    return TaskRun("warehouse_build", "run-1", "build_models", state, 1, WHEN, WHEN)


@pytest.fixture
def airflow():
    return _Airflow()


@pytest.fixture
def printed():
    return []


@pytest.fixture
def watch(configure, airflow, printed):
    settings = configure()
    return Watch(settings, Operations.from_settings(settings), airflow, printed.append)


def _open_incidents(watch):
    return [(row["object"], row["rule"], row["severity"]) for row in watch.operations.rows(incidents, state="open")]


def test_a_killed_task_alerts_once_and_is_delivered(watch, airflow, printed):
    airflow.troubled = [_task("up_for_retry")]
    watch.look()
    watch.look()
    assert _open_incidents(watch) == [("warehouse_build.build_models", "a_try_failed", "warn")]
    assert watch.operations.rows(incidents)[0]["last_partition"] == "2024-05-06"
    assert len(printed) == 1
    airflow.troubled = [_task("failed")]
    watch.look()
    assert _open_incidents(watch)[1] == ("warehouse_build.build_models", "all_tries_failed", "alert")
    assert len(printed) == 2


def test_a_run_with_a_key_that_is_no_day_stops_nothing(watch, airflow):
    airflow.key = None
    airflow.troubled = [_task("failed")]
    watch.look()
    assert _open_incidents(watch) == []


def test_a_dag_file_that_does_not_import_alerts_until_it_does(watch, airflow):
    airflow.errors = {"shop_ingest.py": "SyntaxError: invalid syntax"}
    watch.look()
    assert _open_incidents(watch) == [("dags/shop_ingest.py", "dag_file_imports", "alert")]
    airflow.errors = {}
    watch.look()
    assert _open_incidents(watch) == []


@pytest.mark.parametrize("outage", [{**HEALTHY, "dag_processor": False}, None], ids=["a part", "the API"])
def test_an_outage_alerts_when_it_lasts(watch, airflow, outage, monkeypatch):
    watch.look()
    airflow.parts = outage
    watch.look()
    assert _open_incidents(watch) == []  # a restart is no outage
    monkeypatch.setattr(watch_module, "_PATIENCE", timedelta(0))
    watch.look()
    down = "api-server" if outage is None else "dag_processor"
    assert _open_incidents(watch) == [(f"airflow/{down}", "part_is_healthy", "alert")]
    airflow.parts = dict(HEALTHY)
    watch.look()
    assert _open_incidents(watch) == []


def test_a_refused_log_in_is_an_outage_though_health_is_told_to_everybody(watch, airflow, monkeypatch):
    def refuse(_since):
        raise ToolFailed("Airflow refuses the log-in")

    moments = iter(WHEN + timedelta(minutes=minute) for minute in range(9))
    monkeypatch.setattr(watch_module, "wall_clock", lambda: next(moments))
    airflow.tasks_in_trouble = refuse
    watch.look()
    assert _open_incidents(watch) == []
    watch.look()
    assert _open_incidents(watch) == [("airflow/api-server", "part_is_healthy", "alert")]


def test_the_watch_ends_when_nobody_owns_it(watch, monkeypatch):
    monkeypatch.setattr(watch_module, "POLL_SECONDS", 0)
    answers = iter([False, False, True])
    looks = []
    monkeypatch.setattr(watch, "look", lambda: looks.append(1))
    watch_forever(watch, is_orphan=lambda: next(answers))
    assert len(looks) == 2


def test_a_weekly_run_is_reported_for_its_sunday(watch, airflow):
    airflow.key = "week-2024-05-06"
    airflow.troubled = [_task("failed")]
    watch.look()
    assert watch.operations.rows(incidents)[0]["last_partition"] == date(2024, 5, 12).isoformat()
