"""What happens in the shop: durable before it is acknowledged, each once."""

from ml.serving.bodies import MAX_BATCH_BYTES
from ml.serving.errors import Refusal
from ml.serving.event_service import TakenEvents
from ml.serving.models.events import MOST_EVENTS, Event, Events, Taken
from ml.serving.operations import Call, Operation
from ml.serving.requests import Answer
from ml.serving.routes.decisions import items_of

WRITE = "events:write"


async def _take(call: Call) -> Answer:
    taken = await _taken(call, [call.body])
    if taken.refused:
        fields = [{"path": path or "body", "problem": problem} for _, path, problem in taken.refused]
        raise Refusal(422, "invalid", "The event is not what is expected here.", fields)
    if taken.conflicts:
        raise Refusal(409, "conflict", "Another event with this id is kept already.")
    return _told(taken)


async def _take_several(call: Call) -> Answer:
    events = items_of(call.body, "events", MOST_EVENTS)
    taken = await _taken(call, events)
    if taken.refused:
        fields = [
            {"path": f"events.{place}.{path}".rstrip("."), "problem": problem} for place, path, problem in taken.refused
        ]
        raise Refusal(422, "invalid", "No event was taken: some are not what is expected here.", fields)
    return _told(taken)


async def _taken(call: Call, events: list[dict[str, object]]) -> TakenEvents:
    return await call.services.events.take(events, call.caller.name, call.idempotency_key, call.request_digest)


def _told(taken: TakenEvents) -> Answer:
    return Answer({"taken": taken.taken, "known": taken.known, "conflicts": list(taken.conflicts)})


OPERATIONS = (
    Operation(
        "take_event",
        "POST",
        "/v1/events",
        WRITE,
        "Keep one event",
        _take,
        Taken,
        body=Event,
        takes_idempotency_key=True,
        errors=(409,),
    ),
    Operation(
        "take_events",
        "POST",
        "/v1/events/batch",
        WRITE,
        "Keep several events, all or none when one breaks a rule; conflicts are told by their place",
        _take_several,
        Taken,
        body=Events,
        takes_idempotency_key=True,
        errors=(409,),
        most_bytes=MAX_BATCH_BYTES,
    ),
)
