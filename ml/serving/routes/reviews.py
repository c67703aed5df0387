"""The review queue: orders that wait for a person. A verdict becomes a label.

The queue is read from the operational record, a database that may be slow: in threads, beside the event loop.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from fastapi.encoders import jsonable_encoder

from ml.serving.bodies import validated
from ml.serving.case_file import SIMULATED, case_file, verdict_moment
from ml.serving.models.reviews import CaseFile, CaseList, Claim, Nothing, OneCase, ReviewsQuery, Verdict
from ml.serving.operations import Call, Operation
from ml.serving.requests import Answer
from ml.stores import reviews

READ, WRITE = "reviews:read", "reviews:write"
_SHOWN = ("order_id", "partition", "expected_saving_cents", "state", "claimed_by", "claim_expires_at")


async def _list_cases(call: Call) -> Answer:
    claimed_by = call.caller.name if call.query.mine == "true" else None
    found = await asyncio.to_thread(
        lambda: reviews.queue(call.services.operations, limit=call.query.limit, claimed_by=claimed_by)
    )
    return _json({"cases": [_listed(case) for case in found], "data": _data(call)})


async def _show_case(call: Call) -> Answer:
    services = call.services
    return _json(await asyncio.to_thread(case_file, services.settings, services.operations, call.path["order_id"]))


async def _claim_next(call: Call) -> Answer:
    lease = timedelta(minutes=validated(Claim, call.body).lease_minutes)
    return await _case(call, lambda: reviews.claim_next(call.services.operations, call.caller.name, lease))


async def _claim_case(call: Call) -> Answer:
    lease = timedelta(minutes=validated(Claim, call.body).lease_minutes)
    order_id = call.path["order_id"]
    return await _case(call, lambda: reviews.claim(call.services.operations, order_id, call.caller.name, lease))


async def _release_case(call: Call) -> Answer:
    validated(Nothing, call.body)
    order_id = call.path["order_id"]
    return await _case(call, lambda: reviews.release(call.services.operations, order_id, call.caller.name))


async def _decide_case(call: Call) -> Answer:
    given, services = validated(Verdict, call.body), call.services
    signed = {"by": call.caller.name, "verdict": given.verdict, "note": given.note}

    def decide() -> dict[str, Any]:
        moment = verdict_moment(services.settings)
        return reviews.decide(services.operations, call.path["order_id"], decided_at=moment, **signed)

    case = await asyncio.to_thread(decide)
    verdict = {name: case[name] for name in ("verdict", "decided_by", "decided_at")}
    return _json({"case": {**_listed(case), **verdict}, "data": _data(call)})


async def _case(call: Call, change: Callable[[], dict[str, Any] | None]) -> Answer:
    case = await asyncio.to_thread(change)
    return _json({"case": _listed(case) if case else None, "data": _data(call)})


def _listed(case: Mapping[str, Any]) -> dict[str, Any]:
    return {name: case[name] for name in _SHOWN}


def _data(call: Call) -> str | None:
    return SIMULATED if call.services.settings.simulates_payments else None


def _json(content: dict[str, Any]) -> Answer:
    return Answer(jsonable_encoder(content))


OPERATIONS = (
    Operation(
        "list_cases",
        "GET",
        "/v1/reviews",
        READ,
        "Cases that can be taken, or one's own, the largest expected saving first",
        _list_cases,
        CaseList,
        query=ReviewsQuery,
    ),
    Operation(
        "show_case",
        "GET",
        "/v1/reviews/{order_id}",
        READ,
        "Everything known about a case",
        _show_case,
        CaseFile,
        errors=(404,),
    ),
    Operation(
        "claim_next_case",
        "POST",
        "/v1/claims",
        WRITE,
        "Take the next case",
        _claim_next,
        OneCase,
        body=Claim,
        needs_body=False,
    ),
    Operation(
        "claim_case",
        "POST",
        "/v1/reviews/{order_id}/claim",
        WRITE,
        "Take this case, or keep it longer",
        _claim_case,
        OneCase,
        body=Claim,
        needs_body=False,
        errors=(404, 409),
    ),
    Operation(
        "release_case",
        "POST",
        "/v1/reviews/{order_id}/release",
        WRITE,
        "Give the case back",
        _release_case,
        OneCase,
        body=Nothing,
        needs_body=False,
        errors=(404, 409),
    ),
    Operation(
        "decide_case",
        "POST",
        "/v1/reviews/{order_id}/decision",
        WRITE,
        "Give a verdict; it becomes a label",
        _decide_case,
        OneCase,
        body=Verdict,
        errors=(404, 409),
    ),
)
