"""What is posted while the shop is open: a payment's attempt, or a label that became known. Read strictly.

An event is one JSON object. A payment has the columns of the contract's table `payments` and the order's `customer_id`;
a label has the columns of `fct_fraud_labels`. Absent and null columns mean the same.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from ml.outcomes import DataFailed

PAYMENT, LABEL = "payment", "label"
OUTCOMES = ("approved", "declined", "failed")
LABEL_SOURCES = ("chargeback", "refund", "review")
TEXT_COLUMNS = (
    "customer_id",
    "instrument_hash",
    "device_hash",
    "ip_hash",
    "ip_country",
    "shipping_address_hash",
    "billing_address_hash",
    "email_domain",
    "channel",
    "terminal_id",
)
_PAYMENT_REQUIRED = ("payment_id", "order_id", "attempted_at", "amount_cents", "currency", "outcome")
_PAYMENT_FIELDS = frozenset({"type", *_PAYMENT_REQUIRED, *TEXT_COLUMNS, "account_created_at"})
_LABEL_FIELDS = frozenset({"type", "label_id", "order_id", "is_fraud", "known_at", "label_source"})

LARGEST_EVENT_BYTES = 65_536
LONGEST_TEXT = 200
LARGEST_AMOUNT_CENTS = 10**12
CLOCK_TOLERANCE = timedelta(minutes=5)
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMESTAMP = "an ISO 8601 timestamp with its offset from UTC"
UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff"
"""No posted text holds them, as a class of a regular expression: controls, line separators and the byte order mark."""
_NOT_TEXT = re.compile(rf"[{UNPRINTABLE}\ud800-\udfff]")  # and lone surrogates, which UTF-8 cannot write


class EventRefused(DataFailed):
    """An event broke a rule. The message names the field, the rule and what is allowed, never a value.

    Attributes:
        field: Of the event; empty when it is the event itself.
        reason: The rule, in one word with underscores, such as `event_time_out_of_range`.
    """

    def __init__(self, field: str, reason: str, allowed: str) -> None:
        super().__init__(f"event{f', field {field}' if field else ''}: {reason} (expected {allowed})")
        self.field, self.reason = field, reason


@dataclass(frozen=True)
class OrderEvent:
    """An attempt to pay an order. The attempt with the smallest (attempted_at, payment_id) is the order's event.

    Attributes:
        attempted_at: Microseconds since 1970, UTC.
        values: Column -> value, of the columns that can name an entity; what is absent is null.
    """

    order_id: str
    attempted_at: int
    values: Mapping[str, str | None]
    payment_id: str = ""
    amount_cents: int = 0
    is_failed: bool = False

    @property
    def place(self) -> tuple[int, str]:
        """Where the event stands among all others."""
        return self.attempted_at, self.order_id


@dataclass(frozen=True)
class Attempt:
    """An attempt to pay that a decision is asked for, as it was posted.

    Attributes:
        event: What is counted of it. Without an outcome it counts as failed, until its payment tells otherwise.
        account_created_at: Microseconds since 1970, UTC; None where the shop does not say.
        currency: The shop's settlement currency.
        outcome: One of `OUTCOMES`; None while the payment has none, which is the usual case.
    """

    event: OrderEvent
    account_created_at: int | None
    currency: str
    outcome: str | None


@dataclass(frozen=True)
class LabelEvent:
    """Something that says whether an order was fraud.

    Attributes:
        known_at: Microseconds since 1970, UTC.
    """

    order_id: str
    known_at: int
    is_fraud: bool


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware timestamp, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def posted_text(place: str, value: object) -> str:
    """A posted value as text of at most `LONGEST_TEXT` printable characters.

    Args:
        place: The field, as a refusal names it.

    Raises:
        EventRefused: It is missing or anything else.
    """
    _refuse_missing(place, value)
    if not isinstance(value, str):
        raise EventRefused(place, "wrong_type", "text")
    if not 1 <= len(value) <= LONGEST_TEXT or _NOT_TEXT.search(value):
        raise EventRefused(place, "not_allowed", f"1 to {LONGEST_TEXT} printable characters")
    return value


def posted_moment(place: str, value: object, now: datetime | None) -> datetime:
    """A posted timestamp that is neither out of range nor in the future, in UTC.

    Args:
        place: The field, as a refusal names it.
        now: As for `parse_event`.

    Raises:
        EventRefused: It is missing or anything else.
    """
    _refuse_missing(place, value)
    if not isinstance(value, str):
        raise EventRefused(place, "wrong_type", _TIMESTAMP)
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise EventRefused(place, "without_offset", _TIMESTAMP)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise EventRefused(place, "not_a_timestamp", _TIMESTAMP) from None
    if moment < EARLIEST or (now is not None and moment > now + CLOCK_TOLERANCE):
        # Told as a moment: in a shop that replays its past, "now" is the end of its last day.
        latest = "" if now is None else f" until {(now + CLOCK_TOLERANCE).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        raise EventRefused(place, "event_time_out_of_range", f"from {EARLIEST:%Y}{latest}")
    return moment


def parse_event(body: str | bytes, now: datetime | None, currency: str) -> OrderEvent | LabelEvent:
    """Read one event.

    Args:
        now: What "future" is measured against; None for events that were measured when they were taken in.
        currency: The shop's settlement currency.

    Raises:
        EventRefused: It is not one of the two, or a field breaks a rule.
    """
    return event_of(posted_object(body), now, currency)


def event_of(raw: Mapping[str, Any], now: datetime | None, currency: str) -> OrderEvent | LabelEvent:
    """The same of a JSON object that was read before."""
    kind = raw.get("type")
    if kind not in (PAYMENT, LABEL):
        raise EventRefused("type", "not_allowed", f"{PAYMENT} or {LABEL}")
    known = _PAYMENT_FIELDS if kind == PAYMENT else _LABEL_FIELDS
    if not known.issuperset(raw):
        raise EventRefused("", "unknown_field", f"only {', '.join(sorted(known))}")  # a field's name may be a value too
    if kind == LABEL:
        return _read_label(raw, now)
    return _read_attempt(raw, now, currency, needs_outcome=True).event


def parse_attempt(raw: Mapping[str, Any], now: datetime | None, currency: str) -> Attempt:
    """Read an attempt to pay: the fields of a payment, of which `type` and `outcome` may be absent.

    Args:
        raw: One JSON object, already read; nothing is taken on trust but that its keys are text.
        now, currency: As for `parse_event`.

    Raises:
        EventRefused: A field breaks a rule. The message names the field, never a value.
    """
    if raw.get("type", PAYMENT) != PAYMENT:
        raise EventRefused("type", "not_allowed", PAYMENT)
    if not _PAYMENT_FIELDS.issuperset(raw):
        raise EventRefused("", "unknown_field", f"only {', '.join(sorted(_PAYMENT_FIELDS))}")
    attempt = _read_attempt(raw, now, currency, needs_outcome=False)
    if attempt.event.amount_cents == 0:  # a shop's past may hold such payments; there is nothing in it to decide
        raise EventRefused("amount_cents", "zero", "at least 1")
    return attempt


def posted_object(body: str | bytes) -> dict[str, Any]:
    """A posted body as one JSON object: fields once each, finite numbers; raises EventRefused for anything else."""
    if len(body) > LARGEST_EVENT_BYTES:
        raise EventRefused("", "too_long", f"at most {LARGEST_EVENT_BYTES} bytes")
    try:
        text = body.decode("utf-8") if isinstance(body, bytes) else body
        raw = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise EventRefused("", "not_json", "one JSON object in UTF-8") from None
    if not isinstance(raw, dict):
        raise EventRefused("", "not_an_object", "one JSON object")
    return raw


def _refuse_constant(_name: str) -> NoReturn:
    raise EventRefused("", "not_finite", "finite numbers")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise EventRefused("", "duplicate_field", "each field once")
    return dict(pairs)


def _read_attempt(raw: Mapping[str, Any], now: datetime | None, currency: str, *, needs_outcome: bool) -> Attempt:
    attempted_at = _moment(raw, "attempted_at", now)
    created_at = None if raw.get("account_created_at") is None else _moment(raw, "account_created_at", now)
    amount = _amount(raw)
    if _text(raw, "currency", is_required=True) != currency:
        raise EventRefused("currency", "not_allowed", "the shop's settlement currency")
    outcome = _text(raw, "outcome", is_required=needs_outcome)
    if outcome is not None and outcome not in OUTCOMES:
        raise EventRefused("outcome", "not_allowed", ", ".join(OUTCOMES))
    event = OrderEvent(
        order_id=_text(raw, "order_id", is_required=True) or "",
        attempted_at=attempted_at,
        values={column: _text(raw, column) for column in TEXT_COLUMNS},
        payment_id=_text(raw, "payment_id", is_required=True) or "",
        amount_cents=amount,
        is_failed=outcome != "approved",
    )
    return Attempt(event, created_at, currency, outcome)


def _amount(raw: Mapping[str, Any]) -> int:
    amount = raw.get("amount_cents")
    _refuse_missing("amount_cents", amount)
    if isinstance(amount, float) and not math.isfinite(amount):
        raise EventRefused("amount_cents", "not_finite", "a whole number of cents")
    if type(amount) is not int:
        raise EventRefused("amount_cents", "wrong_type", "a whole number of cents")
    if amount < 0:
        raise EventRefused("amount_cents", "negative", "at least 0")
    if amount > LARGEST_AMOUNT_CENTS:
        raise EventRefused("amount_cents", "too_large", f"at most {LARGEST_AMOUNT_CENTS}")
    return amount


def _read_label(raw: Mapping[str, Any], now: datetime | None) -> LabelEvent:
    _text(raw, "label_id", is_required=True)
    if _text(raw, "label_source", is_required=True) not in LABEL_SOURCES:
        raise EventRefused("label_source", "not_allowed", ", ".join(LABEL_SOURCES))
    is_fraud = raw.get("is_fraud")
    _refuse_missing("is_fraud", is_fraud)
    if type(is_fraud) is not bool:
        raise EventRefused("is_fraud", "wrong_type", "true or false")
    order_id = _text(raw, "order_id", is_required=True) or ""
    return LabelEvent(order_id, _moment(raw, "known_at", now), is_fraud)


def _text(raw: Mapping[str, Any], field: str, *, is_required: bool = False) -> str | None:
    value = raw.get(field)
    return None if value is None and not is_required else posted_text(field, value)


def _moment(raw: Mapping[str, Any], field: str, now: datetime | None) -> int:
    return microseconds(posted_moment(field, raw.get(field), now))


def _refuse_missing(field: str, value: object) -> None:
    if value is None:
        raise EventRefused(field, "missing", "a value")
