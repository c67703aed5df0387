"""A decision as it is answered and as it is kept: the answer, the attempt, and all that a replay needs.

The kept body is JSON: `answer`, `attempt` (the fields of a payment event, `outcome` only where it was posted),
`explained` (what the answer leaves out) and `basis` (row, velocities and what the day had used up). Values of the row
and contributions stand in lists under the digest of their names (`ml/serving/column_lists.py`), since the names are
longer than all the rest.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np

from ml.fraud.engine import STANDIN_STEP, DayUse, Decided
from ml.fraud.events import PAYMENT, Attempt, parse_attempt
from ml.outcomes import DataFailed
from ml.serving.column_lists import ColumnLists
from ml.serving.fraud_parts import FraudParts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTRIBUTION_DIGITS = 6  # log-odds; what rounding loses is far below what any reader looks at


@dataclass(frozen=True)
class KeptDecision:
    """A decision read back from the log.

    Attributes:
        answer: As it was answered.
        attempt: Fields of the payment event as posted.
        explained: Of the decision what the answer leaves out: would_decline, propensity, expected_saving_cents,
            rule_trace, contributions (by name), fault, spends.
        basis: row (by name), velocities, use.
    """

    answer: dict[str, Any]
    attempt: dict[str, Any]
    explained: dict[str, Any]
    basis: dict[str, Any]

    def parsed_attempt(self, currency: str) -> Attempt:
        return parse_attempt(self.attempt, None, currency)


def decision_id_of(payment_id: str) -> str:
    """The same for the same payment, and no way back to it."""
    return f"decision-{sha256(payment_id.encode()).hexdigest()[:32]}"


def moment_of(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def answer_of(
    decided: Decided, parts: FraudParts, features_age_seconds: float | None, decided_at: datetime
) -> dict[str, Any]:
    """What the shop is told."""
    return {
        "decision_id": decision_id_of(decided.payment_id),
        "order_id": decided.order_id,
        "payment_id": decided.payment_id,
        "action": decided.action,
        "risk": risk_of(decided),
        "source": decided.source,
        "step": decided.step,
        "degraded": decided.step != "model",
        "reasons": decided.reasons,
        "rules": [one["rule"] for one in decided.rule_trace if one["matched"]],
        "score": decided.probability,
        "hint": decided.hint,
        "expected_costs_cents": dict(decided.expected_costs),
        "model_version": None if decided.step == STANDIN_STEP else parts.model_version,
        "feature_version": parts.feature_version,
        "policy_version": parts.policy_version,
        "features_age_seconds": features_age_seconds,
        "decided_at": decided_at.isoformat(),
        "data": parts.data,
    }


def risk_of(decided: Decided) -> str:
    """In one word what the probability says, whatever rules, lists and reviewers' days made of it.

    low: letting the order through costs least; high: declining it does; elevated: something between; unknown: no
    model scored.
    """
    if decided.probability is None:
        return "unknown"
    cheapest = min(decided.expected_costs, key=lambda action: decided.expected_costs[action])
    return {"approve": "low", "decline": "high"}.get(cheapest, "elevated")


def body_of(
    answer: Mapping[str, Any],
    decided: Decided,
    attempt: Attempt,
    columns: ColumnLists,
    inputs: tuple[str, ...],
    velocities: Mapping[str, int] | None,
    use: DayUse,
) -> str:
    """The body under which the decision is kept.

    Args:
        inputs: Names of what the step's model is fed, and `bias`; contributions are of these.
        use: Of the shop day, as it was when this was decided.
    """
    rounded = np.round(list(decided.contributions.values()), _CONTRIBUTION_DIGITS).tolist()
    shares = dict(zip(decided.contributions, rounded, strict=True))
    kept = {
        "answer": answer,
        "attempt": attempt_fields(attempt),
        "explained": {
            "would_decline": decided.would_decline,
            "propensity": decided.propensity,
            "expected_saving_cents": decided.expected_saving_cents,
            "rule_trace": decided.rule_trace,
            "contributions": columns.sparse(inputs, shares),
            "fault": decided.fault,
            "spends": decided.spends,
        },
        "basis": {
            "row": [columns.keep(tuple(decided.row)), list(decided.row.values())],
            "velocities": velocities,
            "use": {"reviews": use.reviews, "explored": use.explored, "standin_cents": use.standin_cents},
        },
    }
    return _ENCODER.encode(kept).decode()


def read_body(body: str, columns: ColumnLists) -> KeptDecision:
    """A decision as it was kept.

    Raises:
        DataFailed: It is not such a body, or its names are gone.
    """
    try:
        kept = json.loads(body)
        explained, basis = kept["explained"], kept["basis"]
        explained["contributions"] = columns.spread(*explained["contributions"])
        basis["row"] = columns.named(*basis["row"])
        return KeptDecision(kept["answer"], kept["attempt"], explained, basis)
    except (ValueError, KeyError, TypeError) as error:
        raise DataFailed(f"a kept decision cannot be read: {type(error).__name__}") from error


def attempt_fields(attempt: Attempt) -> dict[str, Any]:
    """An attempt as the payment event that tells the same."""
    event = attempt.event
    fields = {
        "type": PAYMENT,
        "payment_id": event.payment_id,
        "order_id": event.order_id,
        "attempted_at": moment_of(event.attempted_at).isoformat(),
        "amount_cents": event.amount_cents,
        "currency": attempt.currency,
        **{name: value for name, value in event.values.items() if value is not None},
    }
    if attempt.account_created_at is not None:
        fields["account_created_at"] = moment_of(attempt.account_created_at).isoformat()
    if attempt.outcome is not None:
        fields["outcome"] = attempt.outcome
    return fields


def _plain(value: Any) -> Any:
    """numpy's scalars, as JSON has them."""
    return value.item() if hasattr(value, "item") else str(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
