"""What the fraud service tells its caller."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ml.fraud.reason_titles import title_of


@dataclass(frozen=True)
class DecisionResult:
    """What became of one attempt.

    Attributes:
        status: `known`: the same request was decided before; `conflict`: another one has this payment's decision.
        answer: As it was and stays; None for a conflict.
    """

    status: Literal["decided", "known", "conflict"]
    decision_id: str
    answer: Mapping[str, Any] | None


def public_view(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer for keys that may not read scores: without what a fraudster could tune an order by."""
    hidden = ("score", "hint", "expected_costs_cents", "explained", "replay")
    reasons = [{"code": one["code"], "text": title_of(str(one["code"]))} for one in answer["reasons"]]
    return {**{name: value for name, value in answer.items() if name not in hidden}, "reasons": reasons}
