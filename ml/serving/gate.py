"""What every request passes, whatever it asks: size of headers, how many are under way, headers of the answer, records.

Plain ASGI: it stands around each request and must cost microseconds.
"""

import time
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml.serving.bodies import MAX_BYTES
from ml.serving.errors import MAX_HEADER_BYTES, Refusal, headers_too_large, new_request_id, overloaded, plain_answer

if TYPE_CHECKING:
    from ml.serving.services import Services

MOST_UNDER_WAY = 256
_UNMATCHED = "unmatched"
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
# Probes must be answered by a process that is busy, or it is ended for being busy.
_NEVER_TOO_BUSY = frozenset({"/healthz"})


class Gate:
    """ASGI application around another."""

    def __init__(self, app: ASGIApp, services: "Services") -> None:
        self._app, self._services = app, services
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        received = state.setdefault("received", time.perf_counter())
        request_id = state["request_id"] = new_request_id()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS, (b"x-request-id", request_id.encode())]
                if status >= 400 and _is_unread(scope):
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        self._under_way += 1
        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                await plain_answer(refusal, request_id)(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        finally:
            self._under_way -= 1
            self._note(scope, status, time.perf_counter() - received, request_id)

    def _refusal(self, scope: Scope) -> Refusal | None:
        size = len(scope.get("raw_path", b"")) + len(scope.get("query_string", b""))
        if size + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            return headers_too_large()
        if self._under_way > MOST_UNDER_WAY and scope["path"] not in _NEVER_TOO_BUSY:
            return overloaded()
        return None

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        state = scope["state"]
        route = state.get("route", _UNMATCHED)
        # A method is what the caller sent; only those that we have get a label.
        method = scope["method"] if scope["method"] in ("GET", "POST") else "other"
        self._services.metrics.request(route, method, status, seconds)
        if self._services.request_log is not None:
            step, caller = state.get("step", ""), state.get("caller", "")
            self._services.request_log.note(method, route, status, seconds * 1000, step, caller, request_id)


def _is_unread(scope: Scope) -> bool:
    """Whether a body may still be on its way that is too large to be waited for; a small one is simply passed over."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not value.isdigit() or int(value[:12]) > MAX_BYTES
    return False
