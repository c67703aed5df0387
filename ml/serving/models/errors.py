"""How a refusal is told."""

from ml.serving.models.fields import Told


class Problem(Told):
    """One field that is wrong; never what was sent."""

    path: str
    problem: str


class ErrorDetails(Told):
    """A code for programs, a message for people."""

    code: str
    message: str
    fields: list[Problem]
    request_id: str


class Error(Told):
    """Every error has this shape."""

    error: ErrorDetails
