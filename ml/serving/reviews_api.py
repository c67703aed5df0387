"""The review queue over HTTP, on loopback, for those who have a key.

GET  /health                          whether it answers
GET  /v1/reviews                      cases that can be taken, or one's own, the largest expected saving first
GET  /v1/reviews/{order_id}           everything known about a case
POST /v1/claims                       take the next case
POST /v1/reviews/{order_id}/claim     take this case, or keep it longer
POST /v1/reviews/{order_id}/release   give it back
POST /v1/reviews/{order_id}/decision  give a verdict; it becomes a label
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, Field

from ml.serving.bodies import StrictBody, read_body
from ml.serving.case_file import SIMULATED, case_file, verdict_moment
from ml.serving.errors import Refusal, answer_errors, new_request_id, refused
from ml.serving.keys import Caller, FailedAttempts, KeyRing
from ml.settings import PREFIX, Settings, SettingsError
from ml.stores import reviews
from ml.stores.operations import Operations

READ, WRITE = "reviews:read", "reviews:write"
MAX_LISTED = 200
_MAX_LEASE_MINUTES = 240

_MAX_HEADER_BYTES = 8192
_LARGE_HEADERS = Refusal(431, "headers_too_large", f"The headers may have {_MAX_HEADER_BYTES} bytes.")

_SHOWN = ("order_id", "partition", "expected_saving_cents", "state", "claimed_by", "claim_expires_at")
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def _without_controls(text: str) -> str:
    if any(ord(sign) < 32 and sign not in "\n\t" for sign in text) or "\x7f" in text:
        raise ValueError("control characters")
    return text


class Claim(StrictBody):
    """For how long a case is taken."""

    lease_minutes: int = Field(int(reviews.LEASE.total_seconds() // 60), ge=1, le=_MAX_LEASE_MINUTES)


class Nothing(StrictBody):
    """A body that has nothing to say."""


class Decision(StrictBody):
    """A verdict and what led to it."""

    verdict: Literal["fraud", "legitimate"]
    note: Annotated[str, Field(max_length=reviews.NOTE_CHARACTERS), AfterValidator(_without_controls)] = ""


OrderId = Annotated[str, Path(pattern=r"^[^\x00-\x1f\x7f]{1,120}$")]


def create_app(settings: Settings) -> FastAPI:
    """The API of one shop.

    Raises:
        SettingsError: Nobody has a key.
    """
    if not settings.api_keys:
        raise SettingsError(f"{PREFIX}API_KEYS: expected at least one key; `shopwright reviews key NAME` makes one")
    operations, keys, failed = Operations.from_settings(settings), KeyRing(settings.api_keys), FailedAttempts()
    data = SIMULATED if settings.simulates_payments else None
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    answer_errors(app)

    @app.middleware("http")
    async def _headers(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        request.state.request_id = new_request_id()
        too_large = sum(len(name) + len(value) for name, value in request.headers.raw) > _MAX_HEADER_BYTES
        response = refused(request, _LARGE_HEADERS) if too_large else await answer(request)
        response.headers.update({**_HEADERS, "X-Request-Id": request.state.request_id})
        return response

    def may(scope: str) -> Callable[[Request], Caller]:
        def check(request: Request) -> Caller:
            kind, _, key = request.headers.get("authorization", "").partition(" ")
            caller = keys.caller_of(key.strip()) if kind.lower() == "bearer" else None
            if caller is None:
                raise _unauthorized(failed.note(request.client.host if request.client else ""))
            if scope not in caller.scopes:
                raise Refusal(403, "forbidden", f"The key may not do this: it takes {scope}.")
            return caller

        return check

    reader, writer = Depends(may(READ)), Depends(may(WRITE))

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/reviews")
    def list_cases(
        request: Request,
        caller: Annotated[Caller, reader],
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 50,
        mine: Literal["true", "false"] = "false",
    ) -> JSONResponse:
        _only_known(request, {"limit", "mine"})
        claimed_by = caller.name if mine == "true" else None
        found = reviews.queue(operations, limit=limit, claimed_by=claimed_by)
        return _json({"cases": [_listed(case) for case in found], "data": data})

    @app.get("/v1/reviews/{order_id}")
    def show_case(request: Request, _caller: Annotated[Caller, reader], order_id: OrderId) -> JSONResponse:
        _only_known(request, set())
        return _json(case_file(settings, operations, order_id))

    @app.post("/v1/claims")
    def claim_next(caller: Annotated[Caller, writer], body: Annotated[Claim, Depends(_body(Claim))]) -> JSONResponse:
        case = reviews.claim_next(operations, caller.name, timedelta(minutes=body.lease_minutes))
        return _json({"case": _listed(case) if case else None, "data": data})

    @app.post("/v1/reviews/{order_id}/claim")
    def claim_case(
        caller: Annotated[Caller, writer], body: Annotated[Claim, Depends(_body(Claim))], order_id: OrderId
    ) -> JSONResponse:
        lease = timedelta(minutes=body.lease_minutes)
        return _json({"case": _listed(reviews.claim(operations, order_id, caller.name, lease)), "data": data})

    @app.post("/v1/reviews/{order_id}/release")
    def release_case(
        caller: Annotated[Caller, writer], _nothing: Annotated[Nothing, Depends(_body(Nothing))], order_id: OrderId
    ) -> JSONResponse:
        return _json({"case": _listed(reviews.release(operations, order_id, caller.name)), "data": data})

    @app.post("/v1/reviews/{order_id}/decision")
    def decide_case(
        caller: Annotated[Caller, writer], body: Annotated[Decision, Depends(_body(Decision))], order_id: OrderId
    ) -> JSONResponse:
        signed = {"by": caller.name, "verdict": body.verdict, "note": body.note}
        case = reviews.decide(operations, order_id, decided_at=verdict_moment(settings), **signed)
        verdict = {name: case[name] for name in ("verdict", "decided_by", "decided_at")}
        return _json({"case": {**_listed(case), **verdict}, "data": data})

    return app


def _body(model: type[StrictBody]) -> Callable[[Request], Awaitable[StrictBody]]:
    async def read(request: Request) -> StrictBody:
        _only_known(request, set())
        return await read_body(request, model)

    return read


def _only_known(request: Request, known: set[str]) -> None:
    if set(request.query_params) - known:
        allowed = ", ".join(sorted(known)) or "none"
        raise Refusal(422, "invalid", f"The address has parameters that are not known here; known: {allowed}.")


def _unauthorized(wait: float | None) -> Refusal:
    if wait is not None:
        headers = {"Retry-After": str(int(wait) + 1)}
        return Refusal(429, "too_many_attempts", "Too many attempts without a key that is known.", headers=headers)
    headers = {"WWW-Authenticate": "Bearer"}
    return Refusal(401, "unauthorized", "Send a key: Authorization: Bearer <key>.", headers=headers)


def _listed(case: dict[str, Any]) -> dict[str, Any]:
    return {name: case[name] for name in _SHOWN}


def _json(content: dict[str, Any]) -> JSONResponse:
    return JSONResponse(jsonable_encoder(content))
