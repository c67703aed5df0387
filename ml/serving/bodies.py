"""A JSON body, read strictly: what two readers could understand differently is refused."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, ValidationError

from ml.serving.errors import Refusal, problems
from ml.serving.requests import Request

MAX_BYTES, MAX_BATCH_BYTES = 64 * 1024, 256 * 1024
_READ_SECONDS = 10.0
_MAX_DEPTH = 8
_DIGITS = re.compile(r"[0-9]{1,19}")
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class StrictBody(BaseModel):
    """No unknown field, no text for a number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


Body = TypeVar("Body", bound=StrictBody)


async def read_json(request: Request, most_bytes: int = MAX_BYTES) -> dict[str, Any] | None:
    """The body as a JSON object; None when there is no body.

    Raises:
        Refusal: It is too large, too slow, or no JSON that everybody reads alike.
    """
    content = await _bytes(request, most_bytes)
    if not content:
        return None
    media = (request.header(b"content-type") or "").split(";")[0].strip().lower()
    if media != "application/json" or request.header(b"content-encoding"):
        raise Refusal(415, "unsupported_media_type", "The body has to be application/json, not compressed.")
    return _parsed(content)


def validated(model: type[Body], content: Mapping[str, Any]) -> Body:
    """The content as a model; raises Refusal (422) that names the fields and no values."""
    return _validated(model, content)


def read_query(request: Request, model: type[Body]) -> Body:
    """The parameters of the address as a model: a list's may be repeated, every other stands there once.

    Raises:
        Refusal: One is unknown, repeated or not what the model wants.
    """
    raw: bytes = request.scope.get("query_string", b"")
    if not raw:
        return _validated(model, {})
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=200
        )
    except ValueError:
        raise Refusal(422, "invalid", "The parameters of the address cannot be read.") from None
    fields = model.model_fields
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in fields:
            allowed = ", ".join(fields) or "none"
            raise Refusal(422, "invalid", f"The address has parameters that are not known here; known: {allowed}.")
        kind = fields[name].annotation
        if get_origin(kind) is list:
            found.setdefault(name, []).append(value)
        elif name in found:
            raise Refusal(422, "invalid", "A parameter stands in the address more than once.", [_once_only(name)])
        else:
            found[name] = int(value) if kind is int and _WHOLE.fullmatch(value) else value
    return _validated(model, found)


def _once_only(name: str) -> dict[str, str]:
    return {"path": name, "problem": "expected once"}


async def _bytes(request: Request, most_bytes: int) -> bytes:
    declared = request.header(b"content-length") or "0"
    if not _DIGITS.fullmatch(declared) or int(declared) > most_bytes:
        raise _too_large(most_bytes)
    content, is_whole = b"", False
    try:
        async with asyncio.timeout(_READ_SECONDS):
            while not is_whole:
                message = await request.receive()
                if message["type"] == "http.disconnect":  # nobody reads the answer; it is noted as the caller's doing
                    raise Refusal(400, "cut_short", "The body ended before its end.")
                content += message.get("body", b"")
                if len(content) > most_bytes:
                    raise _too_large(most_bytes)
                is_whole = not message.get("more_body", False)
    except TimeoutError:
        raise Refusal(408, "too_slow", "The body did not arrive in time.") from None
    return content


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(413, "too_large", f"The body may have {most_bytes} bytes.")


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        parsed = _DECODER.decode(content.decode("utf-8"))
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


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse_constant)


def _depth(value: Any) -> int:
    """Levels of nesting, counted up to one more than are allowed."""
    level, inner = 0, [value]
    while inner and level <= _MAX_DEPTH:
        level += 1
        inner = [
            one
            for outer in inner
            if isinstance(outer, (dict, list))
            for one in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(one, (dict, list))
        ]
    return level


def _validated(model: type[Body], content: Any) -> Body:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        known = [one for one in found if one["type"] != "extra_forbidden"]
        fields = problems(known)
        if len(known) < len(found):  # its name was sent by the caller: say what is allowed instead
            fields.append(
                {"path": "body", "problem": f"unknown field; known are {', '.join(model.model_fields) or 'none'}"}
            )
        raise Refusal(422, "invalid", "The body is not what is expected here.", fields) from None
