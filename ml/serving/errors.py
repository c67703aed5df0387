"""Errors of the API: one shape, a code for programs, a message for people, and never a value that was sent.

{"error": {"code": ..., "message": ..., "fields": [{"path": ..., "problem": ...}], "request_id": ...}}
"""

import logging
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import OperationalError

from ml.outcomes import DataFailed, ToolFailed
from ml.serving.requests import Answer
from ml.stores.reviews import CaseTaken, UnknownCase

_LOG = logging.getLogger(__name__)

Field = Mapping[str, str]

MAX_HEADER_BYTES = 8192

_LIMITS = ("ge", "gt", "le", "lt", "min_length", "max_length", "expected", "pattern")


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


class NotInTime(Exception):
    """The log could not take an answer before its deadline; nothing was answered, and asking again is safe."""


def overloaded() -> Refusal:
    """Too much is asked of this process. A new one each time: an exception keeps what it was raised through."""
    return Refusal(503, "overloaded", "There is too much to do; try again.", headers={"Retry-After": "1"})


def headers_too_large() -> Refusal:
    """The connection ends with it: what follows the headers is not read."""
    message = f"The address and headers may have {MAX_HEADER_BYTES} bytes."
    return Refusal(431, "headers_too_large", message, headers={"Connection": "close"})


def answer_to(error: Exception, request_id: str) -> Answer:
    """The answer that an exception is."""
    if not isinstance(error, Refusal):
        error = _refusal(error, request_id)
    told = {"code": error.code, "message": error.message, "fields": error.fields, "request_id": request_id}
    return Answer({"error": told}, error.status, headers=error.headers)


def _refusal(error: Exception, request_id: str) -> Refusal:
    if isinstance(error, UnknownCase):
        return Refusal(404, "not_found", "There is no case to review for this order.")
    if isinstance(error, CaseTaken):
        return Refusal(409, "case_taken", f"{error}.")
    if isinstance(error, NotInTime):
        return Refusal(
            503, "unavailable", "Nothing could be recorded in time; try again.", headers={"Retry-After": "1"}
        )
    # The type tells what to look for; the text may hold what was sent.
    _LOG.error("request %s failed: %s at %s", request_id, type(error).__name__, _place(error))
    # What callers send is judged before it gets here: data that fails now is the shop's own, and no caller can mend it.
    if isinstance(error, DataFailed | ToolFailed | OperationalError):
        return Refusal(503, "unavailable", "A store does not answer; try again.", headers={"Retry-After": "5"})
    return Refusal(500, "internal", "Something went wrong here; tell the operator the request_id.")


def _place(error: BaseException) -> str:
    """Module and line where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace is not None else "?"


def problems(errors: Sequence[Mapping[str, object]]) -> list[Field]:
    """What pydantic found and what is allowed, without what it was found in."""
    return [{"path": _path(error["loc"]), "problem": _problem(error)} for error in errors]


def _problem(error: Mapping[str, object]) -> str:
    """The rule's name and its limit. Not pydantic's sentence: some of those repeat what was sent."""
    context = error.get("ctx")
    limits = [f"{name} {context[name]}" for name in _LIMITS if name in context] if isinstance(context, Mapping) else []
    return f"{error['type']} ({', '.join(limits)})" if limits else str(error["type"])


def _path(loc: object) -> str:
    """Where it was found. An unknown field's name was sent by the caller, so it is not told."""
    parts = [str(part) for part in loc] if isinstance(loc, list | tuple) else []
    return ".".join(part for part in parts if part not in ("body", "query", "path")) or "body"
