"""Events: what happened in the shop, and how much of it was kept."""

from typing import Annotated, Literal

from pydantic import Field

from ml.serving.bodies import StrictBody
from ml.serving.event_fields import LARGEST_QUANTITY
from ml.serving.events import MOST_LINES
from ml.serving.models.decisions import PaymentAttempt
from ml.serving.models.fields import Cents, Id, Moment, Told

MOST_EVENTS = 500


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
    quantity: Annotated[float, Field(gt=0, le=LARGEST_QUANTITY)]
    amount_cents: Cents
    discount_cents: Cents | None = None


class Order(StrictBody):
    """A completed order."""

    type: Literal["order"]
    order_id: Id
    customer_id: Id | None = None
    ordered_at: Moment
    store_id: Id | None = None
    total_amount_cents: Cents
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    lines: Annotated[list[OrderLine], Field(min_length=1, max_length=MOST_LINES)]


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
    purpose: Literal["marketing", "profiling"]
    is_granted: bool
    changed_at: Moment


Event = Annotated[Payment | Label | Order | Interaction | Consent, Field(discriminator="type")]


class Events(StrictBody):
    """Several events, kept together."""

    events: Annotated[list[Event], Field(min_length=1, max_length=MOST_EVENTS)]


class Taken(Told):
    """How many events are kept now, how many were before, and which (by place) differ from what is kept."""

    taken: int
    known: int
    conflicts: list[int]
