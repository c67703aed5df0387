"""The API as a whole: its addresses, what stands beside every answer, and its description."""

import io
import json

import pytest
from fastapi.testclient import TestClient

from ml.serving.app import create_app
from ml.serving.metrics import MEDIA_TYPE
from ml.serving.openapi import openapi_document
from ml.serving.request_log import RequestLog
from ml.serving.routes import OPERATIONS
from ml.settings import PROJECT_DIR
from tests.serving_stubs import ATTEMPT, KEYS, signed, stub_services
from tests.unit.serving.refusals import CANARY, error_of


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


def test_the_description_in_git_is_the_one_of_the_code():
    """After a change of the API: `shopwright serve --write-openapi`."""
    kept = json.loads((PROJECT_DIR / "docs" / "openapi.json").read_text())
    assert kept == json.loads(json.dumps(openapi_document()))


def test_what_is_sent_beside_the_errors_shape_is_described():
    described = openapi_document()["paths"]
    decided = described["/v1/fraud/decisions"]["post"]["responses"]
    assert [list(decided[status].get("headers", {})) for status in ("401", "422", "503")] == [
        ["WWW-Authenticate"],
        [],
        ["Retry-After"],
    ]
    not_ready = described["/readyz"]["get"]["responses"]["503"]["content"]["application/json"]["schema"]
    assert {one["$ref"].rsplit("/", 1)[1] for one in not_ready["anyOf"]} == {"Readiness", "Error"}
    assert list(described["/metrics"]["get"]["responses"]["200"]["content"]) == [MEDIA_TYPE]


def test_the_description_says_who_may_use_what():
    described = openapi_document()["paths"]
    assert len(described) > 10
    for operation in OPERATIONS:
        told = described[operation.path][operation.method.lower()]
        assert told.get("security", []) == ([{"key": [operation.scope]}] if operation.scope else [])
