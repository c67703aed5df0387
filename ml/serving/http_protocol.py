"""uvicorn's HTTP protocol with the limits that it has not: size and time of headers, time of bodies, connections.

It also notes when a request's first byte came, from which every deadline counts, and gives requests that are no HTTP
the API's own shape of error.
"""

import asyncio
import time
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ml.serving.errors import MAX_HEADER_BYTES, Refusal, headers_too_large, new_request_id, overloaded, plain_answer

HEADER_SECONDS = 10.0
# The body's own limit is 10 s, answered by the route; this one ends what nobody reads any more.
BODY_SECONDS = 15.0
MOST_CONNECTIONS = 1024
_VERSIONS = ("1.0", "1.1")

_NO_HTTP = Refusal(400, "bad_request", "The request cannot be read.")
_SLOW = Refusal(408, "too_slow", "The request did not arrive in time.")


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._reads_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._end_with(overloaded())
            return
        self._arm(HEADER_SECONDS)

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

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["received"] = time.perf_counter()
        self._reads_head = True
        self._arm(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        self._reads_head, self._head_bytes = False, 0
        if self.parser.get_http_version() not in _VERSIONS:
            self._end_with(_NO_HTTP)
            return
        self._arm(BODY_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        if not self.transport.is_closing():
            super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        self._end_with(_NO_HTTP)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _disarm(self) -> None:
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
        response = plain_answer(refusal, new_request_id())
        status = HTTPStatus(refusal.status)
        lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), b"connection: close"]
        lines += [name + b": " + value for name, value in response.raw_headers if name != b"connection"]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()
