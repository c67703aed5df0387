"""The self-test as a step, as its DAG and `shopwright gates selftest` run it."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ml.cli.selftest import record
from ml.cli.selftest.page import write_selftest_page
from ml.cli.selftest.proofs import proof_names
from ml.cli.selftest.record import Standing
from ml.cli.selftest.registry import GATES
from ml.cli.selftest.run import logs_folder, prove_gates
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, get_settings
from ml.stores.operations import Operations

_SHOWN = 5


def prove(gates: Sequence[str] = (), say: Callable[[str], None] = lambda _line: None) -> dict[str, Any]:
    """Prove gates, all where none is named; keep what came of it, and tell of a gate that is not proven.

    Raises:
        DataFailed: A gate let bad input through.
        ToolFailed: A gate could not be tried.
    """
    settings = get_settings()
    operations = Operations.from_settings(settings)
    chosen = list(gates) or list(GATES)
    proofs = prove_gates(settings, chosen, say)
    record.store(operations, proofs)
    found = [standing for standing in current_standings(operations) if standing.gate in chosen]
    record.tell(operations, found, record.shop_day(settings))
    write_selftest_page(settings, current_standings(operations))
    _raise_if_bad(settings, [proof for proof in proofs if proof.outcome == "failed"], DataFailed)
    _raise_if_bad(settings, [proof for proof in proofs if proof.outcome == "unknown"], ToolFailed)
    return {"gates": chosen, "proven": len(proofs)}


def _raise_if_bad(settings: Settings, bad: Sequence[Any], kind: type[DataFailed] | type[ToolFailed]) -> None:
    if bad:
        told = "; ".join(f"{proof.gate}, {proof.bad_input}: {proof.detail}" for proof in bad[:_SHOWN])
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise kind(f"{told}{more} (logs in {logs_folder(settings)})")


def check_ages() -> dict[str, int]:
    """Tell of gates that are not proven, or not lately.

    Returns:
        State -> how many bad inputs.
    """
    settings = get_settings()
    operations = Operations.from_settings(settings)
    found = current_standings(operations)
    record.tell(operations, found, record.shop_day(settings))
    write_selftest_page(settings, found)
    return dict(Counter(standing.state for standing in found))


def current_standings(operations: Operations) -> list[Standing]:
    """How every gate stands against every bad input that is declared today."""
    return record.standings(operations, {name: proof_names(gate) for name, gate in GATES.items()})
