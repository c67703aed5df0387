"""A request as it came and the answer that it gets: little more than what ASGI hands over, for it is made each time."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.types import Receive, Scope

_ENCODER = msgspec.json.Encoder()


def new_request_id() -> str:
    """32 hexadecimal digits that nobody can guess."""
    return os.urandom(16).hex()


class Request:
    """One HTTP request.

    Attributes:
        received: `time.perf_counter()` when its first byte was known.
        is_last: Whether its connection ends with the answer.
        route: Template of its address; for the records, as are `caller` (name of the key) and `step` (of the ladder).
    """

    __slots__ = ("_headers", "caller", "id", "is_last", "receive", "received", "route", "scope", "step")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive
        self.id = new_request_id()
        known = scope.get("state", {})
        self.received: float = known.get("received") or time.perf_counter()
        self.is_last: bool = known.get("is_last", False)
        self.route, self.caller, self.step = "unmatched", "", ""
        # Of a header that stands there twice the first one counts; `LimitedProtocol` refuses two that decide anything.
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))

    def header(self, name: bytes) -> str | None:
        """A header by its name in small letters; None when it was not sent."""
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def client(self) -> str:
        """Address of who is connected, empty when that is not known."""
        client = self.scope.get("client")
        return client[0] if client else ""


@dataclass(frozen=True)
class Answer:
    """What a request is answered.

    Attributes:
        content: JSON object, or text that is sent as it is with `media_type`.
        step: Of the ladder, for the request log.
    """

    content: Mapping[str, Any] | bytes
    status: int = 200
    step: str = ""
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Its headers and its body."""
        content = self.content
        body = content if isinstance(content, bytes) else _ENCODER.encode(content)
        headers = [(b"content-type", self.media_type.encode()), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        return headers, body
