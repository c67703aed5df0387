"""What a shop tells: attempts to pay, and events. Money is in cents; every time is an aware datetime."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, Literal


class _Told:
    """Something that is sent as a JSON object; what is None is left out."""

    type: ClassVar[str] = ""

    def as_json(self) -> dict[str, Any]:
        """The object as it is sent.

        Raises:
            ValueError: A time has no offset from UTC.
        """
        told = {"type": self.type} if self.type else {}
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if value is not None:
                told[field.name] = _plain(field.name, value)
        return told


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name}: expected an aware datetime, such as datetime.now(UTC)")
        return value.isoformat()
    if isinstance(value, tuple):
        return [one.as_json() if isinstance(one, _Told) else one for one in value]
    return value


@dataclass(frozen=True, kw_only=True)
class Attempt(_Told):
    """An attempt to pay that is to be decided, before or after the payment provider was asked.

    Attributes:
        payment_id: Of this attempt; asking again with it gives the same decision.
        instrument_hash: And the other hashes: any keyed hash that is the same for the same thing; never a card number.
        outcome: What the payment provider said, if it was asked already.
    """

    payment_id: str
    order_id: str
    attempted_at: datetime
    amount_cents: int
    currency: str
    customer_id: str | None = None
    instrument_hash: str | None = None
    device_hash: str | None = None
    ip_hash: str | None = None
    ip_country: str | None = None
    shipping_address_hash: str | None = None
    billing_address_hash: str | None = None
    email_domain: str | None = None
    account_created_at: datetime | None = None
    channel: str | None = None
    terminal_id: str | None = None
    outcome: Literal["approved", "declined", "failed"] | None = None


class Event(_Told):
    """Something that happened in the shop."""


@dataclass(frozen=True, kw_only=True)
class Payment(Attempt, Event):
    """How an attempt to pay ended; `outcome` is required."""

    type: ClassVar[str] = "payment"


@dataclass(frozen=True, kw_only=True)
class Label(Event):
    """What became known of an order: whether it was fraud."""

    type: ClassVar[str] = "label"

    label_id: str
    order_id: str
    is_fraud: bool
    known_at: datetime
    label_source: Literal["chargeback", "refund", "review"]


@dataclass(frozen=True, kw_only=True)
class OrderLine(_Told):
    """A line of an order: what was paid for it is amount_cents, after discount_cents were taken off."""

    order_line_id: str
    product_id: str
    quantity: float
    amount_cents: int
    discount_cents: int = 0


@dataclass(frozen=True, kw_only=True)
class Order(Event):
    """An order that was placed; without a customer_id it is a guest's."""

    type: ClassVar[str] = "order"

    order_id: str
    ordered_at: datetime
    total_amount_cents: int
    currency: str
    lines: tuple[OrderLine, ...]
    customer_id: str | None = None
    store_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Interaction(Event):
    """What a customer did with a product.

    Attributes:
        kind: Sent as the event's type.
        exposure_id: Of the recommendations that led to it, if any did: that is what experiments are read from.
    """

    kind: Literal["view", "click", "cart", "purchase"]
    interaction_id: str
    customer_id: str
    product_id: str
    occurred_at: datetime
    exposure_id: str | None = None

    def as_json(self) -> dict[str, Any]:
        told = super().as_json()
        return {"type": told.pop("kind"), **told}


@dataclass(frozen=True, kw_only=True)
class Consent(Event):
    """What a customer allows or no longer allows; purpose "profiling" governs personal recommendations."""

    type: ClassVar[str] = "consent"

    customer_id: str
    purpose: Literal["marketing", "profiling"]
    is_granted: bool
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Wish(_Told):
    """One customer's recommendations in a batch.

    Attributes:
        k: How many, 1 to 50.
        exclude: Products that are not to be shown, at most 100, such as what lies in the basket.
        store_id: Where the customer is; used when nothing personal is known.
    """

    customer_id: str
    k: int = 10
    placement: str | None = None
    exclude: tuple[str, ...] = ()
    category: str | None = None
    store_id: str | None = None


def as_object(told: "_Told | Mapping[str, Any]") -> dict[str, Any]:
    """What is sent for it; a mapping is sent as it is."""
    return told.as_json() if isinstance(told, _Told) else dict(told)
