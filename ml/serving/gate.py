"""What every request passes, whatever it asks: size of headers, how many are under way, headers of the answer, records.

The ASGI application itself, without a framework's layers: it stands around each request and must cost microseconds.
"""

import time
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from ml.serving.addresses import Addresses
from ml.serving.bodies import MAX_BYTES
from ml.serving.errors import MAX_HEADER_BYTES, answer_to, headers_too_large, overloaded
from ml.serving.operations import answered
from ml.serving.requests import Answer, Request
from ml.serving.routes import OPERATIONS

if TYPE_CHECKING:
    from ml.serving.services import Services

MOST_UNDER_WAY = 256
_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]
# A busy process that does not answer them is taken for dead, and ended for being busy.
_PROBES = frozenset(operation.path for operation in OPERATIONS if operation.is_probe)


class Gate:
    """Answers requests.

    Args:
        lifespan: What is asked when the process comes up and goes down.
    """

    def __init__(self, services: "Services", lifespan: ASGIApp) -> None:
        self._services, self._lifespan = services, lifespan
        self._addresses = Addresses(OPERATIONS)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._lifespan(scope, receive, send)
            return
        request = Request(scope, receive)
        status = 500
        self._under_way += 1
        try:
            answer = await self._answer(request)
            headers, body = answer.encoded()
            headers += _HEADERS
            headers.append((b"x-request-id", request.id.encode()))
            ends = request.is_last or (answer.status >= 400 and _is_unread(scope))
            if ends and b"connection" not in dict(headers):
                headers.append((b"connection", b"close"))
            status = answer.status
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        finally:
            self._under_way -= 1
            self._note(request, status)

    async def _answer(self, request: Request) -> Answer:
        scope = request.scope
        try:
            if _head_bytes(scope) > MAX_HEADER_BYTES:
                raise headers_too_large()
            if self._under_way > MOST_UNDER_WAY and scope["path"] not in _PROBES:
                raise overloaded()
            operation, parameters = self._addresses.find(scope["method"], scope["path"])
            return await answered(request, operation, parameters, self._services)
        except Exception as error:  # noqa: BLE001 - every error has one shape
            return answer_to(error, request.id)

    def _note(self, request: Request, status: int) -> None:
        seconds = time.perf_counter() - request.received
        # A method is what the caller sent; only those that we have get a label.
        method = request.scope["method"] if request.scope["method"] in ("GET", "POST") else "other"
        self._services.metrics.request(request.route, method, status, seconds)
        if self._services.request_log is not None:
            self._services.request_log.note(
                method, request.route, status, seconds * 1000, request.step, request.caller, request.id
            )


def _head_bytes(scope: Scope) -> int:
    size = len(scope.get("raw_path", b"")) + len(scope.get("query_string", b""))
    for name, value in scope["headers"]:
        size += len(name) + len(value) + 4
    return size


def _is_unread(scope: Scope) -> bool:
    """Whether a body may still be on its way that is too large to be waited for; a small one is simply passed over."""
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not value.isdigit() or int(value[:12]) > MAX_BYTES
    return False
