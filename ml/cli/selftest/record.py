"""What is kept of the self-test: proofs, when each gate was last proven, and the incident when one was not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.selftest.proofs import SWITCHED_OFF, Proof
from ml.settings import Settings, wall_clock
from ml.stores.operations import Operations, gate_proofs

KIND = "selftest_failed"
RULE = "gate_blocks"
TRUSTED_FOR = timedelta(days=8)
"""A proof is trusted this long: a week between two runs, and a day for a late one."""

State = Literal["proven", "failed", "unknown"]
_SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class Standing:
    """How one gate stands against one bad input.

    Attributes:
        state: Unknown when never proven, proven too long ago, or when the newest try told nothing.
        tried_at: The newest try.
        proven_at: The newest try that proved it.
    """

    gate: str
    bad_input: str
    state: State
    detail: str
    tried_at: datetime | None
    proven_at: datetime | None


def store(operations: Operations, proofs: Sequence[Proof]) -> None:
    """Add the proofs of a run to the record."""
    now = wall_clock()
    rows = [
        {
            "gate": proof.gate,
            "bad_input": proof.bad_input,
            "outcome": proof.outcome,
            "detail": proof.detail,
            "proven_at": now,
        }
        for proof in proofs
    ]
    with operations.transaction() as connection:
        connection.execute(gate_proofs.insert(), rows)


def standings(operations: Operations, wanted: Mapping[str, Sequence[str]]) -> list[Standing]:
    """How each gate stands now.

    Args:
        wanted: Gate -> its bad inputs, as they are declared today.
    """
    newest: dict[tuple[str, str], dict[str, object]] = {}
    proven: dict[tuple[str, str], datetime] = {}
    for row in operations.rows(gate_proofs):
        key = (row["gate"], row["bad_input"])
        newest[key] = row
        if row["outcome"] == "proven":
            proven[key] = row["proven_at"]
    now = wall_clock()
    return [
        _standing(gate, bad_input, newest.get((gate, bad_input)), proven.get((gate, bad_input)), now)
        for gate, bad_inputs in wanted.items()
        for bad_input in bad_inputs
    ]


def _standing(
    gate: str, bad_input: str, row: Mapping[str, object] | None, proven_at: datetime | None, now: datetime
) -> Standing:
    if row is None:
        return Standing(gate, bad_input, "unknown", "never tried", None, None)
    tried_at = row["proven_at"]
    assert isinstance(tried_at, datetime)
    state: State = row["outcome"]  # type: ignore[assignment]  # the table's comment names the three
    detail = str(row["detail"])
    if state == "proven" and now - tried_at > TRUSTED_FOR:
        state, detail = "unknown", f"proven {(now - tried_at).days} days ago, trusted for {TRUSTED_FOR.days}"
    return Standing(gate, bad_input, state, detail, tried_at, proven_at)


def tell(operations: Operations, found: Sequence[Standing], day: date) -> None:
    """Open an incident per gate that is not proven, and close those of gates that are."""
    for gate in dict.fromkeys(standing.gate for standing in found):
        bad = [standing for standing in found if standing.gate == gate and standing.state != "proven"]
        if not bad:
            close_incident(operations, kind=KIND, object=gate, rule=RULE, partition=day)
            continue
        has_failed = any(standing.state == "failed" for standing in bad)
        lines = [f"{standing.bad_input}: {standing.state}, {standing.detail}" for standing in bad[:_SHOWN_PROBLEMS]]
        open_incident(
            operations,
            kind=KIND,
            object=gate,
            rule=RULE,
            partition=day,
            severity="alert" if has_failed else "unknown",
            title=f"gate {gate}: {len(bad)} bad inputs are not proven to be blocked",
            body="\n".join([*lines, "`shopwright gates selftest` proves it again."]),
        )


def shop_day(settings: Settings) -> date:
    """Today in the shop's time zone: the self-test belongs to the wall clock's day, whatever day is replayed."""
    return wall_clock().astimezone(settings.zone).date()


def is_switch(bad_input: str) -> bool:
    return bad_input.startswith(SWITCHED_OFF)
