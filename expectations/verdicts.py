"""What a gate says: counts and names of rules, never values."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from ml.stores.operations import Operations


class Status(StrEnum):
    PASSED = "passed"
    SET_ASIDE = "set_aside"
    """Rows broke a row rule and were moved to quarantine; the batch itself goes on."""
    WARNED = "warned"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The check could not do its work, so nothing is known about the data."""


class Gate(StrEnum):
    ARRIVALS = "arrivals"
    MARTS = "marts"
    MODEL_INPUTS = "model_inputs"


@dataclass(frozen=True)
class RuleResult:
    """What one rule found.

    Attributes:
        scope: "row" for rules that judge single rows, "batch" for rules that judge the whole.
        observed: A count, share, median or name; never a value of a row.
        rows: Rows that broke the rule.
    """

    rule: str
    scope: str
    status: Status
    observed: str
    expected: str
    rows: int = 0

    @property
    def is_bad(self) -> bool:
        return self.status in (Status.FAILED, Status.UNKNOWN)

    def sentence(self) -> str:
        return f"{self.rule}: expected {self.expected}, found {self.observed}"


@dataclass(frozen=True)
class Verdict:
    """A gate's verdict on one batch or version of one table."""

    gate: Gate
    object: str
    batch_id: str
    partition: date
    rules: tuple[RuleResult, ...]
    rows_in: int = 0
    rows_published: int = 0
    rows_quarantined: int = 0
    rows_collapsed: int = 0

    @property
    def status(self) -> Status:
        found = {rule.status for rule in self.rules}
        # What cannot be known beats what failed: a retry may tell more, and a failure stays a failure.
        return next((status for status in (Status.UNKNOWN, Status.FAILED) if status in found), Status.PASSED)

    @property
    def bad_rules(self) -> tuple[RuleResult, ...]:
        return tuple(rule for rule in self.rules if rule.is_bad)

    def sentences(self) -> str:
        return "; ".join(rule.sentence() for rule in self.bad_rules)

    def as_row(self) -> dict[str, Any]:
        """The verdict as a row of `gate_verdicts`."""
        return {
            "gate": self.gate.value,
            "object": self.object,
            "batch_id": self.batch_id,
            "partition": self.partition.isoformat(),
            "status": self.status.value,
            "rules": [asdict(rule) for rule in self.rules],
            "rows_in": self.rows_in,
            "rows_published": self.rows_published,
            "rows_quarantined": self.rows_quarantined,
            "rows_collapsed": self.rows_collapsed,
        }


def record(operations: Operations, verdicts: Iterable[Verdict]) -> None:
    for verdict in verdicts:
        operations.record_verdict(**verdict.as_row())
