from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from ml.cli import warehouse
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.stores.operations import Operations, alerts, gate_verdicts, incidents
from ml.stores.versions import Version
from ml.stores.warehouse import Staged, StaleBuild, marts_store

DAY = date(2017, 11, 19)
NEXT_DAY = date(2017, 11, 20)


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure()


@pytest.fixture
def build(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[date, dict[str, int]], dict[str, Any]]:
    """Build a day whose dbt run holds back these rows."""

    def run(day: date, held: dict[str, int]) -> dict[str, Any]:
        lineage = {"target_day": day.isoformat(), "raw_version": "v000001-a"}
        monkeypatch.setattr(warehouse, "stage_marts", lambda *_: Staged(day, None, (), lineage, held))
        return warehouse.build_models(day)

    return run


def test_rows_that_wait_are_counted_in_a_verdict_and_told_once(build: Any, settings: Settings) -> None:
    assert build(DAY, {"unknown_product": 27})["held"] == {"unknown_product": 27}
    build(DAY, {"unknown_product": 27})
    operations = Operations.from_settings(settings)
    (verdict,) = operations.rows(gate_verdicts, gate="marts", object="held_rows")
    assert (verdict["status"], verdict["rows_quarantined"]) == ("passed", 27)
    assert {rule["rule"]: rule["rows"] for rule in verdict["rules"]} == {
        "unknown_customer": 0,
        "unknown_order": 0,
        "unknown_product": 27,
    }
    (incident,) = operations.rows(incidents)
    assert (incident["rule"], incident["severity"], incident["state"]) == ("unknown_product", "warn", "open")
    assert "27 rows wait, unknown product" in incident["title"]
    assert len(operations.rows(alerts)) == 1


def test_the_incident_closes_when_nothing_waits_any_more(build: Any, settings: Settings) -> None:
    build(DAY, {"unknown_order": 1})
    build(NEXT_DAY, {})
    (incident,) = Operations.from_settings(settings).rows(incidents)
    assert incident["state"] == "closed"


def test_what_the_gate_refuses_is_not_marked_as_judged(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from expectations import gates

    def refuse(*_: object) -> None:
        raise DataFailed("feat_customer: row_count")

    marked = []
    monkeypatch.setattr(warehouse, "open_staged", lambda *_: ("staged", "marts"))
    monkeypatch.setattr(warehouse, "mark_judged", lambda *arguments: marked.append(arguments))
    monkeypatch.setattr(gates, "judge_marts", refuse)
    with pytest.raises(DataFailed):
        warehouse.gate_marts(DAY)
    assert marked == []
    monkeypatch.setattr(gates, "judge_marts", lambda *_: {"objects": {}})
    warehouse.gate_marts(DAY)
    assert marked == [(settings, "staged")]


def test_the_build_command_prints_rows_and_what_is_held(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = {
        "target_day": "2017-11-19",
        "raw_version": "v000001-a",
        "rows": {"fct_orders": 2},
        "held": {"unknown_product": 27},
    }
    monkeypatch.setattr(warehouse, "build_models", lambda _day: summary)
    result = CliRunner().invoke(warehouse.warehouse, ["build", "--day", "2017-11-19"])
    assert result.exit_code == 0
    assert "built up to 2017-11-19 from raw v000001-a" in result.output
    assert "held back: 27 with unknown product" in result.output


class Steps:
    """Stands in for building, judging and publishing; counts them, and is overtaken as often as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, overtaken: int) -> None:
        self.made: list[str] = []
        self.overtaken = overtaken
        monkeypatch.setattr(warehouse, "build_models", lambda _day: self.made.append("build"))
        monkeypatch.setattr(warehouse, "gate_marts", lambda _day: self.made.append("gate"))
        monkeypatch.setattr(warehouse, "publish_staged", self._publish)

    def _publish(self, _settings: Settings, day: date) -> Version:
        self.made.append("publish")
        if self.made.count("publish") <= self.overtaken:
            raise StaleBuild("overtaken")
        return Version("v000002-a", 2, "v000001-a", (), {"target_day": day.isoformat(), "fingerprints": {"f": "x"}})


def test_a_build_that_was_overtaken_is_built_and_judged_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch, overtaken=2)
    assert warehouse.publish_marts(DAY)["feature_versions"] == {"f": 1}
    assert steps.made == ["publish", "build", "gate", "publish", "build", "gate", "publish"]


def test_a_build_that_is_overtaken_time_and_again_is_an_accident(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch, overtaken=9)
    with pytest.raises(ToolFailed):
        warehouse.publish_marts(DAY)
    assert steps.made.count("publish") == 3


def test_what_the_gate_refuses_the_second_time_is_not_published(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch, overtaken=1)

    def refuse(_day: date) -> None:
        raise DataFailed("feat_customer: row_count")

    monkeypatch.setattr(warehouse, "gate_marts", refuse)
    with pytest.raises(DataFailed):
        warehouse.publish_marts(DAY)
    assert steps.made == ["publish", "build"]


def _publish_two(settings: Settings) -> list[Version]:
    store, versions = marts_store(settings), []
    for day in (DAY, NEXT_DAY):
        part = store.write_part("fct_orders", "2017-11", pa.table({"order_id": [str(day)]}))
        lineage = {"target_day": day.isoformat(), "raw_version": "v000001-a", "fingerprints": {}}
        versions.append(store.publish([part], lineage, versions[-1].id if versions else None))
    return versions


def test_rollback_moves_readers_and_versions_shows_what_became_of_each(settings: Settings) -> None:
    first, second = _publish_two(settings)
    dry = CliRunner().invoke(warehouse.warehouse, ["rollback", "--dry-run", "--reason", "r"])
    assert dry.output == f"readers would see {first.id} instead of {second.id}; nothing was done\n"
    assert marts_store(settings).current() == second
    done = CliRunner().invoke(warehouse.warehouse, ["rollback", "--reason", "prices are wrong", "--by", "ann"])
    assert done.exit_code == 0
    assert done.output.startswith(f"readers see {first.id}, up to {DAY}\n")
    lines = [line.split() for line in CliRunner().invoke(warehouse.warehouse, ["versions"]).output.splitlines()]
    assert [first.id, "current", str(DAY), "v000001-a", "-", "1"] in lines
    assert [second.id, "rolled", "back", str(NEXT_DAY), "v000001-a", first.id, "1"] in lines
    assert lines[-1][3:] == [second.id, first.id, "ann", "prices", "are", "wrong"]


def test_a_rollback_without_a_reason_is_wrong_use(settings: Settings) -> None:
    _publish_two(settings)
    assert CliRunner().invoke(warehouse.warehouse, ["rollback"]).exit_code == 2
