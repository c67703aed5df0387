"""uvicorn's HTTP protocol with the limits that it has not: size and time of headers, time of bodies, connections.

It also notes when a request's first byte came, from which every deadline counts, and which is a connection's last, and
gives requests that are no HTTP the API's own shape of error.
"""

import asyncio
import random
import time
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ml.serving.errors import MAX_HEADER_BYTES, Refusal, answer_to, headers_too_large, overloaded
from ml.serving.requests import new_request_id

HEADER_SECONDS = 10.0
# The body's own limit is 10 s, answered by the route; this one ends what nobody reads any more.
BODY_SECONDS = 15.0
MOST_CONNECTIONS = 1024
# Whoever takes a connection has all of its requests, and a process that starts anew has none: connections that end now
# and then are dealt out again, so that no process has most of the work for good. Not all end at once.
CONNECTION_SECONDS = (30.0, 60.0)
_VERSIONS = ("1.0", "1.1")
# Two of them would be read one way here and another way by a proxy before us.
_ONCE = frozenset({b"host", b"authorization", b"content-type", b"content-length", b"idempotency-key"})

_NO_HTTP = Refusal(400, "bad_request", "The request cannot be read.")
_SLOW = Refusal(408, "too_slow", "The request did not arrive in time.")


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._timer: asyncio.TimerHandle | None = None
        self._awaits, self._timed = HEADER_SECONDS, 0.0
        self._head_bytes = 0
        self._reads_head = True
        self._ends_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._ends_at = self.loop.time() + random.uniform(*CONNECTION_SECONDS)  # noqa: S311 - not for secrets
        if len(self.connections) > MOST_CONNECTIONS:
            self._end_with(overloaded())
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._reads_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._reads_head and self._head_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self._end_with(headers_too_large())
        self._watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["received"] = time.perf_counter()
        self.scope["state"]["is_last"] = self.loop.time() >= self._ends_at
        self._reads_head, self._awaits = True, HEADER_SECONDS
        self._disarm()  # the time of a connection that asked nothing yet does not count

    def on_headers_complete(self) -> None:
        self._reads_head, self._head_bytes = False, 0
        if not self._is_clear():
            self._end_with(_NO_HTTP)
            return
        self._awaits = BODY_SECONDS
        super().on_headers_complete()

    def _is_clear(self) -> bool:
        """Whether everybody reads the head alike: RFC 9112, 2.3 and 3.2; RFC 9110, 5.3."""
        version = self.parser.get_http_version()
        once = [name for name, _ in self.headers if name in _ONCE]
        return version in _VERSIONS and len(once) == len(set(once)) and (version == "1.0" or b"host" in once)

    def on_message_complete(self) -> None:
        self._awaits = 0.0
        self._disarm()
        if self.transport.is_closing():
            return
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._end_with(_NO_HTTP)

    def _watch(self) -> None:
        """See to the timer after what has arrived: for a request that came in one piece none is ever set."""
        if self._awaits == self._timed or self.transport.is_closing():
            return
        self._disarm()
        if self._awaits:
            self._timer = self.loop.call_later(self._awaits, self._too_slow)
            self._timed = self._awaits

    def _disarm(self) -> None:
        self._timed = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        is_answered = self.cycle is None or self.cycle.response_complete
        if self._reads_head and is_answered:
            if self._head_bytes:
                self._end_with(_SLOW)
            else:  # nobody asked anything
                self.transport.close()
        else:
            self.transport.close()

    def _end_with(self, refusal: Refusal) -> None:
        if self.transport.is_closing():
            return
        headers, body = answer_to(refusal, new_request_id()).encoded()
        status = HTTPStatus(refusal.status)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), b"connection: close"]
        lines += [name + b": " + value for name, value in headers if name != b"connection"]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        self.transport.close()
