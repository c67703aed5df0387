"""How a refusal is told, and a word that no answer may repeat."""

from typing import Any

import httpx

CANARY = "canary-4111111111111111"


def error_of(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.json()["error"]["code"]) == (status, code), response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(response.json()) == {"error"}
    assert set(error) == {"code", "message", "fields", "request_id"}
    assert response.headers["x-request-id"] == error["request_id"]
    assert CANARY not in response.text
    return error
