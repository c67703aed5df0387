"""The review API: every route by key and scope, bodies read strictly, one shape of error, nothing echoed."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from ml.outcomes import DataFailed, ToolFailed
from ml.serving.app import create_app
from ml.serving.keys import key_digest
from ml.settings import Settings, SettingsError
from ml.stores import decision_log, reviews
from ml.stores.fraud_tables import review_cases
from ml.stores.operations import Operations
from ml.stores.warehouse import marts_store
from tests.serving_stubs import stub_services

AT = datetime(2017, 11, 19, 15, 30, tzinfo=UTC)
KEYS = {"reader": "read-key", "anna": "write-key", "bert": "other-key"}
CANARY = "canary-4111111111111111"

# Every route of the queue: method, path, scope, a body that it takes.
ROUTES = [
    ("GET", "/v1/reviews", "reviews:read", None),
    ("GET", "/v1/reviews/o1", "reviews:read", None),
    ("POST", "/v1/claims", "reviews:write", {}),
    ("POST", "/v1/reviews/o1/claim", "reviews:write", {}),
    ("POST", "/v1/reviews/o1/release", "reviews:write", {}),
    ("POST", "/v1/reviews/o1/decision", "reviews:write", {"verdict": "fraud"}),
]


def grants() -> str:
    scopes = {"reader": "reviews:read", "anna": "reviews:read reviews:write", "bert": "reviews:write"}
    return json.dumps({name: f"{key_digest(KEYS[name])} {scopes[name]}" for name in KEYS})


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure(api_keys=grants())


@pytest.fixture
def operations(settings: Settings) -> Operations:
    operations = Operations.from_settings(settings)
    row = {
        "customer_id": "customer-hash",
        "partition": "2017-11-19",
        "ordered_at": AT,
        "decided_at": AT,
        "amount_cents": 25_000,
        "source": "model",
        "score": 0.2,
        "would_decline": False,
        "propensity": 1.0,
        "policy_version": "default-aaaa",
        "expected_costs": {"approve": 900.0, "review": 300.0},
        "reasons": [
            {"code": "velocity_device", "text": "4 earlier orders", "contribution": 1.5, "value": 4, "usual": 1}
        ],
        "rule_trace": [{"rule": "many_cards", "matched": False, "action": "review", "capped": False}],
        "contributions": {"count_orders_device_1h": 1.5, "bias": -4.0},
        "hint": "It would have been approved below 2%",
    }
    orders = [("o1", "review", 700.0), ("o2", "review", 900.0), ("like", "decline", 0.0), ("fine", "approve", 0.0)]
    rows = [
        {**row, "order_id": order, "action": action, "expected_saving_cents": saving}
        for order, action, saving in orders
    ]
    decision_log.record_decisions(operations, pd.DataFrame(rows))
    reviews.open_cases(operations)
    return operations


@pytest.fixture
def client(settings: Settings, operations: Operations) -> Iterator[TestClient]:
    services = stub_services(settings)
    yield TestClient(create_app(settings, services=services), raise_server_exceptions=False)
    services.stop()


def signed(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name]}"}


def error_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    error: dict[str, Any] = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"code", "message", "fields", "request_id"}
    assert len(error["request_id"]) == 32
    return error


def publish_marts(settings: Settings) -> None:
    """Marts of the orders o1 (to review), friend and stranger; friend was fraud and shares o1's device."""
    payments = [
        {"order_id": order, "customer_id": customer, "attempted_at": AT - timedelta(hours=hours), "amount_cents": 1000}
        | {"device_hash": device, "ip_hash": None}
        for order, customer, device, hours in [
            ("o1", "c1", CANARY, 0),
            ("friend", "c2", CANARY, 5),
            ("stranger", "c3", "another", 6),
        ]
    ]
    labels = [{"label_id": "l1", "order_id": "friend", "is_fraud": True, "known_at": AT, "label_source": "chargeback"}]
    risk = [{"order_id": "o1", "amount_cents": 25_000, "count_orders_customer_ever": 3}]
    risk[0]["mean_amount_cents_customer_ever"] = 4000
    store = marts_store(settings)
    tables = {"fct_order_payments": payments, "fct_fraud_labels": labels, "feat_order_risk": risk}
    parts = [store.write_part(name, "2017-11", pa.Table.from_pylist(rows)) for name, rows in tables.items()]
    store.publish(parts, {"target_day": "2017-11-19"}, None)


def test_no_key_no_api(configure):
    with pytest.raises(SettingsError, match="SHOPWRIGHT_API_KEYS: expected at least one key"):
        create_app(configure())


@pytest.mark.parametrize(("method", "path", "scope", "body"), ROUTES)
def test_a_route_takes_its_scope_and_no_other(client, method, path, scope, body):
    headers = {"Authorization": f"Bearer {CANARY}"}
    error_of(client.request(method, path, json=body), 401, "unauthorized")
    answer = client.request(method, path, json=body, headers=headers)
    error_of(answer, 401, "unauthorized")
    assert CANARY not in answer.text
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    other = "bert" if scope == "reviews:read" else "reader"
    assert (
        scope in error_of(client.request(method, path, json=body, headers=signed(other)), 403, "forbidden")["message"]
    )
    if path.endswith("release"):
        client.post("/v1/reviews/o1/claim", headers=signed("anna"))
    assert client.request(method, path, json=body, headers=signed("anna")).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic write-key", "write-key", "Bearer " + "x" * 5000])
