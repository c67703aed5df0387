"""What a route is: one table row that says method, address, scope, models and who answers.

FastAPI routes the request and writes the OpenAPI document from the same row. Reading and judging are ours: its own
reader takes "12" for a number and NaN for JSON, and costs more than a decision does.
"""

import hashlib
import inspect
import json
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Header, Path, Query, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.routing import Match
from starlette.types import Scope

from ml.serving.bodies import StrictBody, read_json, read_query
from ml.serving.errors import Refusal, answer_to, overloaded
from ml.serving.keys import Caller
from ml.serving.models.errors import Error
from ml.serving.models.fields import PRINTABLE

if TYPE_CHECKING:
    from ml.serving.services import Services

MOST_ID_CHARACTERS = 200
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff\ufffd]{1,200}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_BEARER = HTTPBearer(auto_error=False, scheme_name="key", description="An API key, or a token (JWT) of the shop.")
_ERRORS = {
    400: "The body is no JSON that everybody reads alike.",
    401: "No key, or none that is known here.",
    403: "The key may not do this.",
    404: "There is no such thing here.",
    408: "The request did not arrive in time.",
    409: "It contradicts what is known or under way.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    422: "A field breaks a rule.",
    429: "Too many requests; see Retry-After.",
    431: "The headers are too large.",
    500: "Something went wrong here.",
    503: "A store does not answer, or there is too much to do; see Retry-After.",
}
_ALWAYS = (429, 431, 500, 503)
_WITH_KEY = (401, 403, 422)
_WITH_BODY = (400, 408, 413, 415)


@dataclass(frozen=True)
class Answer:
    """What a route answers.

    Attributes:
        content: JSON object, or text that is sent as it is with `media_type`.
        step: Of the ladder, for the request log.
    """

    content: Mapping[str, Any] | bytes
    status: int = 200
    step: str = ""
    media_type: str = "application/json"


@dataclass
class Call:
    """One request that passed key, scope and budget.

    Attributes:
        body: As read, not yet held against a model; an empty object when none was sent.
        query: An instance of the operation's query model.
        path: Parameters of the address, each of 1 to 200 printable characters.
        received: `time.perf_counter()` when its first byte was known.
        idempotency_key: As the caller gave it; `request_digest` (sha256 of address and canonical body) is made with it.
    """

    request: Request
    operation: "Operation"
    services: "Services"
    caller: Caller
    body: dict[str, Any]
    query: Any
    path: Mapping[str, str]
    received: float
    idempotency_key: str | None = None
    request_digest: str = ""


