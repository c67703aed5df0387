from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from click.testing import CliRunner

from ml.cli import warehouse
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.operations import Operations, alerts, gate_verdicts, incidents
from ml.stores.warehouse import Staged

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