def test_what_is_no_key_is_refused(client, header):
    error_of(client.get("/v1/reviews", headers={"Authorization": header}), 401, "unauthorized")


def test_guessing_is_slowed_down_and_a_right_key_is_not(client):
    for _ in range(20):
        error_of(client.get("/v1/reviews", headers={"Authorization": "Bearer guess"}), 401, "unauthorized")
    answer = client.get("/v1/reviews", headers={"Authorization": "Bearer guess"})
    error_of(answer, 429, "too_many_attempts")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert client.get("/v1/reviews", headers=signed("reader")).status_code == 200


def test_cases_are_listed_by_what_they_save(client):
    answer = client.get("/v1/reviews", headers=signed("anna"))
    assert [case["order_id"] for case in answer.json()["cases"]] == ["o2", "o1"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["data"] == "simulated payments: made-up data"
    client.post("/v1/reviews/o2/claim", headers=signed("anna"))
    mine = client.get("/v1/reviews", params={"mine": "true"}, headers=signed("anna"))
    assert [case["order_id"] for case in mine.json()["cases"]] == ["o2"]
    rest = client.get("/v1/reviews", params={"limit": 1}, headers=signed("anna"))
    assert [case["order_id"] for case in rest.json()["cases"]] == ["o1"]


def test_a_case_is_taken_decided_and_signed(client, operations, settings):
    assert client.post("/v1/claims", headers=signed("anna")).json()["case"]["order_id"] == "o2"
    error = error_of(client.post("/v1/reviews/o2/claim", headers=signed("bert")), 409, "case_taken")
    assert "held by anna" in error["message"]
    decided = client.post(
        "/v1/reviews/o2/decision", json={"verdict": "legitimate", "note": "Called the customer"}, headers=signed("anna")
    )
    assert decided.status_code == 200
    (case,) = operations.rows(review_cases, order_id="o2")
    assert (case["state"], case["verdict"], case["decided_by"]) == ("decided", "legitimate", "anna")
    # A replayed shop lives in its past: the verdict is known at the end of its newest day, not in today's year.
    assert case["decided_at"] == settings.shop_clock(settings.bootstrap_day)
    again = client.post("/v1/reviews/o2/decision", json={"verdict": "fraud"}, headers=signed("bert"))
    error_of(again, 409, "case_taken")
    assert client.post("/v1/claims", headers=signed("bert")).json()["case"]["order_id"] == "o1"
    assert client.post("/v1/claims", headers=signed("bert")).json()["case"] is None


def test_a_live_shop_s_verdict_is_known_now(configure):
    settings = configure(api_keys=grants(), last_day="")
    before = datetime.now(UTC)  # noqa: TID251 - the test's own clock
    from ml.serving.case_file import verdict_moment

    assert before <= verdict_moment(settings) <= before + timedelta(minutes=5)


def test_a_case_shows_why_and_what_is_around_it(client, settings):
    bare = client.get("/v1/reviews/o1", headers=signed("reader")).json()
    assert (bare["normal"], bare["linked_orders"]) == ([], [])  # no marts are published yet
    publish_marts(settings)
    answer = client.get("/v1/reviews/o1", headers=signed("reader"))
    shown = answer.json()
    assert shown["reasons"][0]["title"] == "Pace of orders of the device"
    assert shown["hint"].startswith("It would have been approved")
    assert shown["rule_trace"][0]["rule"] == "many_cards"
    assert shown["normal"][0] | {"spread": None} == {
        "what": "Amount of the order",
        "unit": "cents",
        "order": 25_000,
        "usual": 4000,
        "spread": None,
    }
    assert [(one["entity"], one["count_orders"], one["count_frauds"]) for one in shown["linked_entities"]] == [
        ("device", 1, 1)
    ]
    assert [(one["order_id"], one["is_fraud"]) for one in shown["linked_orders"]] == [("friend", True)]
    # Judged for the same reasons: the declined order, not the one that was simply approved.
    assert [one["order_id"] for one in shown["similar"]] == ["like", "o2"]
    assert shown["trail"][0]["event"] == "opened"
    assert CANARY not in answer.text
    assert "customer-hash" not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "bad_json"),
        (b"\xff\xfe{}", 400, "bad_json"),
        (b"\xef\xbb\xbf{}", 400, "bad_json"),
        (b'{"verdict": NaN}', 400, "bad_json"),
        (b'{"verdict": -Infinity}', 400, "bad_json"),
        (b'{"verdict": ' + b"9" * 5000 + b"}", 400, "bad_json"),
        (b"[" * 20_000, 400, "bad_json"),
        (b"[" * 20 + b"]" * 20, 400, "bad_json"),
        (b'{"verdict": "fraud", "verdict": "legitimate"}', 400, "duplicate_key"),
        (b"null", 422, "invalid"),
        (b'["fraud"]', 422, "invalid"),
        (b"{}", 422, "invalid"),
        (b'{"verdict": true}', 422, "invalid"),
        (b'{"verdict": 1e400}', 422, "invalid"),
        (b'{"verdict": "guilty-canary-4111111111111111"}', 422, "invalid"),
        (b'{"verdict": "fraud", "canary-4111111111111111": 1}', 422, "invalid"),
        (b'{"verdict": "fraud", "decided_by": "bert"}', 422, "invalid"),
        (b'{"verdict": "fraud", "note": 5}', 422, "invalid"),
        (b'{"verdict": "fraud", "note": "a\\u0000b"}', 422, "invalid"),
        (b'{"verdict": "fraud", "note": "\\ud800"}', 422, "invalid"),
        (b'{"verdict": "fraud", "note": "' + b"x" * 2001 + b'"}', 422, "invalid"),
        (b'{"verdict": "fraud", "note": "' + b"x" * 70_000 + b'"}', 413, "too_large"),
    ],
)
def test_a_body_is_read_strictly(client, operations, body, status, code):
    headers = {**signed("anna"), "Content-Type": "application/json"}
    answer = client.post("/v1/reviews/o1/decision", content=body, headers=headers)
    error_of(answer, status, code)
    assert CANARY not in answer.text
    assert operations.rows(review_cases, order_id="o1")[0]["state"] == "open"


