"""Which states `shopwright monitor` shows, and in which order."""

from datetime import date

import pytest
from click.testing import CliRunner

from ml.cli.monitoring import monitor, newest_states
from ml.stores.operations import Operations


@pytest.fixture
def operations(configure) -> Operations:
    return Operations.from_settings(configure())


def judge(operations: Operations, monitor: str, name: str, day: str, state: str, value: float | None = None, **detail):
    operations.record_monitor_state(
        monitor=monitor, object=name, partition=day, state=state, value=value, threshold=0.25, detail=detail
    )


def shown(operations: Operations, day: date | None = None) -> list[tuple[str, str, str]]:
    return [(row["monitor"], row["object"], row["state"]) for row in newest_states(operations, day)]


def test_the_overall_states_come_first_and_the_worst_features_after_them(operations):
    judge(operations, "feature_drift", "calm", "2017-11-20", "ok", 0.01)
    judge(operations, "feature_drift", "wild", "2017-11-20", "alert", 0.4)
    judge(operations, "feature_drift", "wilder", "2017-11-20", "alert", 0.5)
    judge(operations, "data_drift", "recommender", "2017-11-20", "warn", 0.1)
    judge(operations, "performance", "recommender", "2017-11-20", "ok", 0.3)
    assert [name for _, name, _ in shown(operations)] == ["recommender", "recommender", "wilder", "wild", "calm"]
    assert shown(operations)[0][0] == "performance"


def test_each_monitor_is_shown_once_with_its_newest_day(operations):
    judge(operations, "data_drift", "recommender", "2017-11-21", "ok")
    judge(operations, "data_drift", "recommender", "2017-11-20", "alert")
    assert shown(operations) == [("data_drift", "recommender", "ok")]
    assert shown(operations, date(2017, 11, 20)) == [("data_drift", "recommender", "alert")]


def test_a_feature_that_the_newest_model_does_not_have_is_not_shown(operations):
    judge(operations, "feature_drift", "recommender: gone", "2017-11-20", "alert", 0.4)
    judge(operations, "data_drift", "recommender", "2017-11-21", "ok")
    assert shown(operations) == [("data_drift", "recommender", "ok")]


def test_a_verdict_stays_in_sight_while_the_next_week_ripens(operations):
    judge(operations, "performance", "recommender", "2017-11-27", "alert", 0.1)
    judge(operations, "performance", "recommender", "2017-11-28", "unknown", expected=True, why="not yet mature")
    assert {state for _, _, state in shown(operations)} == {"alert", "unknown"}


def test_nothing_judged_is_said(configure):
    configure()
    assert CliRunner().invoke(monitor, []).output == "nothing was judged yet\n"
