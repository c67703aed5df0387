"""The Python client and docs/openapi.json, in both directions: what one has, the other has."""

import inspect
import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from shopwright_client import Shopwright, answers, calls, errors, events

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_bytes())
SCHEMAS = DOCUMENT["components"]["schemas"]
AT = datetime(2027, 1, 1, tzinfo=UTC)
# Of people at screens and of machines that watch; the client is for the shop's own code.
NOT_IN_THE_CLIENT = ("/v1/reviews", "/v1/claims", "/healthz", "/readyz", "/metrics")

ATTEMPT = events.Attempt(payment_id="p", order_id="o", attempted_at=AT, amount_cents=1, currency="USD")
CONSENT = events.Consent(customer_id="c", purpose="profiling", is_granted=True, changed_at=AT)
WISH = events.Wish(customer_id="c", placement="home", exclude=("x",), category="a", store_id="s")
CALLS: dict[str, tuple[calls.Call[Any], str]] = {
    "decide": (calls.decide(ATTEMPT, None), "/v1/fraud/decisions"),
    "decide_many": (calls.decide_many([ATTEMPT], None), "/v1/fraud/decisions/batch"),
    "decision": (calls.decision("d", True), "/v1/decisions/{decision_id}"),
    "decisions": (calls.decisions(["d"]), "/v1/decisions/lookup"),
    "recommend": (calls.recommend(WISH), "/v1/recommendations/{customer_id}"),
    "recommend_many": (calls.recommend_many([WISH]), "/v1/recommendations/batch"),
    "send_event": (calls.send_event(CONSENT, None), "/v1/events"),
    "send_events": (calls.send_events([CONSENT], None), "/v1/events/batch"),
}
ANSWERS = {
    "Decision": answers.Decision,
    "DecisionResult": answers.DecisionResult,
    "Item": answers.Item,
    "Reason": answers.Reason,
    "Recommendation": answers.Recommendation,
    "Replay": answers.Replay,
    "ShownDecision": answers.ShownDecision,
    "Taken": answers.EventTaken,
}
REQUESTS = {
    "PaymentAttempt": events.Attempt,
    "Payment": events.Payment,
    "Label": events.Label,
    "Order": events.Order,
    "OrderLine": events.OrderLine,
    "Interaction": events.Interaction,
    "Consent": events.Consent,
    "WantedRecommendation": events.Wish,
}
LISTS = {
    "Decisions": "results",
    "FoundDecisions": "decisions",
    "Recommendations": "recommendations",
    "PaymentAttempts": "attempts",
    "WantedRecommendations": "requests",
    "Events": "events",
    "DecisionIds": "decision_ids",
}


def _names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)} - {"raw"}


def _schema_of(operation: dict[str, Any]) -> str:
    reference: str = operation["requestBody"]["content"]["application/json"]["schema"].get("$ref", "")
    return reference.rsplit("/", 1)[-1]


def test_every_operation_of_the_shop_is_a_method_and_no_method_has_none():
    documented = {path for path in DOCUMENT["paths"] if not path.startswith(NOT_IN_THE_CLIENT)}
    assert {path for _, path in CALLS.values()} == documented
    found: dict[str, Callable[..., Any]] = dict(inspect.getmembers(Shopwright, inspect.isfunction))
    assert {name for name in found if name[0] != "_"} - {"close"} == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_the_method_and_parameters_of_its_operation(name: str):
    call, path = CALLS[name]
    operation = DOCUMENT["paths"][path][call.method.lower()]
    parameters = {(one["in"], one["name"]) for one in operation.get("parameters", [])}
    assert {one for where, one in parameters if where == "query"} == set(call.query)
    headers = {one for where, one in parameters if where == "header"}
    assert set(call.headers) == headers & {"Idempotency-Key"}
    assert (call.body is not None) == ("requestBody" in operation)
    if call.body is not None and _schema_of(operation) in SCHEMAS:
        schema = SCHEMAS[_schema_of(operation)]
        assert set(call.body) <= set(schema["properties"])
        assert set(schema["required"]) <= set(call.body)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_the_fields_of_its_schema(name: str):
    schema, kind = SCHEMAS[name], ANSWERS[name]
    assert _names(kind) == set(schema["properties"])
    # What the client insists on is always there.
    required = set(schema["required"])
    optional = {field.name for field in fields(kind) if "None" in str(field.type) or field.default is not MISSING}
    assert _names(kind) - optional - {"reasons", "rules", "items", "conflicts", "differences"} <= required


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_told_has_the_fields_of_its_schema(name: str):
    schema, kind = SCHEMAS[name], REQUESTS[name]
    renamed = {"kind": "type"}
    told = {renamed.get(one, one) for one in _names(kind)} | ({"type"} if kind.type else set())
    assert told == set(schema["properties"]) - ({"type"} if name == "PaymentAttempt" else set())
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}
    needed = {renamed.get(one, one) for one in needed} | ({"type"} if kind.type else set())
    defaulted = {field.name for field in fields(kind) if field.default not in (MISSING, None)}
    always_sent = needed | defaulted
    if name == "Payment":
        always_sent |= {"outcome"}  # the API refuses a payment without one; an attempt may lack it
    assert set(schema["required"]) <= always_sent


@pytest.mark.parametrize("name", LISTS)
def test_lists_have_the_names_that_the_client_reads_and_sends(name: str):
    assert list(SCHEMAS[name]["properties"]) == [LISTS[name]]
    source = inspect.getsource(calls)
    assert f'"{LISTS[name]}"' in source


def test_errors_have_the_shape_that_the_client_reads():
    assert set(SCHEMAS["Error"]["properties"]) == {"error"}
    assert set(SCHEMAS["ErrorDetails"]["properties"]) == {"code", "message", "fields", "request_id"}
    content = {"code": "invalid", "message": "m", "fields": [{"path": "a", "problem": "b"}], "request_id": "r"}
    error = errors.refusal_of(422, {"error": content})
    assert (error.code, error.fields, error.request_id) == ("invalid", (("a", "b"),), "r")


def test_every_documented_status_is_an_error_class_of_its_own():
    documented = {
        int(status)
        for path, operations in DOCUMENT["paths"].items()
        if not path.startswith(NOT_IN_THE_CLIENT)
        for operation in operations.values()
        for status in operation["responses"]
    }
    assert documented
    for status in documented - {200, 500, 503}:
        assert type(errors.refusal_of(status, None)) is not errors.Refused, status
