"""The OpenAPI document, written by FastAPI from the same table of operations by which requests are answered.

Nothing here stands on the way of a request: FastAPI's own reader takes "12" for a number and NaN for JSON, and its
routes cost more than all that a decision needs of HTTP.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from ml.serving.models.errors import Error
from ml.serving.models.fields import PRINTABLE
from ml.serving.models.health import Readiness
from ml.serving.operations import MOST_ID_CHARACTERS, Operation
from ml.serving.routes import OPERATIONS

TITLE, VERSION = "Shopwright", "1"
_DESCRIPTION = (
    "Recommendations and decisions on payments for one shop. See docs/api.md and docs/integrate.md. "
    "Every answer has the header X-Request-Id, by which the operator finds the request."
)
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
_HEADERS = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
}
_SENT_WITH = {401: "WWW-Authenticate", 409: "Retry-After", 429: "Retry-After", 503: "Retry-After"}
_ALWAYS = (429, 431, 500, 503)
_WITH_KEY = (401, 403, 422)
_WITH_BODY = (400, 408, 413, 415)


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document of every shop's API; nothing is opened for it."""
    app = FastAPI(title=TITLE, version=VERSION, description=_DESCRIPTION)
    app.router.routes.clear()
    for operation in OPERATIONS:
        app.add_api_route(
            operation.path,
            _documented(operation),
            methods=[operation.method],
            operation_id=operation.name,
            summary=operation.summary,
            response_model=operation.told,
            response_class=JSONResponse if operation.told is not None else Response,
            responses=_responses(operation),
        )
    document = app.openapi()
    document["components"]["headers"] = _HEADERS
    return document


def _documented(operation: Operation) -> Callable[..., Any]:
    """A function with the signature from which FastAPI writes the operation's part of the document."""

    async def endpoint(**_named: Any) -> None:
        raise NotImplementedError  # never asked: `Operation.answer` answers

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
    told: dict[int | str, dict[str, Any]] = {status: _error(status) for status in sorted(statuses)}
    if operation.told is Readiness:  # what is not ready says what it lacks
        told[503]["model"] = Readiness | Error
    if operation.told is None:
        told[200] = {"content": {operation.media_type: {"schema": {"type": "string"}}}}
    return told


def _error(status: int) -> dict[str, Any]:
    told: dict[str, Any] = {"model": Error, "description": _ERRORS[status]}
    if name := _SENT_WITH.get(status):
        told["headers"] = {name: {"$ref": f"#/components/headers/{name}"}}
    return told
