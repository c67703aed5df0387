"""Each operation of the API as a value: what is sent, and how the answer is read. Both clients send these."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from shopwright_client.answers import (
    Decision,
    DecisionResult,
    EventTaken,
    Recommendation,
    ShownDecision,
    decision_of,
    each_of,
    found_of,
    recommendation_of,
    result_of,
    shown_decision_of,
    taken_of,
)
from shopwright_client.events import Attempt, Event, Wish, as_object

T = TypeVar("T")
Told = Mapping[str, Any]

DECIDE = "/v1/fraud/decisions"
DECIDE_MANY = "/v1/fraud/decisions/batch"
DECISION = "/v1/decisions/{decision_id}"
LOOK_UP = "/v1/decisions/lookup"
RECOMMEND = "/v1/recommendations/{customer_id}"
RECOMMEND_MANY = "/v1/recommendations/batch"
SEND = "/v1/events"
SEND_MANY = "/v1/events/batch"


@dataclass(frozen=True)
class Call(Generic[T]):
    """One operation.

    Attributes:
        body: Sent as JSON; None for none.
        key: Idempotency-Key of all its tries; empty for reads.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    body: Told | None = field(default=None, repr=False)
    query: Told = field(default_factory=dict, repr=False)
    key: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"Idempotency-Key": self.key} if self.key else {}


def decide(attempt: Attempt | Told, key: str | None) -> Call[Decision]:
    return Call("POST", DECIDE, decision_of, as_object(attempt), key=_key(key))


def decide_many(attempts: Sequence[Attempt | Told], key: str | None) -> Call[list[DecisionResult]]:
    body = {"attempts": [as_object(one) for one in attempts]}
    return Call("POST", DECIDE_MANY, each_of("results", result_of), body, key=_key(key))


def decision(decision_id: str, replay: bool) -> Call[ShownDecision]:
    path = DECISION.format(decision_id=quote(decision_id, safe=""))
    return Call("GET", path, shown_decision_of, query={"replay": "true"} if replay else {})


def decisions(decision_ids: Sequence[str]) -> Call[list[ShownDecision | None]]:
    return Call("POST", LOOK_UP, each_of("decisions", found_of), {"decision_ids": list(decision_ids)})


def recommend(wish: Wish) -> Call[Recommendation]:
    told = wish.as_json()
    path = RECOMMEND.format(customer_id=quote(told.pop("customer_id"), safe=""))
    return Call("GET", path, recommendation_of, query={name: value for name, value in told.items() if value != []})


def recommend_many(wishes: Sequence[Wish | Told]) -> Call[list[Recommendation]]:
    body = {"requests": [as_object(one) for one in wishes]}
    return Call("POST", RECOMMEND_MANY, each_of("recommendations", recommendation_of), body)


def send_event(event: Event | Told, key: str | None) -> Call[EventTaken]:
    return Call("POST", SEND, taken_of, as_object(event), key=_key(key))


def send_events(events: Sequence[Event | Told], key: str | None) -> Call[EventTaken]:
    body = {"events": [as_object(one) for one in events]}
    return Call("POST", SEND_MANY, taken_of, body, key=_key(key))


def _key(key: str | None) -> str:
    return uuid.uuid4().hex if key is None else key