@dataclass(frozen=True)
class Operation:
    """One route.

    Attributes:
        scope: What a key needs; None for the routes that are open.
        takes_idempotency_key: A POST that changes something and may be sent again.
        errors: Statuses beside those that every route can answer.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    scope: str | None
    summary: str
    answer: Callable[[Call], Awaitable[Answer]]
    told: type[BaseModel] | None
    body: type[StrictBody] | Any | None = None
    query: type[StrictBody] | None = None
    takes_idempotency_key: bool = False
    needs_body: bool = True
    errors: tuple[int, ...] = ()
    media_type: str = "application/json"
    path_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path_names", tuple(re.findall(r"\{(\w+)\}", self.path)))


class OperationRoute(APIRoute):
    """An operation as a route of FastAPI: documented by it, answered by us.

    Args:
        reserved: Addresses without parameters.
    """

    def __init__(self, operation: Operation, services: "Services", reserved: frozenset[str] = frozenset()) -> None:
        self.operation, self._services, self._reserved = operation, services, reserved
        super().__init__(
            operation.path,
            _documented(operation),
            methods=[operation.method],
            operation_id=operation.name,
            summary=operation.summary,
            response_model=operation.told,
            response_class=JSONResponse if operation.told is not None else Response,
            responses=_responses(operation),
        )

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """An address that is another route's own word (`/batch`) is no id: it is that route's, whatever the method."""
        if self.operation.path_names and scope.get("path") in self._reserved:
            return Match.NONE, {}
        return super().matches(scope)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        operation, services = self.operation, self._services

        async def handle(request: Request) -> Response:
            try:
                return _response(await _answer(request, operation, services))
            except Exception as error:  # noqa: BLE001 - every error has one shape
                return answer_to(request, error)

        return handle


async def _answer(request: Request, operation: Operation, services: "Services") -> Answer:
    state = request.scope.setdefault("state", {})
    state["route"] = operation.path
    caller = _NOBODY
    if operation.scope is not None:
        caller = services.access.caller_of(request, operation.scope)
        state["caller"] = caller.name
        services.limits.take_key(caller.name)
    path = {name: _id_in_path(name, request.path_params[name]) for name in operation.path_names}
    query = read_query(request, operation.query or StrictBody)
    body: dict[str, Any] = {}
    if operation.body is not None:
        found = await read_json(request)
        if found is None and operation.needs_body:
            raise Refusal(422, "invalid", "The body has to be a JSON object.")
        body = found or {}
    call = Call(request, operation, services, caller, body, query, path, state.get("received") or time.perf_counter())
    if operation.scope is not None and services.at_work >= MOST_AT_WORK:
        raise overloaded()
    services.at_work += 1
    try:
        answer = await (_once(call) if operation.takes_idempotency_key else operation.answer(call))
    finally:
        services.at_work -= 1
    state["step"] = answer.step
    return answer


async def _once(call: Call) -> Answer:
    """Answer a request that may come again: not twice at the same time, and not another one under the same key."""
    given = call.request.headers.get("idempotency-key")
    if given is None:  # decisions and events are known by their own ids
        return await call.operation.answer(call)
    canonical = json.dumps(call.body, sort_keys=True, separators=(",", ":"))
    call.request_digest = hashlib.sha256(f"{call.operation.path}\n{canonical}".encode()).hexdigest()
    if _IDEMPOTENCY_KEY.fullmatch(given) is None:
        problem = {"path": "Idempotency-Key", "problem": "expected 1 to 200 printable ASCII characters, no space"}
        raise Refusal(422, "invalid", "The Idempotency-Key cannot be used.", [problem])
    kept = f"{call.caller.name}:{given}"
    record = call.services.log.find_request(kept)
    if record is not None and record.digest != call.request_digest:
        raise Refusal(422, "idempotency_key_reused", "This Idempotency-Key was used with another request.")
    under_way = call.services.under_way
    if kept in under_way:
        raise Refusal(409, "in_progress", "A request with this Idempotency-Key is under way.", headers=_SOON)
    under_way.add(kept)
    try:
        call.idempotency_key = given
        return await call.operation.answer(call)
    finally:
        under_way.discard(kept)


MOST_AT_WORK = 8
"""Requests that one process answers at the same time. At five to ten milliseconds each, one more would end behind the
default deadline, and so would all that come after it."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_NOBODY = Caller("", frozenset())
_SOON = {"Retry-After": "1"}


def _id_in_path(name: str, value: str) -> str:
    if _PRINTABLE.fullmatch(value) is None:
        problem = {"path": name, "problem": f"expected 1 to {MOST_ID_CHARACTERS} printable characters"}
        raise Refusal(422, "invalid", "The address names nothing that can be an id.", [problem])
    return value


def _response(answer: Answer) -> Response:
    content = answer.content
    if not isinstance(content, bytes):
        content = _ENCODER.encode(content).encode()
    return Response(content, answer.status, media_type=answer.media_type)


def _documented(operation: Operation) -> Callable[..., Any]:
    """A function with the signature from which FastAPI writes the operation's part of the document."""

    async def endpoint(**_named: Any) -> None:
        raise NotImplementedError  # `get_route_handler` answers

    Id = Annotated[str, Path(min_length=1, max_length=MOST_ID_CHARACTERS, pattern=PRINTABLE)]  # noqa: N806 - a type
    kinds: dict[str, Any] = dict.fromkeys(operation.path_names, Id)
    if operation.query is not None:
        kinds["query"] = Annotated[operation.query, Query()]
    if operation.body is not None:
        kinds["body"] = operation.body
    if operation.takes_idempotency_key:
        kinds["idempotency_key"] = Annotated[
            str | None, Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$", alias="Idempotency-Key")
        ]
    if operation.scope is not None:
        kinds["key"] = Annotated[Any, Security(_BEARER, scopes=[operation.scope])]
    defaults = {"idempotency_key": None} | ({} if operation.needs_body else {"body": None})
    if not operation.needs_body and operation.body is not None:
        kinds["body"] = operation.body | None
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=kind,
            default=defaults.get(name, inspect.Parameter.empty),
        )
        for name, kind in kinds.items()
    ]
    endpoint.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    endpoint.__name__ = operation.name
    return endpoint


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    statuses = {*_ALWAYS, 422, *operation.errors}
    statuses |= set(_WITH_KEY) if operation.scope is not None else set()
    statuses |= set(_WITH_BODY) if operation.body is not None else set()
    return {status: {"model": Error, "description": _ERRORS[status]} for status in sorted(statuses)}
