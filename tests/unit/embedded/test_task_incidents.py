from datetime import date

import pytest

from ml.alerts.incidents import open_incident
from ml.embedded.task_incidents import close_task_incidents, describe_error, open_task_incident
from ml.outcomes import DataFailed
from ml.stores.operations import Operations, alerts, incidents

DAY = date(2024, 5, 6)


@pytest.fixture
def operations(configure):
    return Operations.from_settings(configure())


def _open(operations, task="build_models", day=DAY, is_final=True):
    return open_task_incident(operations, "some_dag", task, day, is_final=is_final, reason="a reason")


def test_a_repeated_try_warns_and_the_last_one_alerts(operations):
    assert _open(operations, is_final=False)
    assert _open(operations, is_final=True)
    assert not _open(operations, is_final=True)  # told by the callback, then seen by the watch
    severities = [incident["severity"] for incident in operations.rows(incidents, state="open")]
    assert severities == ["warn", "alert"]


def test_success_closes_both(operations):
    _open(operations, is_final=False)
    _open(operations, is_final=True)
    close_task_incidents(operations, "some_dag", "build_models", DAY)
    assert operations.rows(incidents, state="open") == []
    assert [alert["purpose"] for alert in operations.rows(alerts)] == ["opened", "opened", "closed", "closed"]


@pytest.mark.parametrize(("gate_day", "alerts_again"), [(DAY, False), (date(2024, 5, 5), True)])
def test_a_step_that_told_of_this_day_itself_is_not_told_of_twice(operations, gate_day, alerts_again):
    open_incident(
        operations,
        kind="gate_failed",
        object="orders",
        rule="row_count",
        partition=gate_day,
        severity="alert",
        title="orders: no rows",
        body="",
    )
    assert _open(operations, task="gate_arrivals") is alerts_again
    assert _open(operations, task="build_models")  # another task's incident hides nothing


def test_only_our_own_outcomes_speak_in_an_alert():
    outer = RuntimeError("the data failed: orders")
    outer.__cause__ = DataFailed("orders: expected at least 1 row, found 0")
    assert describe_error(outer) == "the data failed: orders: expected at least 1 row, found 0"
    assert describe_error(ValueError("card 4111 1111 1111 1111")) == "ValueError, see the task's log"
    assert "killed" in describe_error(None)
