"""What the shop posts, read strictly and put into one form, so that the same event is known however it is written.

Types: `payment` and `label` (`ml/fraud/events.py` reads them), `order` with its lines, `consent`, and the interactions
`view`, `click`, `cart` and `purchase`. Kept is canonical JSON: sorted names, no nulls, timestamps in UTC.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from ml.fraud.events import LABEL, PAYMENT, event_of
from ml.serving.event_fields import Fields
from ml.stores.serving_log import Entry, Kind

ORDER, CONSENT = "order", "consent"
INTERACTIONS = ("view", "click", "cart", "purchase")
EVENT_TYPES = (PAYMENT, LABEL, ORDER, *INTERACTIONS, CONSENT)
PURPOSES = ("marketing", "profiling")
MOST_LINES = 500
_ORDER = frozenset(
    {"type", "order_id", "customer_id", "ordered_at", "store_id", "total_amount_cents", "currency", "lines"}
)
_LINE = frozenset({"order_line_id", "product_id", "quantity", "amount_cents", "discount_cents"})
_INTERACTION = frozenset({"type", "interaction_id", "customer_id", "product_id", "occurred_at", "exposure_id"})
_CONSENT = frozenset({"type", "customer_id", "purpose", "is_granted", "changed_at"})

_KINDS: Final[Mapping[str, tuple[Kind, str, str]]] = {
    PAYMENT: ("payment", "payment_id", "attempted_at"),
    LABEL: ("label", "label_id", "known_at"),
    ORDER: ("order", "order_id", "ordered_at"),
    **dict.fromkeys(INTERACTIONS, ("interaction", "interaction_id", "occurred_at")),
    CONSENT: ("consent", "", "changed_at"),
}
"""Type -> kind in the log, natural key, when it happened."""


def read_event(raw: Mapping[str, Any], now: datetime | None, currency: str) -> Entry:
    """Check one event and make an entry of the serving log of it.

    Args:
        raw: One JSON object, already read.
        now: What "future" is measured against; None for events that were measured when they were taken in.
        currency: The shop's settlement currency.

    Raises:
        EventRefused: It breaks a rule. The message names the field, the rule and what is allowed, never a value.
    """
    kind = Fields(raw, now).text("type", EVENT_TYPES)
    if kind in (PAYMENT, LABEL):
        event_of(raw, now, currency)
        return posted_entry(raw)
    return posted_entry(_READERS[kind](Fields(raw, now), currency) | {"type": kind})


def posted_entry(event: Mapping[str, Any], *, flows_back: bool = True) -> Entry:
    """An event that was checked before, as an entry of the serving log.

    Args:
        flows_back: False for what was read from the shop's raw tables.
    """
    kind, key, at = _KINDS[event["type"]]
    body = canonical_json(event)
    moment = datetime.fromisoformat(event[at])
    return Entry(kind, event[key] if key else _consent_key(event), body, digest_of(body), moment, flows_back=flows_back)


def canonical_json(event: Mapping[str, Any]) -> str:
    """JSON with sorted names, without nulls, timestamps (`_at`) in UTC: equal for events that mean the same."""
    values = {name: _utc(value) if name.endswith("_at") else value for name, value in event.items()}
    return json.dumps(_without_nulls(values), sort_keys=True, separators=(",", ":"))


def digest_of(body: str) -> str:
    """sha256 of a canonical body, hexadecimal."""
    return sha256(body.encode()).hexdigest()


def _read_order(fields: Fields, currency: str) -> dict[str, Any]:
    fields.refuse_unknown(_ORDER)
    if fields.text("currency") != currency:
        raise fields.refusal("currency", "not_allowed", "the shop's settlement currency")
    lines = [_read_line(line) for line in fields.objects("lines", MOST_LINES)]
    if len({line["order_line_id"] for line in lines}) != len(lines):
        raise fields.refusal("lines", "duplicate_key", "each order_line_id once")
    return {
        "order_id": fields.text("order_id"),
        "customer_id": fields.text_or_none("customer_id"),
        "ordered_at": fields.moment("ordered_at"),
        "store_id": fields.text_or_none("store_id"),
        "total_amount_cents": fields.cents("total_amount_cents"),
        "currency": currency,
        "lines": sorted(lines, key=lambda line: str(line["order_line_id"])),
    }


def _read_line(fields: Fields) -> dict[str, Any]:
    fields.refuse_unknown(_LINE)
    return {
        "order_line_id": fields.text("order_line_id"),
        "product_id": fields.text("product_id"),
        "quantity": fields.quantity("quantity"),
        "amount_cents": fields.cents("amount_cents"),
        "discount_cents": fields.cents_or_none("discount_cents"),
    }


def _read_interaction(fields: Fields, _currency: str) -> dict[str, Any]:
    fields.refuse_unknown(_INTERACTION)
    return {
        "interaction_id": fields.text("interaction_id"),
        "customer_id": fields.text("customer_id"),
        "product_id": fields.text("product_id"),
        "occurred_at": fields.moment("occurred_at"),
        "exposure_id": fields.text_or_none("exposure_id"),
    }


def _read_consent(fields: Fields, _currency: str) -> dict[str, Any]:
    fields.refuse_unknown(_CONSENT)
    return {
        "customer_id": fields.text("customer_id"),
        "purpose": fields.text("purpose", PURPOSES),
        "is_granted": fields.truth("is_granted"),
        "changed_at": fields.moment("changed_at"),
    }


_READERS: Final[Mapping[str, Callable[[Fields, str], dict[str, Any]]]] = {
    ORDER: _read_order,
    **dict.fromkeys(INTERACTIONS, _read_interaction),
    CONSENT: _read_consent,
}


def _consent_key(event: Mapping[str, Any]) -> str:
    """A consent has no id of its own: who, for what, when. Hashed, for it stands in counts of conflicts too."""
    return digest_of(json.dumps([event["customer_id"], event["purpose"], _utc(event["changed_at"])]))


def _utc(value: str | None) -> str | None:
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC).isoformat()


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
