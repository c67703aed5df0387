"""What is posted: read strictly, told by field and rule, never by value, and kept in one form."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from ml.fraud.events import EventRefused
from ml.serving.events import EVENT_TYPES, INTERACTIONS, MOST_LINES, read_event

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
LINE = {"order_line_id": "l1", "product_id": "p1", "quantity": 2, "amount_cents": 500, "discount_cents": None}
ORDER = {
    "type": "order",
    "order_id": "o1",
    "customer_id": "c1",
    "ordered_at": "2024-03-10T07:00:00-05:00",
    "store_id": None,
    "total_amount_cents": 500,
    "currency": "USD",
    "lines": [LINE],
}
VIEW = {
    "type": "view",
    "interaction_id": "i1",
    "customer_id": "c1",
    "product_id": "p1",
    "occurred_at": "2024-03-10T11:00:00Z",
}
CONSENT = {
    "type": "consent",
    "customer_id": "c1",
    "purpose": "profiling",
    "is_granted": False,
    "changed_at": "2024-03-10T11:00:00Z",
}
PAYMENT = {
    "type": "payment",
    "payment_id": "pay1",
    "order_id": "o1",
    "attempted_at": "2024-03-10T11:00:00Z",
    "amount_cents": 500,
    "currency": "USD",
    "outcome": "approved",
}
LABEL = {
    "type": "label",
    "label_id": "cb1",
    "order_id": "o1",
    "is_fraud": True,
    "known_at": "2024-03-10T11:00:00Z",
    "label_source": "chargeback",
}
ALL = (ORDER, *({**VIEW, "type": name} for name in INTERACTIONS), CONSENT, PAYMENT, LABEL)


def read(event: Any) -> Any:
    return read_event(event, NOW, "USD")


def refusal(event: Any) -> tuple[str, str]:
    with pytest.raises(EventRefused) as refused:
        read(event)
    return refused.value.field, refused.value.reason


def test_every_type_is_taken_and_kept_as_it_is_read_again() -> None:
    assert {event["type"] for event in ALL} == set(EVENT_TYPES)
    for event in ALL:
        entry = read(event)
        again = read(json.loads(entry.body))
        assert (again.kind, again.key, again.body, again.digest) == (entry.kind, entry.key, entry.body, entry.digest)
        assert entry.digest == sha256(entry.body.encode()).hexdigest()
        assert entry.flows_back


def test_entries_have_the_events_own_key_and_time() -> None:
    keys = {event["type"]: (read(event).kind, read(event).key) for event in ALL}
    assert keys["order"] == ("order", "o1")
    assert keys["purchase"] == ("interaction", "i1")
    assert keys["payment"] == ("payment", "pay1")
    assert keys["label"] == ("label", "cb1")
    assert read(ORDER).event_at == NOW
    assert read(PAYMENT).event_at == NOW - timedelta(hours=1)


def test_the_same_event_written_otherwise_is_the_same() -> None:
    other_zone = ORDER | {"ordered_at": "2024-03-10T12:00:00.000+00:00"}
    shorter = {name: value for name, value in ORDER.items() if value is not None}
    other_number = ORDER | {"lines": [LINE | {"quantity": 2.0}]}
    digests = {
        read(event).digest for event in (ORDER, other_zone, shorter, other_number, dict(reversed(ORDER.items())))
    }
    assert len(digests) == 1
    assert json.loads(read(ORDER).body) == {
        "type": "order",
        "order_id": "o1",
        "customer_id": "c1",
        "ordered_at": "2024-03-10T12:00:00+00:00",
        "total_amount_cents": 500,
        "currency": "USD",
        "lines": [{"order_line_id": "l1", "product_id": "p1", "quantity": 2.0, "amount_cents": 500}],
    }


def test_the_order_of_an_orders_lines_says_nothing() -> None:
    other = LINE | {"order_line_id": "l2"}
    assert read(ORDER | {"lines": [LINE, other]}).digest == read(ORDER | {"lines": [other, LINE]}).digest


def test_a_consents_key_is_who_for_what_and_when() -> None:
    assert read(CONSENT).key == read(CONSENT | {"is_granted": True, "changed_at": "2024-03-10T12:00:00+01:00"}).key
    others = [{"customer_id": "c2"}, {"purpose": "marketing"}, {"changed_at": "2024-03-10T10:59:59Z"}]
    keys = {read(CONSENT | other).key for other in others}
    assert len(keys | {read(CONSENT).key}) == 4
    assert "c1" not in read(CONSENT).key


def of_line(**changed: Any) -> dict[str, Any]:
    return ORDER | {"lines": [LINE, LINE | {"order_line_id": "l2"} | changed]}


@pytest.mark.parametrize(
    ("event", "field", "reason"),
    [
        ({}, "type", "missing"),
        ({"type": 1}, "type", "wrong_type"),
        ({"type": "stare"}, "type", "not_allowed"),
        ([], "", "not_an_object"),
        (ORDER | {"secret": 1}, "", "unknown_field"),
        (ORDER | {"order_id": ""}, "order_id", "not_allowed"),
        (ORDER | {"order_id": "x" * 201}, "order_id", "not_allowed"),
        (ORDER | {"order_id": "a\x00b"}, "order_id", "not_allowed"),
        (ORDER | {"order_id": "\ud800"}, "order_id", "not_allowed"),
        (ORDER | {"order_id": "\ufeffo1"}, "order_id", "not_allowed"),
        (PAYMENT | {"order_id": "\ufeffo1"}, "order_id", "not_allowed"),
        (LABEL | {"order_id": "\ufeffo1"}, "order_id", "not_allowed"),
        (ORDER | {"order_id": 7}, "order_id", "wrong_type"),
        (ORDER | {"order_id": None}, "order_id", "missing"),
        (ORDER | {"customer_id": 7}, "customer_id", "wrong_type"),
        (ORDER | {"currency": "EUR"}, "currency", "not_allowed"),
        (ORDER | {"total_amount_cents": -1}, "total_amount_cents", "out_of_range"),
        (ORDER | {"total_amount_cents": 1.5}, "total_amount_cents", "wrong_type"),
        (ORDER | {"total_amount_cents": True}, "total_amount_cents", "wrong_type"),
        (ORDER | {"total_amount_cents": 10**13}, "total_amount_cents", "out_of_range"),
        (ORDER | {"total_amount_cents": None}, "total_amount_cents", "missing"),
        (ORDER | {"lines": []}, "lines", "out_of_range"),
        (ORDER | {"lines": {}}, "lines", "wrong_type"),
        (ORDER | {"lines": [LINE] * (MOST_LINES + 1)}, "lines", "out_of_range"),
        (ORDER | {"lines": [LINE, LINE]}, "lines", "duplicate_key"),
        (ORDER | {"lines": [LINE, 3]}, "lines[1]", "not_an_object"),
        (of_line(secret="x"), "lines[1]", "unknown_field"),
        (of_line(quantity=0), "lines[1].quantity", "out_of_range"),
        (of_line(quantity=float("inf")), "lines[1].quantity", "out_of_range"),
        (of_line(quantity=float("nan")), "lines[1].quantity", "out_of_range"),
        (of_line(quantity=10**400), "lines[1].quantity", "out_of_range"),
        (of_line(quantity="2"), "lines[1].quantity", "wrong_type"),
        (of_line(quantity=True), "lines[1].quantity", "wrong_type"),
        (of_line(discount_cents=-1), "lines[1].discount_cents", "out_of_range"),
        (of_line(product_id=None), "lines[1].product_id", "missing"),
        (ORDER | {"ordered_at": 5}, "ordered_at", "wrong_type"),
        (ORDER | {"ordered_at": "yesterday"}, "ordered_at", "not_a_timestamp"),
        (ORDER | {"ordered_at": "2024-02-30T00:00:00Z"}, "ordered_at", "not_a_timestamp"),
        (ORDER | {"ordered_at": "0001-01-01T00:00:00+05:00"}, "ordered_at", "not_a_timestamp"),
        (ORDER | {"ordered_at": "2024-03-10T11:00:00"}, "ordered_at", "without_offset"),
        (ORDER | {"ordered_at": "2024-03-10T12:05:01Z"}, "ordered_at", "event_time_out_of_range"),
        (ORDER | {"ordered_at": "1989-12-31T23:59:59Z"}, "ordered_at", "event_time_out_of_range"),
        (VIEW | {"exposure_id": ""}, "exposure_id", "not_allowed"),
        (VIEW | {"order_id": "o1"}, "", "unknown_field"),
        (CONSENT | {"purpose": "spying"}, "purpose", "not_allowed"),
        (CONSENT | {"is_granted": "no"}, "is_granted", "wrong_type"),
        (CONSENT | {"is_granted": 0}, "is_granted", "wrong_type"),
        (PAYMENT | {"amount_cents": float("inf")}, "amount_cents", "not_finite"),
        (PAYMENT | {"outcome": None}, "outcome", "missing"),
        (LABEL | {"known_at": "2024-03-10T12:05:01Z"}, "known_at", "event_time_out_of_range"),
    ],
)
def test_what_breaks_a_rule_is_told_by_field_and_rule(event: Any, field: str, reason: str) -> None:
    assert refusal(event) == (field, reason)


def test_five_minutes_ahead_is_a_clock_that_differs() -> None:
    assert read(ORDER | {"ordered_at": "2024-03-10T12:05:00Z"}).event_at == NOW + timedelta(minutes=5)


@pytest.mark.parametrize("event", [ORDER | {"order_id": "hunter2\x00"}, ORDER | {"hunter2": 1}, {"type": "hunter2"}])
def test_no_refusal_holds_what_was_sent(event: dict[str, Any]) -> None:
    with pytest.raises(EventRefused) as refused:
        read(event)
    assert "hunter2" not in str(refused.value)
