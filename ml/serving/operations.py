"""What a route is: one table row that says method, address, scope, models and who answers.

Requests are answered (`answered`) and the OpenAPI document is written (`ml/serving/openapi.py`) by the same row.
"""

import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from ml.fraud.events import UNPRINTABLE
from ml.serving.bodies import MAX_BYTES, StrictBody, read_json, read_query
from ml.serving.errors import Refusal, overloaded
from ml.serving.keys import Caller
from ml.serving.requests import Answer, Request

if TYPE_CHECKING:
    from ml.serving.services import Services

MOST_ID_CHARACTERS = 200
_PRINTABLE = re.compile(rf"[^{UNPRINTABLE}\ud800-\udfff\ufffd]{{1,{MOST_ID_CHARACTERS}}}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass
class Call:
    """One request that passed key, scope and budget.

    Attributes:
        body: As read, not yet held against a model; an empty object when none was sent.
        query: An instance of the operation's query model.
        path: Parameters of the address, each of 1 to 200 printable characters.
        idempotency_key: As the caller gave it; `request_digest` (sha256 of address and canonical body) is made with it.
    """

    request: Request
    operation: "Operation"
    services: "Services"
    caller: Caller
    body: dict[str, Any]
    query: Any
    path: Mapping[str, str]
    idempotency_key: str | None = None
    request_digest: str = ""


@dataclass(frozen=True)
class Operation:
    """One route.

    Attributes:
        scope: What a key needs; None for the routes that are open.
        takes_idempotency_key: A POST that changes something and may be sent again.
        is_probe: Answered however busy the process is: whoever watches it asks.
        has_deadline: One customer waits for it; how long it takes tells how much there is to do.
        most_bytes: That the body may have.
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
    is_probe: bool = False
    has_deadline: bool = False
    most_bytes: int = MAX_BYTES
    errors: tuple[int, ...] = ()
    media_type: str = "application/json"
    path_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path_names", tuple(re.findall(r"\{(\w+)\}", self.path)))


async def answered(
    request: Request, operation: Operation, parameters: Mapping[str, str], services: "Services"
) -> Answer:
    """Answer a request that came to the operation's address.

    Args:
        parameters: Of the address, not yet judged.

    Raises:
        Refusal: The request may not be made, or cannot be answered.
    """
    request.route = operation.path
    caller = _NOBODY
    if operation.scope is not None:
        caller = services.access.caller_of(request, operation.scope)
        request.caller = caller.name
        services.limits.take_key(caller.name)
    path = {name: _id_in_path(name, value) for name, value in parameters.items()}
    query = read_query(request, operation.query or StrictBody)
    if not operation.is_probe and services.admission.is_full:
        raise overloaded()  # before the body is read: what is refused costs little
    body: dict[str, Any] = {}
    if operation.body is not None:
        found = await read_json(request, operation.most_bytes)
        if found is None and operation.needs_body:
            raise Refusal(422, "invalid", "The body has to be a JSON object.")
        body = found or {}
    call = Call(request, operation, services, caller, body, query, path)
    answer = await (operation.answer(call) if operation.is_probe else _admitted(call))
    request.step = answer.step
    return answer


async def _admitted(call: Call) -> Answer:
    admission, operation = call.services.admission, call.operation
    if admission.is_full:  # others came while the body was on its way
        raise overloaded()
    received = call.request.received if operation.has_deadline else None
    admission.enter()
    try:
        return await (_once(call) if operation.takes_idempotency_key else operation.answer(call))
    except Refusal as error:
        if error.status < 500:  # refused for what it is, which takes no time
            received = None
        raise
    finally:
        admission.leave(received)


async def _once(call: Call) -> Answer:
    """Answer a request that may come again: not twice at the same time, and not another one under the same key."""
    given = call.request.header(b"idempotency-key")
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


_NOBODY = Caller("", frozenset())
_SOON = {"Retry-After": "1"}


def _id_in_path(name: str, value: str) -> str:
    if _PRINTABLE.fullmatch(value) is None:
        problem = {"path": name, "problem": f"expected 1 to {MOST_ID_CHARACTERS} printable characters"}
        raise Refusal(422, "invalid", "The address names nothing that can be an id.", [problem])
    return value
