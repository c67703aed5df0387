"""Every gate, and every kind of rule that it has, is in the self-test; and the self-test proves nothing else."""

import ast
import re
from pathlib import Path

import great_expectations.expectations as gxe
import pytest

from expectations.suites.arrivals import ARRIVAL_SUITES
from expectations.suites.marts import MART_SUITES
from expectations.validation import ROW, rule_meta
from expectations.verdicts import Gate
from ml.cli.selftest.proofs import SWITCHED_OFF, proof_names
from ml.cli.selftest.registry import GATES
from ml.settings import PROJECT_DIR
from tests.unit.cli.selftest import rule_kinds

# Tasks that are gates and whose names do not say so. What is called gate_... is one anyway.
OTHER_GATE_TASKS = {
    "warehouse_build.build_models",
    "features_materialize.materialize_features",
    "recommender_train.decide_promotion",
}
# Proven beside the kinds of rules: any rule of these may refuse it.
WITHOUT_KIND = {"promotion": {"a model that learnt from noise"}}
# dbt's and the parity check's own words; the others are read from suites and code.
PARITY_KINDS = {"online_equals_offline", "finite", "not_in_future", "key_present", "key_unique", "columns_present"}


def gate_tasks(folder: Path) -> set[str]:
    """`dag.task` of every task that is a gate by its name."""
    found = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("gate_"):
                found.add(f"{path.stem}.{node.name}")
    return found


def recorded_gates(folder: Path) -> set[str]:
    """Gates that steps record of themselves (`ml.cli.step_verdicts.recorded`)."""
    return {name for path in folder.rglob("*.py") for name in re.findall(r'@recorded\(\s*"(\w+)"', path.read_text())}


def proven_kinds(gate: str) -> set[str]:
    return {kind for name, kind in GATES[gate].rules.items() if name not in WITHOUT_KIND.get(gate, ())}


def test_every_gate_has_its_proofs():
    assert {gate.value for gate in Gate} <= set(GATES)
    assert recorded_gates(PROJECT_DIR / "ml" / "cli") == {"dbt_tests", "feature_parity"}
    assert {gate.value for gate in Gate} | recorded_gates(PROJECT_DIR / "ml" / "cli") | {
        "promotion",
        "fraud_inputs",
    } == set(GATES)


def test_every_gate_task_has_its_proofs_and_every_proof_its_task():
    tasks = gate_tasks(PROJECT_DIR / "dags")
    assert len(tasks) >= 3
    assert tasks | OTHER_GATE_TASKS == {gate.task for gate in GATES.values()}


def test_a_planted_gate_task_would_be_missed(tmp_path):
    (tmp_path / "shop_prune.py").write_text("def shop_prune():\n    @task\n    def gate_leftovers(): ...\n")
    assert gate_tasks(tmp_path) == {"shop_prune.gate_leftovers"}
    assert not gate_tasks(tmp_path) <= {gate.task for gate in GATES.values()}


def test_a_planted_step_that_records_a_verdict_would_be_missed(tmp_path):
    (tmp_path / "step.py").write_text('@recorded("leftovers", "x", "y", "z")\ndef step(day): ...\n')
    assert not recorded_gates(tmp_path) <= set(GATES)


KINDS = {
    "arrivals": rule_kinds.arrival_kinds,
    "dbt_tests": rule_kinds.dbt_kinds,
    "marts": rule_kinds.mart_kinds,
    "model_inputs": rule_kinds.model_input_kinds,
    "fraud_inputs": rule_kinds.fraud_input_kinds,
    "feature_parity": lambda: PARITY_KINDS,
    "promotion": rule_kinds.promotion_kinds,
}


@pytest.mark.parametrize("gate", GATES)
def test_every_kind_of_rule_is_proven_and_every_proof_is_of_one(gate):
    wanted, proven = KINDS[gate](), proven_kinds(gate)
    assert len(wanted) > 4, "nothing was read"
    assert wanted - proven == set(), "kinds of rules without bad input: add it in ml/cli/selftest"
    assert proven - wanted == set(), "bad input for kinds of rules that no suite has"


def _with_planted_rule(suite):
    planted = gxe.ExpectColumnToExist(column="x", meta=rule_meta("planted", ROW, "x", holds_for_deletes=True))
    return lambda about: [*suite(about), planted]


def test_a_planted_rule_would_be_missed(tmp_path):
    arrivals = {**ARRIVAL_SUITES, "products": _with_planted_rule(ARRIVAL_SUITES["products"])}
    assert rule_kinds.arrival_kinds(arrivals) - proven_kinds("arrivals") == {"planted"}
    marts = {**MART_SUITES, "dim_products": _with_planted_rule(MART_SUITES["dim_products"])}
    assert rule_kinds.mart_kinds(marts) - proven_kinds("marts") == {"planted"}
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "planted.sql").write_text("select 1")
    (tmp_path / "dbt_project.yml").write_text("")
    assert rule_kinds.dbt_kinds(tmp_path) - proven_kinds("dbt_tests") == {"planted"}


@pytest.mark.parametrize("gate", GATES)
def test_every_gate_is_switched_off_at_least_once_for_an_input_that_it_has(gate):
    proof = GATES[gate]
    assert proof.switched
    assert set(proof.switched) <= set(proof.rules)
    names = proof_names(proof)
    assert len(names) == len(set(names)) == len(proof.rules) + len(proof.switched)
    assert sum(name.startswith(SWITCHED_OFF) for name in names) == len(proof.switched)
