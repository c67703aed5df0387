"""What goes into the serving log, and what is told of it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

Kind = Literal["payment", "label", "order", "interaction", "consent", "decision", "exposure"]
COUNTED_KINDS: tuple[Kind, ...] = ("payment", "label", "decision")
"""Kinds of entries that the state of fraud features is made from."""
ATTEMPT_KINDS: tuple[Kind, ...] = ("payment", "decision")
"""Kinds of entries that tell of an order's attempt."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Spend:
    """Something taken from an allowance that all processes share.

    Attributes:
        name: Of the allowance, such as `standin_cents` or `reviews`.
        day: Shop day (YYYY-MM-DD).
        amount: In the allowance's unit.
        limit: The day's total after this spend must not exceed it, else nothing of the entry is written.
    """

    name: str
    day: str
    amount: int
    limit: int


@dataclass(frozen=True)
class Entry:
    """One thing to be kept.

    Attributes:
        key: Natural key, unique within the kind: payment_id, decision_id (made from the payment's), label_id, order_id,
            interaction_id, exposure_id, digest of (customer, purpose, changed_at) of a consent.
        body: JSON, as it is kept. A consent's has customer_id, purpose, is_granted and changed_at.
        digest: sha256 of the canonical request, hexadecimal: the same key with another digest is a conflict.
        event_at: When it happened, shop time (aware); by it the entry flows back.
        idempotency_key: "<name of the API key>:<Idempotency-Key>"; one per request, on its first entry.
        request_digest: sha256 of the whole canonical request with that idempotency key; None: that of the entry.
        flows_back: Whether it becomes a row of the shop's raw tables; false for what was read from them.
    """

    kind: Kind
    key: str
    body: str
    digest: str
    event_at: datetime
    spends: tuple[Spend, ...] = ()
    idempotency_key: str | None = None
    request_digest: str | None = None
    flows_back: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of an entry.

    Attributes:
        status: `taken`: it is kept. `known`: the same was kept before. `conflict`: something else is kept under its
            key, or another request under its idempotency key. `spent`: an allowance is used up; nothing is written.
        position: Of the entry, or of the one that holds its key; 0 for `spent` and for another request's key.
        body: As kept: for `known` and `conflict` the stored one; empty where the position is 0.
        spent: Name of the allowance that is used up.
    """

    status: Literal["taken", "known", "conflict", "spent"]
    position: int
    body: str
    spent: str = ""


@dataclass(frozen=True, order=True)
class ProfilingConsent:
    """What a customer said last about profiling. Of two, the greater holds: the newer, then the objection."""

    changed_at: datetime
    objects: bool


@dataclass(frozen=True)
class Logged:
    """An entry as it is kept."""

    position: int
    kind: str
    key: str
    body: str
    taken_at: datetime


@dataclass(frozen=True)
class RequestRecord:
    """A request that was answered under an idempotency key.

    Attributes:
        digest: sha256 of its canonical body.
        answer: Body of its first entry, as kept.
        outcomes: Of each of its entries that is kept, in their order, as the first answer told them.
    """

    digest: str
    answer: str
    taken_at: datetime
    outcomes: tuple[Outcome, ...] = field(default=())


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware timestamp, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The other way round, in UTC."""
    return _EPOCH + microseconds * _MICROSECOND
