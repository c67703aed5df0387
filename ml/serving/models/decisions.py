"""Attempts to pay and the decisions on them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ml.serving.bodies import StrictBody
from ml.serving.models.fields import Id, Moment, Told

MOST_DECISIONS, MOST_LOOKUPS = 100, 100


# What is asked


class PaymentAttempt(StrictBody):
    """An attempt to pay, before its outcome is known. Identifiers of people and devices are the shop's own hashes."""

    type: Literal["payment"] | None = "payment"
    payment_id: Id
    order_id: Id
    attempted_at: Moment
    amount_cents: Annotated[int, Field(ge=1, le=10**12, description="Smallest unit of the currency.")]
    currency: Annotated[str, Field(description="The shop's settlement currency, ISO 4217.", pattern="^[A-Z]{3}$")]
    outcome: Literal["approved", "declined", "failed"] | None = None
    customer_id: Id | None = None
    instrument_hash: Id | None = None
    device_hash: Id | None = None
    ip_hash: Id | None = None
    ip_country: Id | None = None
    shipping_address_hash: Id | None = None
    billing_address_hash: Id | None = None
    email_domain: Id | None = None
    channel: Id | None = None
    terminal_id: Id | None = None
    account_created_at: Moment | None = None


class PaymentAttempts(StrictBody):
    """Several attempts, decided in their order."""

    attempts: Annotated[list[PaymentAttempt], Field(min_length=1, max_length=MOST_DECISIONS)]


class DecisionIds(StrictBody):
    """Decisions asked for."""

    decision_ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_LOOKUPS)]


class DecisionQuery(StrictBody):
    """How much of a decision is shown."""

    replay: Literal["true", "false"] = "false"


# What is told


class Reason(BaseModel):
    """Why; a key without `decisions:read` is told the code and its text alone."""

    model_config = ConfigDict(extra="allow", frozen=True)

    code: str
    text: str | None = None


class Decision(Told):
    """What to do with a payment. `score`, `hint` and `expected_costs_cents` are told to keys with `decisions:read`."""

    decision_id: str
    order_id: str
    payment_id: str | None
    action: Literal["approve", "challenge", "review", "decline"]
    risk: Literal["low", "elevated", "high", "unknown"]
    source: Literal["model", "rule", "list", "standin"]
    step: Literal["model", "fallback_model", "standin"]
    degraded: bool
    reasons: list[Reason]
    rules: list[str]
    model_version: str | None
    feature_version: str | None
    policy_version: str
    features_age_seconds: float | None
    decided_at: str
    data: str | None
    score: float | None = None
    hint: str | None = None
    expected_costs_cents: dict[str, float] | None = None


class Explained(BaseModel):
    """How the decision came about."""

    model_config = ConfigDict(extra="allow", frozen=True)

    would_decline: bool | None
    propensity: float | None
    expected_saving_cents: float | None
    rule_trace: list[dict[str, Any]]
    contributions: dict[str, float]
    fault: str | None


class Rescored(Told):
    """What the model says of a decision that was made without it."""

    score: float | None
    action: str | None
    model_version: str | None
    policy_version: str | None
    problem: str | None
    rescored_at: str


class Replay(Told):
    """The decision made again by its stored row, model and policy; `problem` says why it could not be."""

    reproduced: bool | None
    differences: list[str]
    problem: str | None


class ShownDecision(Decision):
    """A decision with all that explains it."""

    explained: Explained
    rescored: Rescored | None
    replay: Replay | None = None


class DecisionResult(Told):
    """`known`: the same attempt was decided before. `conflict`: another attempt has this payment's decision."""

    status: Literal["decided", "known", "conflict"]
    decision_id: str
    decision: Decision | None


class Decisions(Told):
    """In the order of the attempts."""

    results: list[DecisionResult]


class Found(Told):
    """A decision, or null where there is none of that id."""

    decision_id: str
    decision: ShownDecision | None


class FoundDecisions(Told):
    """In the order of the ids."""

    decisions: list[Found]
