"""Decisions on payments: made, looked at again, replayed."""

import hashlib
from collections.abc import Mapping
from typing import Any

from ml.fraud.events import Attempt, EventRefused, parse_attempt
from ml.serving.bodies import MAX_BATCH_BYTES, validated
from ml.serving.decision_results import DecisionResult, public_view
from ml.serving.errors import Refusal
from ml.serving.events import canonical_json
from ml.serving.keys import Caller
from ml.serving.models.decisions import (
    MOST_DECISIONS,
    Decision,
    DecisionIds,
    DecisionQuery,
    Decisions,
    FoundDecisions,
    PaymentAttempt,
    PaymentAttempts,
    ShownDecision,
)
from ml.serving.operations import Call, Operation
from ml.serving.requests import Answer

WRITE, READ = "decisions:write", "decisions:read"


async def _decide(call: Call) -> Answer:
    (result,) = await _decided(call, [call.body], [""])
    if result.answer is None:
        raise Refusal(409, "conflict", "Another attempt with this payment_id was decided before.")
    return Answer(_shown(call.caller, result.answer), step=str(result.answer["step"]))


async def _decide_several(call: Call) -> Answer:
    attempts = items_of(call.body, "attempts", MOST_DECISIONS)
    call.services.limits.take_key(call.caller.name, len(attempts) - 1)
    results = await _decided(call, attempts, [f"attempts.{place}." for place in range(len(attempts))])
    told = [
        {
            "status": result.status,
            "decision_id": result.decision_id,
            "decision": None if result.answer is None else _shown(call.caller, result.answer),
        }
        for result in results
    ]
    return Answer({"results": told})


async def _show(call: Call) -> Answer:
    found = await call.services.fraud.find(call.path["decision_id"], call.query.replay == "true")
    if found is None:
        raise Refusal(404, "not_found", "There is no decision of this id.")
    return Answer(found)


async def _look_up(call: Call) -> Answer:
    wanted = validated(DecisionIds, call.body).decision_ids
    call.services.limits.take_key(call.caller.name, len(wanted) - 1)
    told = [{"decision_id": one, "decision": await call.services.fraud.find(one, replay=False)} for one in wanted]
    return Answer({"decisions": told})


async def _decided(call: Call, bodies: list[dict[str, Any]], paths: list[str]) -> list[DecisionResult]:
    settings = call.services.settings
    horizon = settings.event_horizon()
    attempts: list[Attempt] = []
    problems: list[dict[str, str]] = []
    for body, path in zip(bodies, paths, strict=True):
        try:
            attempts.append(parse_attempt(body, horizon, settings.currency))
        except EventRefused as error:
            told = str(error).partition(": ")[2]
            problems.append({"path": f"{path}{error.field}".rstrip(".") or "body", "problem": told})
    if problems:
        raise Refusal(422, "invalid", "The attempt to pay is not what is expected here.", problems)
    if len({attempt.event.payment_id for attempt in attempts}) < len(attempts):
        repeated = {"path": "attempts", "problem": "expected each payment_id once"}
        raise Refusal(422, "invalid", "An attempt to pay stands in the body more than once.", [repeated])
    for attempt in attempts:
        call.services.limits.take_customer(attempt.event.values.get("customer_id"))
    digests = [hashlib.sha256(canonical_json(body).encode()).hexdigest() for body in bodies]
    return await call.services.fraud.decide(
        attempts, digests, call.caller.name, call.idempotency_key, call.request_digest, call.request.received
    )


def _shown(caller: Caller, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    return answer if READ in caller.scopes else public_view(answer)


def items_of(body: dict[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    """The objects of a batch; raises Refusal when the body is anything but a list of them under this name."""
    items = body.get(name)
    fields = []
    if set(body) - {name}:
        fields.append({"path": "body", "problem": f"unknown field; known are {name}"})
    if not isinstance(items, list) or not 1 <= len(items) <= most:
        fields.append({"path": name, "problem": f"expected a list of 1 to {most} objects"})
    else:
        fields += [
            {"path": f"{name}.{place}", "problem": "expected an object"}
            for place, item in enumerate(items)
            if not isinstance(item, dict)
        ]
    if fields or not isinstance(items, list):
        raise Refusal(422, "invalid", "The body is not what is expected here.", fields)
    return items


OPERATIONS = (
    Operation(
        "decide",
        "POST",
        "/v1/fraud/decisions",
        WRITE,
        "Decide about an attempt to pay, inside the deadline",
        _decide,
        Decision,
        body=PaymentAttempt,
        takes_idempotency_key=True,
        has_deadline=True,
        errors=(409,),
    ),
    Operation(
        "decide_several",
        "POST",
        "/v1/fraud/decisions/batch",
        WRITE,
        "Decide about several attempts, in their order",
        _decide_several,
        Decisions,
        body=PaymentAttempts,
        takes_idempotency_key=True,
        errors=(409,),
        most_bytes=MAX_BATCH_BYTES,
    ),
    Operation(
        "show_decision",
        "GET",
        "/v1/decisions/{decision_id}",
        READ,
        "A decision as it was answered; with replay, also made again and compared",
        _show,
        ShownDecision,
        query=DecisionQuery,
        errors=(404,),
    ),
    Operation(
        "look_up_decisions",
        "POST",
        "/v1/decisions/lookup",
        READ,
        "Several decisions by their ids",
        _look_up,
        FoundDecisions,
        body=DecisionIds,
    ),
)
