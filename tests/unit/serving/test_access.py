"""Who may ask what, and how much of it."""

from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from ml.serving.app import create_app
from ml.serving.operations import Operation
from ml.serving.routes import OPERATIONS
from ml.settings import SCOPES, SettingsError
from tests.serving_stubs import ATTEMPT, VIEW, grants, signed, stub_services
from tests.unit.serving.refusals import CANARY, error_of

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


def ask(client: TestClient, operation: Operation, headers: dict[str, str]) -> httpx.Response:
    path = operation.path.format(**dict.fromkeys(operation.path_names, "unknown"))
    body = EXAMPLES.get(operation.name, {} if operation.body is not None else None)
    return client.request(operation.method, path, json=body, headers=headers)


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
