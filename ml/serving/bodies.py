"""A JSON body, read strictly: what two readers could understand differently is refused."""

import asyncio
import json
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from ml.serving.errors import Refusal, problems

MAX_BYTES = 16 * 1024
_READ_SECONDS = 10.0
_MAX_DEPTH = 8


class StrictBody(BaseModel):
    """No unknown field, no text for a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


Body = TypeVar("Body", bound=StrictBody)


async def read_body(request: Request, model: type[Body]) -> Body:
    """The body as a model; no body at all is an empty object.

    Raises:
        Refusal: It is too large, too slow, no JSON, or not what the model wants.
    """
    content = await _bytes(request)
    if not content:
        return _validated(model, {})
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media != "application/json" or request.headers.get("content-encoding"):
        raise Refusal(415, "unsupported_media_type", "The body has to be application/json, not compressed.")
    return _validated(model, _parsed(content))


async def _bytes(request: Request) -> bytes:
    declared = request.headers.get("content-length", "0")
    too_large = Refusal(413, "too_large", f"The body may have {MAX_BYTES} bytes.")
    if not declared.isdigit() or int(declared[:12]) > MAX_BYTES:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise too_large
    except TimeoutError:
        raise Refusal(408, "too_slow", "The body did not arrive in time.") from None
    return bytes(content)


def _parsed(content: bytes) -> Any:
    try:
        parsed = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse_constant)
    except Refusal:
        raise
    except (ValueError, RecursionError):
        raise Refusal(400, "bad_json", "The body is no JSON.") from None
    if _depth(parsed) > _MAX_DEPTH:
        raise Refusal(400, "bad_json", "The body is nested too deeply.")
    if not isinstance(parsed, dict):
        raise Refusal(422, "invalid", "The body has to be a JSON object.")
    return parsed


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refusal(400, "duplicate_key", "A field stands in the body more than once.")
    return found


def _refuse_constant(_name: str) -> Any:
    raise Refusal(400, "bad_json", "The body holds a number that JSON does not have.")


def _depth(value: Any, level: int = 1) -> int:
    if level > _MAX_DEPTH or not isinstance(value, dict | list):
        return level
    inner = value.values() if isinstance(value, dict) else value
    return max((_depth(one, level + 1) for one in inner), default=level)


def _validated(model: type[Body], content: Any) -> Body:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        known = [one for one in found if one["type"] != "extra_forbidden"]
        fields = problems(known)
        if len(known) < len(found):  # its name was sent by the caller: say what is allowed instead
            fields.append(
                {"path": "body", "problem": f"unknown field; known are {', '.join(model.model_fields) or 'none'}"}
            )
        raise Refusal(422, "invalid", "The body is not what is expected here.", fields) from None
