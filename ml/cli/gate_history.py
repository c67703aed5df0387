"""How often each gate let through, blocked, or could not tell, by shop day."""

from collections import Counter
from dataclasses import dataclass

from sqlalchemy import func, select

from ml.stores.operations import Operations, judgements, promotions

_OF_STATUS = {"passed": "passed", "promoted": "passed", "failed": "blocked", "refused": "blocked", "unknown": "unknown"}
PROMOTION = "promotion"


@dataclass(frozen=True)
class DayOfGate:
    """Verdicts of one gate for one shop day; a batch that was judged again counts again."""

    day: str
    gate: str
    passed: int
    blocked: int
    unknown: int


def gate_history(operations: Operations, days: int, gate: str | None = None) -> list[DayOfGate]:
    """The newest shop days on which something was judged, oldest first."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for name, day, status, count in _counted(operations):
        if status in _OF_STATUS and gate in (None, name):
            counts.setdefault((day, name), Counter())[_OF_STATUS[status]] += count
    shown = sorted({day for day, _ in counts})[-days:]
    return [
        DayOfGate(day, name, found["passed"], found["blocked"], found["unknown"])
        for (day, name), found in sorted(counts.items())
        if day in shown
    ]


def _counted(operations: Operations) -> list[tuple[str, str, str, int]]:
    judged = judgements.c
    of_gates = select(judged.gate, judged.partition, judged.status, func.count()).group_by(
        judged.gate, judged.partition, judged.status
    )
    decided = promotions.c
    of_models = select(decided.partition, decided.verdict, func.count()).group_by(decided.partition, decided.verdict)
    with operations.transaction() as connection:
        rows = [
            (str(gate), str(day), str(status), int(count)) for gate, day, status, count in connection.execute(of_gates)
        ]
        models = [
            (PROMOTION, str(day), str(verdict), int(count)) for day, verdict, count in connection.execute(of_models)
        ]
    return [*rows, *models]
