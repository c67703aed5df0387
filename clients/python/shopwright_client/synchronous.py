"""The synchronous client."""

import time
from collections.abc import Sequence
from typing import Self, TypeVar

import httpx

from shopwright_client import calls
from shopwright_client.answers import Decision, DecisionResult, EventTaken, Recommendation, ShownDecision
from shopwright_client.calls import Call, Told
from shopwright_client.events import Attempt, Event, Wish
from shopwright_client.retries import Remaining, Tries, content_of

T = TypeVar("T")


class Shopwright:
    """Shopwright's API, synchronous: a call blocks until its answer is there.

    Use it in a `with` block, or call `close`. Threads may share it.

    Args:
        base_url: Of the API, such as "http://127.0.0.1:8400".
        key: An API key, or a token (JWT).
        deadline: Seconds within which every call ends, retries included.
        transport: Instead of the network, for tests.

    Every method raises `Unavailable` when there is no answer within the deadline, and a `Refused` for what the API
    will not do. `idempotency_key` is for a call that you may have to make again later, in another process: the same
    key and content give the same answer for 24 hours; without it, each call has a key of its own.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        deadline: float = 1.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if deadline <= 0:
            raise ValueError("deadline: expected seconds, more than 0")
        headers = {"Authorization": f"Bearer {key}", "User-Agent": "shopwright-client/0.1"}
        # Proxies of the environment are not asked: a key is for this address alone.
        self._client = httpx.Client(base_url=base_url, headers=headers, transport=transport, trust_env=False)
        self._deadline = deadline

    def decide(self, attempt: Attempt | Told, *, idempotency_key: str | None = None) -> Decision:
        """What to do about an attempt to pay. The same payment_id and content give the same decision."""
        return self._send(calls.decide(attempt, idempotency_key))

    def decide_many(
        self, attempts: Sequence[Attempt | Told], *, idempotency_key: str | None = None
    ) -> list[DecisionResult]:
        """Decide up to 100 attempts, in their order."""
        return self._send(calls.decide_many(attempts, idempotency_key))

    def decision(self, decision_id: str, *, replay: bool = False) -> ShownDecision:
        """A decision that was taken, with its score and its costs.

        Args:
            replay: Compute it again from what was kept, and tell whether it comes out the same.
        """
        return self._send(calls.decision(decision_id, replay))

    def decisions(self, decision_ids: Sequence[str]) -> list[ShownDecision | None]:
        """Up to 100 decisions, in the order of their ids; None where there is none of that id."""
        return self._send(calls.decisions(decision_ids))

    def recommend(
        self,
        customer_id: str,
        *,
        k: int = 10,
        placement: str | None = None,
        exclude: Sequence[str] = (),
        category: str | None = None,
        store_id: str | None = None,
    ) -> Recommendation:
        """Products for a customer, the best first."""
        wish = Wish(
            customer_id=customer_id,
            k=k,
            placement=placement,
            exclude=tuple(exclude),
            category=category,
            store_id=store_id,
        )
        return self._send(calls.recommend(wish))

    def recommend_many(self, wishes: Sequence[Wish | Told]) -> list[Recommendation]:
        """Products for up to 50 customers, in their order."""
        return self._send(calls.recommend_many(wishes))

    def send_event(self, event: Event | Told, *, idempotency_key: str | None = None) -> EventTaken:
        """Have an event kept; when this returns, it is on disk."""
        return self._send(calls.send_event(event, idempotency_key))

    def send_events(self, events: Sequence[Event | Told], *, idempotency_key: str | None = None) -> EventTaken:
        """Have up to 500 events kept: all of them, or none when one is not what an event is."""
        return self._send(calls.send_events(events, idempotency_key))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        tries = Tries(self._deadline)
        while True:
            left = tries.begin()
            try:
                response, body = self._received(call, left)
            except httpx.HTTPError as error:
                again = tries.after_failure(error)
            else:
                content = content_of(response, body)
                if response.is_success:
                    return call.read(content)
                again = tries.after_refusal(response.status_code, response.headers, content)
            time.sleep(again.seconds)

    def _received(self, call: Call[T], left: Remaining) -> tuple[httpx.Response, bytes]:
        """The answer and its body, of which not only each piece but the whole is there in time."""
        with self._client.stream(
            call.method,
            call.path,
            params=call.query,
            json=call.body,
            headers=call.headers,
            extensions={"timeout": left},
        ) as response:
            body = bytearray()
            for piece in response.iter_bytes():
                left.hold()
                body += piece
        return response, bytes(body)
