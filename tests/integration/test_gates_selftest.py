"""The self-test of the gates, really run: the DAGs' own tasks in child processes, on an isolated shop."""

import pytest

from ml.cli.selftest import record, steps
from ml.cli.selftest.proofs import proof_names
from ml.cli.selftest.registry import GATES
from ml.stores.operations import Operations, alerts, gate_proofs, gate_verdicts, incidents


def _prove(configure, gates):
    settings = configure(last_day="none", alert_urls='["json://127.0.0.1:1"]')
    said = []
    summary = steps.prove(gates, said.append)
    operations = Operations.from_settings(settings)
    rows = operations.rows(gate_proofs)
    wanted = {(gate, name) for gate in gates for name in proof_names(GATES[gate])}
    assert {(row["gate"], row["bad_input"]) for row in rows} == wanted
    assert {row["outcome"] for row in rows} == {"proven"}
    assert summary == {"gates": list(gates), "proven": len(wanted)}
    assert len(said) >= 1 + len(gates)
    # Nothing of the isolated shop is seen in the real one: no verdict, no incident, no alert.
    assert operations.rows(gate_verdicts) == []
    assert operations.rows(incidents) == operations.rows(alerts) == []
    found = [each for each in steps.current_standings(operations) if each.gate in gates]
    assert {each.state for each in found} == {"proven"}
    record.tell(operations, steps.current_standings(operations), record.shop_day(settings))
    assert {row["object"] for row in operations.rows(incidents, state="open")} == set(GATES) - set(gates)
    assert (settings.shop_dir / "reports" / "selftest.html").exists()
    assert list((settings.shop_dir / "selftest").glob("gate-*.log"))


def test_the_arrival_gate_is_proven(configure):
    _prove(configure, ["arrivals"])


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_every_gate_is_proven(configure):
    _prove(configure, list(GATES))


def test_a_child_that_cannot_start_leaves_every_proof_unknown(configure, monkeypatch):
    settings = configure()
    monkeypatch.setattr("ml.cli.selftest.run.DAGS_DIR", settings.shop_dir)  # no DAGs are there
    from ml.cli.selftest.run import prove_gates

    proofs = prove_gates(settings, ["marts"], lambda _line: None)
    assert [proof.bad_input for proof in proofs] == proof_names(GATES["marts"])
    assert {proof.outcome for proof in proofs} == {"unknown"}
    assert "the shop could not be made: stage loaded ended with exit code 1" in proofs[0].detail
