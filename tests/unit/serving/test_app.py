"""The API's routes: who may use which, how they read what is sent, and what they tell."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from ml.outcomes import ToolFailed
from ml.serving.app import create_app, openapi_document
from ml.serving.fraud_service import Unavailable
from ml.serving.metrics import MULTIPROC_DIR
from ml.serving.operations import Operation
from ml.serving.request_log import RequestLog
from ml.serving.routes import OPERATIONS
from ml.serving.services import Services
from ml.settings import PROJECT_DIR, SCOPES, Settings, SettingsError
from tests.serving_stubs import ATTEMPT, KEYS, VIEW, grants, signed, stub_services

CANARY = "canary-4111111111111111"
OPEN = {"/healthz", "/readyz"}
EXAMPLES: dict[str, Any] = {
    "decide": ATTEMPT,
    "decide_several": {"attempts": [ATTEMPT]},
    "look_up_decisions": {"decision_ids": ["decision-p1"]},
    "recommend_several": {"requests": [{"customer_id": "c1"}]},
    "take_event": VIEW,
    "take_events": {"events": [VIEW]},
    "decide_case": {"verdict": "fraud"},
}


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure(api_keys=grants())


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    made = stub_services(settings)
    yield made
    made.stop()


@pytest.fixture
def client(settings: Settings, services: Services) -> TestClient:
    return TestClient(create_app(settings, services=services), raise_server_exceptions=False)


def error_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"code", "message", "fields", "request_id"}
    assert response.headers["x-request-id"] == error["request_id"]
    assert CANARY not in response.text
    return error


def ask(client: TestClient, operation: Operation, headers: dict[str, str]) -> httpx.Response:
    path = operation.path.format(**dict.fromkeys(operation.path_names, "unknown"))
    body = EXAMPLES.get(operation.name, {} if operation.body is not None else None)
    return client.request(operation.method, path, json=body, headers=headers)


# Who may do what


def test_nothing_is_served_that_is_not_in_the_table(client):
    served = {(method, route.path) for route in client.app.routes for method in route.methods}
    assert served == {(operation.method, operation.path) for operation in OPERATIONS}


def test_every_route_has_a_scope_or_is_known_to_be_open():
    assert {operation.path for operation in OPERATIONS if operation.scope is None} == OPEN
    assert {operation.scope for operation in OPERATIONS if operation.scope} == set(SCOPES)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_a_route_takes_its_scope_and_no_other(client, operation):
    if operation.scope is None:
        assert ask(client, operation, {}).status_code == 200
        return
    missing = ask(client, operation, {})
    error_of(missing, 401, "unauthorized")
    assert missing.headers["www-authenticate"] == "Bearer"
    error_of(ask(client, operation, {"Authorization": f"Bearer {CANARY}"}), 401, "unauthorized")
    for name in ("public", "none"):
        allowed = {"public": "decisions:write", "none": "metrics:read"}[name]
        answer = ask(client, operation, signed(name))
        if operation.scope == allowed:
            assert answer.status_code == 200
        else:
            assert operation.scope in error_of(answer, 403, "forbidden")["message"]
    assert ask(client, operation, signed()).status_code in (200, 404)


def test_a_key_of_another_shop_is_nobody_s(configure, client):
    """Each shop knows its own keys: one that is good elsewhere is like any other word here."""
    error_of(client.get("/metrics", headers={"Authorization": "Bearer key-of-another-shop"}), 401, "unauthorized")


def test_an_unknown_decision_is_not_found_whoever_s_it_might_be(client):
    client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed())
    assert client.get("/v1/decisions/decision-p1", headers=signed()).status_code == 200
    first = error_of(client.get("/v1/decisions/decision-of-another", headers=signed()), 404, "not_found")
    second = error_of(client.get(f"/v1/decisions/{CANARY}", headers=signed()), 404, "not_found")
    assert first["message"] == second["message"]


def test_guessing_is_slowed_down_and_a_right_key_is_not(client):
    for _ in range(20):
        error_of(client.get("/metrics", headers={"Authorization": "Bearer guess"}), 401, "unauthorized")
    answer = client.get("/metrics", headers={"Authorization": "Bearer guess"})
    error_of(answer, 429, "too_many_attempts")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert client.get("/metrics", headers=signed()).status_code == 200


def test_an_expired_key_says_so(configure):
    settings = configure(api_keys=grants().replace(" decisions:write", "@2020-01-31 decisions:write"))
    services = stub_services(settings)
    try:
        client = TestClient(create_app(settings, services=services))
        error_of(client.get("/metrics", headers=signed()), 401, "expired")
        assert client.get("/metrics", headers=signed("none")).status_code == 200
    finally:
        services.stop()


def test_without_keys_and_tokens_there_is_no_api(configure):
    with pytest.raises(SettingsError, match="SHOPWRIGHT_API_KEYS: expected at least one key"):
        create_app(configure())


# Decisions


def test_a_decision_shows_scores_to_those_who_may_read_them(client):
    told = client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed()).json()
    assert (told["score"], told["expected_costs_cents"]) == (0.0123, {"approve": 12.5})
    public = client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed("public")).json()
    assert sorted(public) == [
        *("action", "data", "decided_at", "decision_id", "degraded", "feature_version", "features_age_seconds"),
        *("model_version", "order_id", "payment_id", "policy_version", "reasons", "risk", "rules", "source", "step"),
    ]
    assert [sorted(one) for one in public["reasons"]] == [["code", "text"]]


def test_the_same_attempt_again_is_known_and_another_one_conflicts(client):
    first = client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed())
    same = {**ATTEMPT, "attempted_at": "2017-11-20T11:00:00+01:00", "ip_hash": None}
    assert client.post("/v1/fraud/decisions", json=same, headers=signed()).json() == first.json()
    error_of(client.post("/v1/fraud/decisions", json={**ATTEMPT, "amount_cents": 1}, headers=signed()), 409, "conflict")
    body = {"attempts": [ATTEMPT | {"payment_id": "p2"}, ATTEMPT, ATTEMPT | {"amount_cents": 2, "payment_id": "p2"}]}
    error_of(client.post("/v1/fraud/decisions/batch", json=body, headers=signed()), 422, "invalid")
    body["attempts"].pop()
    told = client.post("/v1/fraud/decisions/batch", json=body, headers=signed()).json()["results"]
    assert [one["status"] for one in told] == ["decided", "known"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"amount_cents": -1}, "amount_cents"),
        ({"amount_cents": 10**13}, "amount_cents"),
        ({"amount_cents": "12"}, "amount_cents"),
        ({"amount_cents": 12.5}, "amount_cents"),
        ({"amount_cents": True}, "amount_cents"),
        ({"currency": "EUR"}, "currency"),
        ({"attempted_at": "2017-11-20T10:00:00"}, "attempted_at"),
        ({"attempted_at": "1970-01-01T00:00:00Z"}, "attempted_at"),
        ({"attempted_at": "9999-12-31T23:59:59Z"}, "attempted_at"),
        ({"attempted_at": 1511172000}, "attempted_at"),
        ({"attempted_at": "2017-11-20T10:00:60Z"}, "attempted_at"),
        ({"payment_id": ""}, "payment_id"),
        ({"payment_id": "x" * 201}, "payment_id"),
        ({"customer_id": "a\x00b"}, "customer_id"),
        ({"customer_id": {"$gt": ""}}, "customer_id"),
        ({"outcome": CANARY}, "outcome"),
        ({"score": 0.1}, "body"),
        ({CANARY: True}, "body"),
    ],
)
def test_a_wrong_attempt_names_the_field_and_repeats_nothing(client, services, change, path):
    error = error_of(client.post("/v1/fraud/decisions", json=ATTEMPT | change, headers=signed()), 422, "invalid")
    assert [field["path"] for field in error["fields"]] == [path]
    batch = {"attempts": [ATTEMPT | {"payment_id": "p0"}, ATTEMPT | change]}
    error = error_of(client.post("/v1/fraud/decisions/batch", json=batch, headers=signed()), 422, "invalid")
    assert [field["path"] for field in error["fields"]] == [f"attempts.1.{path}" if path != "body" else "attempts.1"]
    assert services.fraud.calls == 0  # a batch is decided whole or not at all


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"attempts": []},
        {"attempts": ATTEMPT},
        {"attempts": [ATTEMPT] * 101},
        {"attempts": [1]},
        {"attempts": [ATTEMPT], "x": 1},
    ],
)
def test_a_batch_is_a_list_of_1_to_100_objects(client, body):
    error_of(client.post("/v1/fraud/decisions/batch", json=body, headers=signed()), 422, "invalid")


def test_a_decision_can_be_replayed_and_looked_up(client):
    client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed())
    shown = client.get("/v1/decisions/decision-p1?replay=true", headers=signed()).json()
    assert shown["replay"] == {"reproduced": True, "differences": [], "problem": None}
    wanted = {"decision_ids": ["decision-p1", "decision-none"]}
    found = client.post("/v1/decisions/lookup", json=wanted, headers=signed()).json()["decisions"]
    assert [one["decision"] is None for one in found] == [False, True]
    error_of(client.get("/v1/decisions/decision-p1?replay=yes", headers=signed()), 422, "invalid")


@pytest.mark.parametrize("error", [Unavailable(CANARY), ToolFailed(CANARY)])
def test_what_cannot_be_recorded_is_not_answered(client, services, caplog, error):
    services.fraud.raises = services.recommendations.raises = error
    for answer in (
        client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed()),
        client.get("/v1/recommendations/c1", headers=signed()),
    ):
        error_of(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    assert CANARY not in caplog.text


def test_an_accident_tells_nothing_of_itself(client, services, caplog):
    services.fraud.raises = RuntimeError(CANARY)
    error = error_of(client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed()), 500, "internal")
    assert error["request_id"] in caplog.text
    assert CANARY not in caplog.text


# Recommendations


def test_a_recommendation_is_asked_with_its_context(client, services):
    query = "placement=cart&k=3&exclude=a&exclude=b%2Cc&category=Tea%20%26%20Co&store_id=s1"
    answer = client.get(f"/v1/recommendations/anna%20b?{query}", headers=signed())
    assert answer.json()["reason"] == "cold_start"
    (asked,) = services.recommendations.asked
    assert (asked.customer_id, asked.placement, asked.k) == ("anna b", "cart", 3)
    assert (asked.exclude, asked.category, asked.store_id) == (("a", "b,c"), "Tea & Co", "s1")


@pytest.mark.parametrize(
    "query",
    [
        *("k=0", "k=-1", "k=51", "k=1000000000", "k=1e1", "k=+5", "k=%205", "k=1_0", "k=true", "k=", "k=5&k=6"),
        *("k=" + "9" * 5000, "placement=", "placement=Home", "placement=" + CANARY + "!", f"{CANARY}=1", "offset=9"),
        *("exclude=", "exclude=%00", "exclude=%FF", "&".join(["exclude=x"] * 101), "category=" + "x" * 201),
        *("k", "=", "&", "store_id=%0a", "replay=true", "k=%D9%A3"),
    ],
)
def test_parameters_are_read_strictly(client, query):
    error_of(client.get(f"/v1/recommendations/c1?{query}", headers=signed()), 422, "invalid")


def test_the_largest_number_of_products_is_told(client):
    error = error_of(client.get("/v1/recommendations/c1?k=51", headers=signed()), 422, "invalid")
    assert error["fields"] == [{"path": "k", "problem": "less_than_equal (le 50)"}]


@pytest.mark.parametrize("customer", ["%00", "a%0Ab", "%FF", "x" * 201])
def test_what_is_no_id_is_refused(client, customer):
    error_of(client.get(f"/v1/recommendations/{customer}", headers=signed()), 422, "invalid")


@pytest.mark.parametrize("customer", ["' OR 1=1--", "😀", "\u202eevil", "раураl", ";rm -rf", "${x}"])
def test_strange_ids_are_unknown_customers(client, services, customer):
    assert client.get(f"/v1/recommendations/{customer}", headers=signed()).status_code == 200
    assert services.recommendations.asked[0].customer_id == customer


def test_recommendations_come_in_batches(client, services):
    body = {"requests": [{"customer_id": "c1"}, {"customer_id": "../c2", "k": 50, "exclude": ["p"]}]}
    told = client.post("/v1/recommendations/batch", json=body, headers=signed()).json()["recommendations"]
    assert [one["k"] for one in told] == [10, 50]
    assert [one.customer_id for one in services.recommendations.asked] == ["c1", "../c2"]
    for wrong in ({}, {"requests": []}, {"requests": [{"customer_id": "c"}] * 51}, {"requests": [{"k": 1}]}):
        error_of(client.post("/v1/recommendations/batch", json=wrong, headers=signed()), 422, "invalid")
    error = error_of(
        client.post("/v1/recommendations/batch", json={"requests": [{"customer_id": 5}]}, headers=signed()),
        422,
        "invalid",
    )
    assert error["fields"] == [{"path": "requests.0.customer_id", "problem": "string_type"}]


# Events


def test_an_event_is_kept_once(client, services):
    assert client.post("/v1/events", json=VIEW, headers=signed()).json() == {"taken": 1, "known": 0, "conflicts": []}
    assert client.post("/v1/events", json=VIEW, headers=signed()).json() == {"taken": 0, "known": 1, "conflicts": []}
    error_of(client.post("/v1/events", json=VIEW | {"product_id": "p2"}, headers=signed()), 409, "conflict")
    batch = {"events": [VIEW, VIEW | {"interaction_id": "i2"}, VIEW | {"product_id": "p2"}]}
    told = client.post("/v1/events/batch", json=batch, headers=signed()).json()
    assert told == {"taken": 1, "known": 1, "conflicts": [2]}
    assert services.log.end() == 2


def test_a_batch_with_a_wrong_event_is_refused_whole(client, services):
    batch = {"events": [VIEW, VIEW | {"interaction_id": ""}, VIEW | {"type": CANARY}]}
    error = error_of(client.post("/v1/events/batch", json=batch, headers=signed()), 422, "invalid")
    assert [field["path"] for field in error["fields"]] == ["events.1.interaction_id", "events.2.type"]
    assert services.log.end() == 0


# Idempotency keys


def test_an_idempotency_key_gives_the_same_answer_to_the_same_request_only(client):
    headers = signed() | {"Idempotency-Key": "k1"}
    first = client.post("/v1/events", json=VIEW, headers=headers)
    again = client.post("/v1/events", json=dict(reversed(VIEW.items())), headers=headers)
    assert (first.json(), again.json()) == ({"taken": 1, "known": 0, "conflicts": []},) * 2
    other = client.post("/v1/events", json=VIEW | {"interaction_id": "i2"}, headers=headers)
    error_of(other, 422, "idempotency_key_reused")
    elsewhere = client.post("/v1/fraud/decisions", json=ATTEMPT, headers=headers)
    error_of(elsewhere, 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "é"])
def test_what_is_no_idempotency_key_is_refused(client, key):
    headers = signed() | {"Idempotency-Key": key.encode()}
    error = error_of(client.post("/v1/events", json=VIEW, headers=headers), 422, "invalid")
    assert error["fields"][0]["path"] == "Idempotency-Key"


def test_a_request_under_way_holds_its_key(settings, services):
    gate = asyncio.Event()
    decide = services.fraud.decide

    async def slow(*arguments: Any) -> Any:
        await gate.wait()
        return await decide(*arguments)

    services.fraud.decide = slow

    async def both() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(create_app(settings, services=services))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            headers = signed() | {"Idempotency-Key": "k1"}
            first = asyncio.create_task(client.post("/v1/fraud/decisions", json=ATTEMPT, headers=headers))
            while not services.under_way:
                await asyncio.sleep(0.001)
            second = await client.post("/v1/fraud/decisions", json=ATTEMPT, headers=headers)
            gate.set()
            return await first, second

    first, second = asyncio.run(both())
    assert first.status_code == 200
    error_of(second, 409, "in_progress")
    assert services.under_way == set()


# Limits


def test_too_much_from_one_key_waits(configure):
    settings = configure(api_keys=grants(), key_requests_per_second=3)
    services = stub_services(settings)
    try:
        client = TestClient(create_app(settings, services=services))
        answers = [client.get("/v1/reviews", headers=signed()) for _ in range(12)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert int(refused[0].headers["retry-after"]) >= 1
        error_of(refused[0], 429, "too_many_requests")
        assert client.get("/metrics", headers=signed("none")).status_code == 200  # another key's is its own
    finally:
        services.stop()


def test_too_much_about_one_customer_waits(configure):
    settings = configure(api_keys=grants(), customer_requests_per_minute=2)
    services = stub_services(settings)
    try:
        client = TestClient(create_app(settings, services=services))
        attempts = [ATTEMPT | {"payment_id": f"p{place}", "customer_id": "c1"} for place in range(3)]
        statuses = [client.post("/v1/fraud/decisions", json=one, headers=signed()).status_code for one in attempts]
        assert statuses == [200, 200, 429]
        assert client.get("/v1/recommendations/c1", headers=signed()).status_code == 429
        assert client.get("/v1/recommendations/c2", headers=signed()).status_code == 200
    finally:
        services.stop()


# What is told beside the answer


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/recommendations/c1/", 404, "not_found"),
        ("GET", "/v1//recommendations/c1", 404, "not_found"),
        ("GET", "/v1/recommendations/", 404, "not_found"),
        ("GET", "/v1/recommendations/../../etc/passwd", 404, "not_found"),
        ("GET", "/v1/decisions/..%2f..%2fetc", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/openapi.json", 404, "not_found"),
        ("DELETE", "/v1/recommendations/c1", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/events", 405, "method_not_allowed"),
        ("PATCH", "/v1/events", 405, "method_not_allowed"),
        ("GET", "/v1/fraud/decisions", 405, "method_not_allowed"),
        ("GET", "/v1/recommendations/batch", 405, "method_not_allowed"),
        ("GET", "/v1/decisions/lookup", 405, "method_not_allowed"),
    ],
)
def test_other_addresses_and_methods_have_the_same_shape(client, method, path, status, code):
    answer = client.request(method, path, headers=signed() | {"X-HTTP-Method-Override": "GET", "Origin": "http://x"})
    error_of(answer, status, code)
    assert "access-control-allow-origin" not in answer.headers


def test_head_is_not_get(client):
    assert client.head("/healthz").status_code == 405


def test_every_answer_forbids_being_kept_or_framed(client):
    for answer in (client.get("/healthz"), client.get("/nothing"), client.get("/v1/reviews", headers=signed())):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert len(answer.headers["x-request-id"]) == 32


def test_figures_hold_templates_and_no_ids(client, monkeypatch, tmp_path):
    monkeypatch.setenv(MULTIPROC_DIR, str(tmp_path))  # set too late by a library, as Feast does
    client.get(f"/v1/recommendations/{CANARY}", headers=signed())
    client.get(f"/v1/{CANARY}")
    client.request(CANARY[:6].upper(), "/healthz")
    told = client.get("/metrics", headers=signed()).text
    assert 'route="/v1/recommendations/{customer_id}"' in told
    assert 'route="unmatched"' in told
    assert "anary" not in told.lower()


def test_the_request_log_holds_templates_and_no_ids(settings):
    stream = io.StringIO()
    services = stub_services(settings, RequestLog(stream))
    client = TestClient(create_app(settings, services=services))
    client.post("/v1/fraud/decisions", json=ATTEMPT | {"customer_id": CANARY}, headers=signed())
    client.get(f"/v1/recommendations/{CANARY}?category={CANARY}", headers={"Authorization": f"Bearer {CANARY}"})
    services.stop()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [sorted(line) for line in lines] == [
        ["at", "key", "method", "ms", "request_id", "route", "status", "step"],
        ["at", "method", "ms", "request_id", "route", "status"],
    ]
    assert (lines[0]["route"], lines[0]["key"], lines[0]["step"]) == ("/v1/fraud/decisions", "all", "model")
    assert CANARY not in stream.getvalue()
    assert KEYS["all"] not in stream.getvalue()


def test_readiness_is_coarse(client, services, monkeypatch):
    told = client.get("/readyz")
    assert told.json() == {
        "status": "ready",
        "conditions": {
            "log": "ok",
            "fraud": "loaded",
            "recommender": "loaded",
            "fraud_store": "closed",
            "recommender_store": "closed",
        },
    }
    monkeypatch.setattr(services.fraud, "condition", lambda: {"breaker": "open"})
    assert client.get("/readyz").json()["status"] == "degraded"

    def fail() -> int:
        raise ToolFailed(CANARY)

    monkeypatch.setattr(services.log, "end", fail)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert CANARY not in answer.text
    assert client.get("/healthz").status_code == 200


def test_the_description_in_git_is_the_one_of_the_code():
    """After a change of the API: `shopwright serve --write-openapi`."""
    kept = json.loads((PROJECT_DIR / "docs" / "openapi.json").read_text())
    assert kept == json.loads(json.dumps(openapi_document()))


def test_the_description_says_who_may_use_what():
    described = openapi_document()["paths"]
    assert len(described) > 10
    for operation in OPERATIONS:
        told = described[operation.path][operation.method.lower()]
        assert told.get("security", []) == ([{"key": [operation.scope]}] if operation.scope else [])
