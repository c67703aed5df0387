"""What is kept of proofs: how a gate stands, when it is unknown, who is told."""

from datetime import UTC, date, datetime, timedelta

import pytest
from click.testing import CliRunner

from ml.cli import gates as gates_command
from ml.cli.gate_history import DayOfGate, gate_history
from ml.cli.selftest import record, steps
from ml.cli.selftest.page import write_selftest_page
from ml.cli.selftest.proofs import Proof
from ml.cli.selftest.registry import GATES
from ml.outcomes import DataFailed, ToolFailed
from ml.stores.operations import Operations, gate_proofs, incidents

WANTED = {"arrivals": ["a", "b"], "marts": ["c"]}
DAY = date(2024, 3, 4)
NOON = datetime(2024, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def operations(configure):
    return Operations.from_settings(configure())


def states(operations):
    return {(found.gate, found.bad_input): found.state for found in record.standings(operations, WANTED)}


def tell(operations):
    record.tell(operations, record.standings(operations, WANTED), DAY)
    return {row["object"]: row["severity"] for row in operations.rows(incidents, state="open", kind="selftest_failed")}


def test_a_gate_that_was_never_tried_is_unknown_and_somebody_is_told(operations):
    assert set(states(operations).values()) == {"unknown"}
    assert tell(operations) == {"arrivals": "unknown", "marts": "unknown"}


def test_a_gate_is_proven_when_every_bad_input_is(operations):
    record.store(operations, [Proof("arrivals", "a", "proven", ""), Proof("marts", "c", "proven", "")])
    assert states(operations) == {("arrivals", "a"): "proven", ("arrivals", "b"): "unknown", ("marts", "c"): "proven"}
    assert tell(operations) == {"arrivals": "unknown"}
    record.store(operations, [Proof("arrivals", "b", "proven", "")])
    assert tell(operations) == {}


def test_one_bad_input_that_got_through_is_an_alert_and_the_last_proof_stays_known(operations):
    record.store(operations, [Proof("marts", "c", "proven", "")])
    record.store(operations, [Proof("marts", "c", "failed", "it got through: x would start next")])
    (found,) = [each for each in record.standings(operations, WANTED) if each.gate == "marts"]
    assert found.state == "failed"
    assert found.proven_at < found.tried_at
    assert tell(operations)["marts"] == "alert"
    body = operations.rows(incidents, object="marts")[0]["body"]
    assert "it got through: x would start next" in body


@pytest.mark.parametrize(("days", "state"), [(7, "proven"), (9, "unknown")])
def test_a_proof_is_trusted_for_eight_days(operations, monkeypatch, days, state):
    record.store(operations, [Proof("marts", "c", "proven", "")])
    (row,) = operations.rows(gate_proofs)
    monkeypatch.setattr(record, "wall_clock", lambda: row["proven_at"] + timedelta(days=days))
    assert states(operations)[("marts", "c")] == state


def test_a_run_raises_what_it_found_and_keeps_it(operations, monkeypatch):
    def found(outcome):
        monkeypatch.setattr(steps, "prove_gates", lambda *_: [Proof("marts", "no products", outcome, "as told")])
        steps.prove(["marts"])

    with pytest.raises(DataFailed, match="marts, no products: as told"):
        found("failed")
    with pytest.raises(ToolFailed, match="marts, no products: as told"):
        found("unknown")
    found("proven")
    assert [row["outcome"] for row in operations.rows(gate_proofs)] == ["failed", "unknown", "proven"]


def test_a_replayed_shop_is_not_blamed_for_a_selftest_that_only_people_start(operations, configure):
    configure(last_day="2017-12-31")
    assert gates_command.check_gate_proofs(DAY) == {"partition": "2024-03-04", "watched": False}
    assert operations.rows(incidents) == []
    configure(last_day="none")
    summary = gates_command.check_gate_proofs(DAY)
    assert summary["watched"]
    assert summary["unknown"] > 50
    assert {row["object"] for row in operations.rows(incidents, state="open")} == set(GATES)


def test_the_page_tells_of_every_gate_and_input_and_the_status_page_finds_it(operations, configure):
    settings = configure()
    record.store(operations, [Proof("marts", "no products", "failed", "<it> got through")])
    page = write_selftest_page(settings, steps.current_standings(operations)).read_text()
    assert page.count("<h2>") == len(GATES)
    assert "&lt;it&gt; got through" in page
    assert "<it>" not in page
    assert (settings.shop_dir / "reports" / "selftest.html").exists()


def test_the_command_lists_how_gates_stand_and_knows_its_gates(operations):
    shown = CliRunner().invoke(gates_command.gates, ["selftest", "--show", "--gate", "promotion"])
    assert shown.exit_code == 0
    assert shown.output.count("never tried") == shown.output.count("unknown  promotion") > 8
    wrong = CliRunner().invoke(gates_command.gates, ["selftest", "--gate", "customs"])
    assert wrong.exit_code == 2
    assert "there are arrivals, dbt_tests" in wrong.output


def test_history_counts_every_verdict_by_day_and_gate(operations):
    def judge(gate, day, status, batch):
        operations.record_verdict(
            gate=gate, object="orders", batch_id=batch, partition=day, status=status, rules=[], judged_at=NOON
        )

    judge("arrivals", "2024-03-04", "failed", "b")
    judge("arrivals", "2024-03-04", "passed", "b")  # corrected, and judged again
    judge("arrivals", "2024-03-05", "unknown", "c")
    operations.record_promotion(
        product="recommender",
        challenger="x",
        champion="y",
        partition="2024-03-05",
        verdict="refused",
        rules=[],
        metrics={},
    )
    found = gate_history(operations, 14)
    assert found == [
        DayOfGate("2024-03-04", "arrivals", 1, 1, 0),
        DayOfGate("2024-03-05", "arrivals", 0, 0, 1),
        DayOfGate("2024-03-05", "promotion", 0, 1, 0),
    ]
    assert gate_history(operations, 1) == found[1:]
    assert gate_history(operations, 14, "promotion") == found[2:]
    listed = CliRunner().invoke(gates_command.gates, ["history", "--days", "1", "--gate", "arrivals"])
    assert "2024-03-05" in listed.output
    assert "promotion" not in listed.output
