"""What goes over the wire: the one description from which bodies are judged and docs/openapi.json is made.

Fields of events and attempts to pay are judged by the readers of `ml.fraud.events` and `ml.serving.event_service`;
their models here say the same to who writes a client.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ml.serving.bodies import StrictBody
from ml.stores import reviews

MOST_DECISIONS, MOST_LOOKUPS, MOST_RECOMMENDATIONS, MOST_EVENTS = 100, 100, 50, 500
MOST_PRODUCTS, MOST_EXCLUDED = 50, 100
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"
PLACEMENT = r"^[a-z][a-z0-9_-]{0,39}$"
_MAX_LEASE_MINUTES = 240

Id = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
Moment = Annotated[
    str, Field(description="ISO 8601 with its offset from UTC, from 1990 until 5 minutes after now.", max_length=40)
]
Cents = Annotated[int, Field(ge=0, le=10**12)]


class Told(BaseModel):
    """An answer: these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _without_controls(text: str) -> str:
    if any(ord(sign) < 32 and sign not in "\n\t" for sign in text) or "\x7f" in text:
        raise ValueError("control characters")
    return text


# Requests about payments


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


# Requests about recommendations


class RecommendationQuery(StrictBody):
    """What is wanted for a customer."""

    placement: Annotated[str, Field(pattern=PLACEMENT)] = "home"
    k: Annotated[int, Field(ge=1, le=MOST_PRODUCTS)] = 10
    exclude: Annotated[list[Id], Field(max_length=MOST_EXCLUDED)] = Field(default_factory=list)
    category: Id | None = None
    store_id: Id | None = None


class WantedRecommendation(RecommendationQuery):
    """The same, and for whom."""

    customer_id: Id


class WantedRecommendations(StrictBody):
    """Several at once."""

    requests: Annotated[list[WantedRecommendation], Field(min_length=1, max_length=MOST_RECOMMENDATIONS)]


# Events


class Payment(PaymentAttempt):
    """A payment with its outcome."""

    type: Literal["payment"]
    amount_cents: Cents
    outcome: Literal["approved", "declined", "failed"]


class Label(StrictBody):
    """Something that says whether an order was fraud."""

    type: Literal["label"]
    label_id: Id
    order_id: Id
    is_fraud: bool
    known_at: Moment
    label_source: Literal["chargeback", "refund", "review"]


class OrderLine(StrictBody):
    """One product of an order."""

    order_line_id: Id
    product_id: Id
    quantity: Annotated[int, Field(ge=1)]
    amount_cents: Cents
    discount_cents: Cents


class Order(StrictBody):
    """A completed order."""

    type: Literal["order"]
    order_id: Id
    customer_id: Id | None = None
    ordered_at: Moment
    store_id: Id | None = None
    total_amount_cents: Cents
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    lines: Annotated[list[OrderLine], Field(min_length=1)]


class Interaction(StrictBody):
    """A customer saw, clicked, took or bought a product; `exposure_id` names the recommendation that led to it."""

    type: Literal["view", "click", "cart", "purchase"]
    interaction_id: Id
    customer_id: Id
    product_id: Id
    occurred_at: Moment
    exposure_id: Id | None = None


class Consent(StrictBody):
    """A customer grants or withdraws consent; withdrawn `profiling` holds from the very next recommendation."""

    type: Literal["consent"]
    customer_id: Id
    purpose: Id
    is_granted: bool
    changed_at: Moment


Event = Annotated[Payment | Label | Order | Interaction | Consent, Field(discriminator="type")]


class Events(StrictBody):
    """Several events, kept together."""

    events: Annotated[list[Event], Field(min_length=1, max_length=MOST_EVENTS)]


# Requests about reviews


class Claim(StrictBody):
    """For how long a case is taken."""

    lease_minutes: int = Field(int(reviews.LEASE.total_seconds() // 60), ge=1, le=_MAX_LEASE_MINUTES)


class Nothing(StrictBody):
    """A body that has nothing to say."""


class Verdict(StrictBody):
    """A verdict and what led to it."""

    verdict: Literal["fraud", "legitimate"]
    note: Annotated[str, Field(max_length=reviews.NOTE_CHARACTERS), AfterValidator(_without_controls)] = ""


class ReviewsQuery(StrictBody):
    """Which cases are listed."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    mine: Literal["true", "false"] = "false"


# Answers


class Problem(Told):
    """One field that is wrong; never what was sent."""

    path: str
    problem: str


class ErrorDetails(Told):
    """A code for programs, a message for people."""

    code: str
    message: str
    fields: list[Problem]
    request_id: str


class Error(Told):
    """Every error has this shape."""

    error: ErrorDetails


class Reason(BaseModel):
    """Why; a key without `decisions:read` is told the code alone."""

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


class Item(Told):
    """A product to show."""

    product_id: str
    rank: int
    reason: str | None


class Recommendation(Told):
    """What to show, and by which step of the ladder it was found."""

    exposure_id: str
    customer_id: str | None = None
    placement: str
    step: Literal["personal", "batch", "segment", "popular", "static"]
    degraded: bool
    profiling: bool
    reason: str | None
    items: list[Item]
    model_version: str | None
    feature_version: str | None
    policy_version: str
    as_of_date: str | None
    features_age_seconds: float | None
    k: int


class Recommendations(Told):
    """In the order of the requests."""

    recommendations: list[Recommendation]


class Taken(Told):
    """How many events are kept now, how many were before, and which (by place) differ from what is kept."""

    taken: int
    known: int
    conflicts: list[int]


class Health(Told):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Told):
    """Whether requests can be answered, and by what."""

    status: Literal["ready", "degraded", "unavailable"]
    conditions: dict[str, str]


class CaseList(Told):
    """Cases, the largest expected saving first."""

    cases: list[dict[str, Any]]
    data: str | None


class OneCase(Told):
    """A case, or null where none waits."""

    case: dict[str, Any] | None
    data: str | None


class CaseFile(BaseModel):
    """Everything known about a case."""

    model_config = ConfigDict(extra="allow", frozen=True)

    order_id: str
