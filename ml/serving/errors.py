"""Errors of the API: one shape, a code for programs, a message for people, and never a value that was sent.

{"error": {"code": ..., "message": ..., "fields": [{"path": ..., "problem": ...}], "request_id": ...}}
"""

import logging
import uuid
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from ml.outcomes import DataFailed, ToolFailed
from ml.stores.reviews import CaseTaken, UnknownCase

_LOG = logging.getLogger(__name__)

Field = Mapping[str, str]

_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}
_MESSAGES = {
    400: "The request cannot be read.",
    404: "There is nothing at this address.",
    405: "This address does not take this method.",
}


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        fields: Sequence[Field] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message
        self.fields, self.headers = list(fields), dict(headers or {})


def new_request_id() -> str:
    return uuid.uuid4().hex


def answer_errors(app: FastAPI) -> None:
    """Give every error of an app this shape."""

    @app.exception_handler(Refusal)
    async def _refusal(request: Request, error: Refusal) -> JSONResponse:
        return refused(request, error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _answer(request, 422, "invalid", "The request is not what is expected here.", problems(error.errors()))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        status = error.status_code
        message = _MESSAGES.get(status, "The request was refused.")
        return _answer(request, status, _CODES.get(status, "refused"), message, headers=error.headers)

    @app.exception_handler(UnknownCase)
    async def _unknown(request: Request, _error: UnknownCase) -> JSONResponse:
        return _answer(request, 404, "not_found", "There is no case to review for this order.")

    @app.exception_handler(CaseTaken)
    async def _taken(request: Request, error: CaseTaken) -> JSONResponse:
        return _answer(request, 409, "case_taken", f"{error}.")

    # What callers send is judged before it gets here: data that fails now is the shop's own, and no caller can mend it.
    @app.exception_handler(DataFailed)
    @app.exception_handler(ToolFailed)
    @app.exception_handler(OperationalError)
    async def _unavailable(request: Request, error: Exception) -> JSONResponse:
        _LOG.error("request %s failed: %s", request_id_of(request), type(error).__name__)
        return _answer(request, 503, "unavailable", "A store does not answer; try again.", headers={"Retry-After": "5"})

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        # The type tells what to look for; the text may hold what was sent.
        _LOG.error("request %s failed: %s", request_id_of(request), type(error).__name__)
        return _answer(request, 500, "internal", "Something went wrong here; tell the operator the request_id.")


def refused(request: Request, error: Refusal) -> JSONResponse:
    """The answer that a refusal is."""
    return _answer(request, error.status, error.code, error.message, error.fields, error.headers)


def problems(errors: Sequence[Mapping[str, object]]) -> list[Field]:
    """What pydantic found, without what it was found in."""
    return [{"path": _path(error["loc"]), "problem": str(error["type"])} for error in errors]


def _path(loc: object) -> str:
    """Where it was found. An unknown field's name was sent by the caller, so it is not told."""
    parts = [str(part) for part in loc] if isinstance(loc, list | tuple) else []
    return ".".join(part for part in parts if part not in ("body", "query", "path")) or "body"


def request_id_of(request: Request) -> str:
    return str(getattr(request.state, "request_id", "") or new_request_id())


def _answer(
    request: Request,
    status: int,
    code: str,
    message: str,
    fields: Sequence[Field] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    error = {"code": code, "message": message, "fields": list(fields), "request_id": request_id_of(request)}
    return JSONResponse({"error": error}, status, headers=dict(headers or {}))
