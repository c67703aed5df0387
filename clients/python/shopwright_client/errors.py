"""What can go wrong, one class per kind. No error holds what was sent, or the key."""

from collections.abc import Mapping, Sequence
from typing import Any


class ShopwrightError(Exception):
    """Anything that this client raises."""


class Unavailable(ShopwrightError):
    """No answer within the deadline: the API could not be reached, was overloaded, or could not keep the request.

    Go on without it. A decision that was asked for may have been taken: ask again with the same payment_id.

    Attributes:
        tries: Requests that were sent.
        last: Why the last one failed, as an error's code or an exception's name.
    """

    def __init__(self, tries: int, last: str) -> None:
        super().__init__(f"no answer within the deadline after {tries} tries; the last one: {last}")
        self.tries, self.last = tries, last


class UnexpectedAnswer(ShopwrightError):
    """The answer lacks a field or is no JSON: this client and the API do not fit, or something stands between them."""


class Refused(ShopwrightError):
    """The API answered with an error; trying again does not help.

    Attributes:
        status: HTTP status.
        code: For programs, such as "invalid".
        fields: (path, problem) of each field that was wrong.
        request_id: What an operator finds the request by.
    """

    def __init__(
        self, status: int, code: str, message: str, fields: Sequence[tuple[str, str]] = (), request_id: str = ""
    ) -> None:
        details = "; ".join(f"{path}: {problem}" for path, problem in fields)
        super().__init__(f"{status} {code}: {message}" + (f" ({details})" if details else ""))
        self.status, self.code, self.fields, self.request_id = status, code, tuple(fields), request_id


class Invalid(Refused):
    """The request is not what the API takes (400, 405, 413, 415, 422, 431); `fields` says where."""


class Unauthorized(Refused):
    """The key is unknown, expired or missing (401)."""


class Forbidden(Refused):
    """The key is known but may not do this (403)."""


class NotFound(Refused):
    """There is no such thing for this key (404)."""


class Conflict(Refused):
    """The same id or Idempotency-Key was used before with other content (409); what was kept first stays."""


class RateLimited(Refused):
    """Too many requests (429), and the API asks to wait for longer than the deadline leaves.

    Attributes:
        retry_after: Seconds that it asks to wait.
    """

    retry_after: float = 0.0


_CLASSES: Mapping[int, type[Refused]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: Invalid,
    408: Invalid,
    409: Conflict,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: RateLimited,
    431: Invalid,
}


def refusal_of(status: int, content: Any) -> Refused:
    """The error that an answer of status 4xx or 5xx is, whatever its body looks like."""
    error = content.get("error") if isinstance(content, dict) else None
    if not isinstance(error, dict):
        error = {}
    listed = error.get("fields")
    fields = [
        (str(one.get("path", "")), str(one.get("problem", "")))
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict)
    ]
    return _CLASSES.get(status, Refused)(
        status,
        str(error.get("code", "error")),
        str(error.get("message", "The request was refused.")),
        fields,
        str(error.get("request_id", "")),
    )
