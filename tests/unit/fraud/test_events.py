"""Posted events: what passes, what is refused and by which name, and that no value is ever echoed."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ml.fraud.events import (
    CLOCK_TOLERANCE,
    LARGEST_EVENT_BYTES,
    OUTCOMES,
    TEXT_COLUMNS,
    EventRefused,
    LabelEvent,
    OrderEvent,
    parse_event,
)
from ml.shop.contract import CONTRACT

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
SECRET = "4111111111111111"
PAYMENT = {
    "type": "payment",
    "payment_id": "p1",
    "order_id": "o1",
    "customer_id": "c1",
    "attempted_at": "2024-03-10T12:00:00.25+01:00",
    "account_created_at": "2020-01-01T00:00:00Z",
    "instrument_hash": SECRET,
    "amount_cents": 1999,
    "currency": "USD",
    "outcome": "declined",
}
LABEL = {
    "type": "label",
    "label_id": "l1",
    "order_id": "o1",
    "is_fraud": True,
    "known_at": "2024-03-10T11:00:00Z",
    "label_source": "chargeback",
}


def read(event, **changed):
    return parse_event(json.dumps(event | changed), NOW, "USD")


def test_a_payment_is_read_with_its_moment_in_microseconds():
    event = read(PAYMENT)
    assert isinstance(event, OrderEvent)
    assert event.attempted_at == int(datetime(2024, 3, 10, 11, tzinfo=UTC).timestamp()) * 1_000_000 + 250_000
    assert (event.order_id, event.payment_id, event.amount_cents, event.is_failed) == ("o1", "p1", 1999, True)
    assert event.values["instrument_hash"] == SECRET
    assert event.values["device_hash"] is None  # absent is null


def test_a_moment_too_late_is_refused_with_the_latest_that_is_taken():
    """The clock of a shop that replays its past is not the caller's."""
    with pytest.raises(EventRefused, match="from 1990 until 2024-03-10T12:05:00Z"):
        read(PAYMENT, attempted_at="2026-11-22T12:00:00Z")


def test_a_label_is_read():
    event = read(LABEL)
    known_at = int(datetime(2024, 3, 10, 11, tzinfo=UTC).timestamp()) * 1_000_000
    assert event == LabelEvent("o1", known_at, is_fraud=True)


def test_a_payment_has_the_columns_of_the_contract_and_the_orders_customer():
    columns = {column.name for column in CONTRACT["payments"].columns}
    assert set(TEXT_COLUMNS) - {"customer_id"} < columns
    for column in CONTRACT["payments"].columns:
        event = {name: value for name, value in PAYMENT.items() if name != column.name}
        if column.nullable:
            parse_event(json.dumps(event), NOW, "USD")
        else:
            with pytest.raises(EventRefused, match=f"{column.name}: missing"):
                parse_event(json.dumps(event), NOW, "USD")
    assert CONTRACT["payments"].column("outcome").allowed == OUTCOMES
    with pytest.raises(EventRefused, match="unknown_field"):
        read(PAYMENT, is_admin=True)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("type", "refund", "not_allowed"),
        ("payment_id", "", "not_allowed"),
        ("payment_id", "x" * 201, "not_allowed"),
        ("payment_id", "a\x00b", "not_allowed"),
        ("payment_id", "\ud800", "not_allowed"),
        *(("device_hash", f"d{sign}1", "not_allowed") for sign in "\x1f\x7f\x80\x85\x9f\u2028\u2029\ufeff"),
        ("payment_id", 12, "wrong_type"),
        ("customer_id", ["c1"], "wrong_type"),
        ("amount_cents", -1, "negative"),
        ("amount_cents", 10**12 + 1, "too_large"),
        ("amount_cents", 19.99, "wrong_type"),
        ("amount_cents", "1999", "wrong_type"),
        ("amount_cents", True, "wrong_type"),
        ("amount_cents", None, "missing"),
        ("currency", "EUR", "not_allowed"),
        ("outcome", "refunded", "not_allowed"),
        ("attempted_at", "2024-03-10T12:00:00", "without_offset"),
        ("attempted_at", "yesterday", "not_a_timestamp"),
        ("attempted_at", 1_710_072_000_000, "wrong_type"),
        ("attempted_at", "1970-01-01T00:00:00Z", "event_time_out_of_range"),
        ("attempted_at", "0001-01-01T00:00:00+14:00", "not_a_timestamp"),
        ("attempted_at", "9999-12-31T23:59:59Z", "event_time_out_of_range"),
        ("account_created_at", "2034-01-01T00:00:00Z", "event_time_out_of_range"),
    ],
)
def test_a_payment_that_breaks_a_rule_is_refused_by_name(field, value, reason):
    with pytest.raises(EventRefused) as refused:
        read(PAYMENT, **{field: value})
    assert (refused.value.field, refused.value.reason) == (field, reason)
    assert SECRET not in str(refused.value)
    assert not isinstance(value, str) or len(value) < 4 or value not in str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("is_fraud", 1, "wrong_type"),
        ("is_fraud", None, "missing"),
        ("label_source", "rumour", "not_allowed"),
        ("known_at", "2034-01-01T00:00:00Z", "event_time_out_of_range"),
    ],
)
def test_a_label_that_breaks_a_rule_is_refused_by_name(field, value, reason):
    with pytest.raises(EventRefused) as refused:
        read(LABEL, **{field: value})
    assert (refused.value.field, refused.value.reason) == (field, reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "not_json"),
        ('{"type": "payment"', "not_json"),
        ("null", "not_an_object"),
        ("[1]", "not_an_object"),
        ('{"amount_cents": NaN}', "not_finite"),
        ('{"amount_cents": -Infinity}', "not_finite"),
        ('{"amount_cents": 1, "amount_cents": 2}', "duplicate_field"),
        ("[" * 20_000, "not_json"),
        ('{"amount_cents": ' + "9" * 5000 + "}", "not_json"),
        (b"\xff\xfe", "not_json"),
        (" " * (LARGEST_EVENT_BYTES + 1), "too_long"),
    ],
)
def test_what_is_no_event_is_refused(body, reason):
    with pytest.raises(EventRefused) as refused:
        parse_event(body, NOW, "USD")
    assert refused.value.reason == reason


def test_an_amount_beyond_all_numbers_is_not_finite():
    with pytest.raises(EventRefused, match="amount_cents: not_finite"):
        parse_event(json.dumps(PAYMENT).replace("1999", "1e400"), NOW, "USD")


def test_a_clock_that_is_a_little_ahead_is_borne():
    read(PAYMENT, attempted_at=(NOW + CLOCK_TOLERANCE).isoformat())
    with pytest.raises(EventRefused, match="event_time_out_of_range"):
        read(PAYMENT, attempted_at=(NOW + CLOCK_TOLERANCE + timedelta(microseconds=1)).isoformat())
