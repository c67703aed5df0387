"""A decision before it is in the log: what would be answered, and the entry that it is kept as."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ml.fraud.engine import DayUse, Decided
from ml.fraud.events import Attempt
from ml.serving.column_lists import ColumnLists
from ml.serving.decision_record import answer_of, body_of, decision_id_of, moment_of
from ml.serving.fraud_parts import FraudParts
from ml.stores.serving_log import Entry, Spend


@dataclass(frozen=True)
class Basis:
    """What an attempt is decided by, beside the engine.

    Attributes:
        digest: sha256 of the attempt's canonical request.
        age: By how many seconds its counted features lag; None without them.
        decided_at: Shop time.
        use: What the shop day has used up.
        request: (idempotency key, digest of the whole request) where it is the first of one; (None, None) else.
    """

    attempt: Attempt
    digest: str
    day: str
    age: float | None
    decided_at: datetime
    velocities: Mapping[str, int] | None
    use: DayUse
    request: tuple[str | None, str | None]


@dataclass(frozen=True)
class Draft:
    """What is answered once the entry is in the log."""

    basis: Basis
    decided: Decided
    answer: Mapping[str, Any]
    entry: Entry


def draft(basis: Basis, decided: Decided, parts: FraudParts, columns: ColumnLists) -> Draft:
    """Word a decision for its answer and for the log."""
    attempt, (idempotency_key, request_digest) = basis.attempt, basis.request
    answer = answer_of(decided, parts, basis.age, basis.decided_at)
    inputs = parts.inputs.get(decided.step, ())
    entry = Entry(
        kind="decision",
        key=decision_id_of(attempt.event.payment_id),
        body=body_of(answer, decided, attempt, columns, inputs, basis.velocities, basis.use),
        digest=basis.digest,
        event_at=moment_of(attempt.event.attempted_at),
        spends=tuple(Spend(name, basis.day, amount, limit) for name, amount, limit in decided.spends),
        idempotency_key=idempotency_key,
        request_digest=request_digest,
    )
    return Draft(basis, decided, answer, entry)