def test_a_wrong_field_is_named_and_not_repeated(client):
    answer = client.post("/v1/reviews/o1/claim", json={"lease_minutes": "30"}, headers=signed("anna"))
    assert error_of(answer, 422, "invalid")["fields"] == [{"path": "lease_minutes", "problem": "int_type"}]
    answer = client.post("/v1/reviews/o1/claim", json={CANARY: 1}, headers=signed("anna"))
    assert error_of(answer, 422, "invalid")["fields"] == [
        {"path": "body", "problem": "unknown field; known are lease_minutes"}
    ]


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_read(client, media):
    headers = {**signed("anna"), "Content-Type": media}
    answer = client.post("/v1/reviews/o1/decision", content=b'{"verdict": "fraud"}', headers=headers)
    error_of(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=1e3", f"limit={CANARY}", "mine=yes", f"{CANARY}=1", "offset=9"]
)
def test_parameters_are_read_strictly(client, query):
    answer = client.get(f"/v1/reviews?{query}", headers=signed("anna"))
    error_of(answer, 422, "invalid")
    assert CANARY not in answer.text


@pytest.mark.parametrize("order", [CANARY, "' OR 1=1--", "%F0%9F%98%80", "..", "x" * 120])
def test_an_unknown_order_is_not_found(client, order):
    answer = client.get(f"/v1/reviews/{order}", headers=signed("anna"))
    error_of(answer, 404, "not_found")
    assert CANARY not in answer.text


@pytest.mark.parametrize("order", ["%00", "a%0Ab", "x" * 201])
def test_what_is_no_order_id_is_refused(client, order):
    error_of(client.get(f"/v1/reviews/{order}", headers=signed("anna")), 422, "invalid")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/reviews/", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/openapi.json", 404, "not_found"),
        ("DELETE", "/v1/reviews", 405, "method_not_allowed"),
        ("PUT", "/v1/reviews/o1/decision", 405, "method_not_allowed"),
    ],
)
def test_other_addresses_and_methods_have_the_same_shape(client, method, path, status, code):
    error_of(client.request(method, path, headers=signed("anna")), status, code)


def test_large_headers_are_refused(client):
    error_of(client.get("/healthz", headers={"X-Large": "x" * 9000}), 431, "headers_too_large")


@pytest.mark.parametrize(
    "error", [DataFailed(CANARY), ToolFailed(CANARY), OperationalError(f"select {CANARY}", {}, Exception(CANARY))]
)
def test_a_store_that_fails_is_named_as_that(client, monkeypatch, caplog, error):
    def fail(*_arguments: object, **_named: object) -> None:
        raise error

    monkeypatch.setattr(reviews, "queue", fail)
    answer = client.get("/v1/reviews", headers=signed("anna"))
    error_of(answer, 503, "unavailable")
    assert CANARY not in answer.text + caplog.text
    assert answer.headers["Retry-After"] == "5"


def test_damaged_marts_are_not_taken_for_none(client, settings):
    publish_marts(settings)
    for part in settings.shop_dir.glob("warehouse/marts/**/*.parquet"):
        part.chmod(0o600)
        part.write_bytes(b"damaged")
    error_of(client.get("/v1/reviews/o1", headers=signed("anna")), 503, "unavailable")


def test_an_accident_tells_nothing_of_itself(client, monkeypatch, caplog):
    def fail(*_arguments: object, **_named: object) -> None:
        raise RuntimeError(f"secret {CANARY}")

    monkeypatch.setattr(reviews, "queue", fail)
    answer = client.get("/v1/reviews", headers=signed("anna"))
    error = error_of(answer, 500, "internal")
    assert CANARY not in answer.text + caplog.text
    assert error["request_id"] in caplog.text
