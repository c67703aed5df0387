"""The asynchronous client."""

import asyncio
from collections.abc import Sequence
from typing import Self, TypeVar

import anyio
import httpx

from shopwright_client import calls
from shopwright_client.answers import Decision, DecisionResult, EventTaken, Recommendation, ShownDecision
from shopwright_client.calls import Call, Told
from shopwright_client.events import Attempt, Event, Wish
from shopwright_client.retries import Tries, content_of

T = TypeVar("T")


class AsyncShopwright:
    """Shopwright's API, asynchronous: `Shopwright` with every method to be awaited.

    Use it in an `async with` block, or await `close`.

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if deadline <= 0:
            raise ValueError("deadline: expected seconds, more than 0")
        headers = {"Authorization": f"Bearer {key}", "User-Agent": "shopwright-client/0.1"}
        # Proxies of the environment are not asked: a key is for this address alone.
        self._client = httpx.AsyncClient(base_url=base_url, headers=headers, transport=transport, trust_env=False)
        self._deadline = deadline

    async def decide(self, attempt: Attempt | Told, *, idempotency_key: str | None = None) -> Decision:
        """What to do about an attempt to pay. The same payment_id and content give the same decision."""
        return await self._send(calls.decide(attempt, idempotency_key))

    async def decide_many(
        self, attempts: Sequence[Attempt | Told], *, idempotency_key: str | None = None
    ) -> list[DecisionResult]:
        """Decide up to 100 attempts, in their order."""
        return await self._send(calls.decide_many(attempts, idempotency_key))

    async def decision(self, decision_id: str, *, replay: bool = False) -> ShownDecision:
        """A decision that was taken, with its score and its costs.

        Args:
            replay: Compute it again from what was kept, and tell whether it comes out the same.
        """
        return await self._send(calls.decision(decision_id, replay))

    async def decisions(self, decision_ids: Sequence[str]) -> list[ShownDecision | None]:
        """Up to 100 decisions, in the order of their ids; None where there is none of that id."""
        return await self._send(calls.decisions(decision_ids))

    async def recommend(
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
        return await self._send(calls.recommend(wish))

    async def recommend_many(self, wishes: Sequence[Wish | Told]) -> list[Recommendation]:
        """Products for up to 50 customers, in their order."""
        return await self._send(calls.recommend_many(wishes))

    async def send_event(self, event: Event | Told, *, idempotency_key: str | None = None) -> EventTaken:
        """Have an event kept; when this returns, it is on disk."""
        return await self._send(calls.send_event(event, idempotency_key))

    async def send_events(self, events: Sequence[Event | Told], *, idempotency_key: str | None = None) -> EventTaken:
        """Have up to 500 events kept: all of them, or none when one is not what an event is."""
        return await self._send(calls.send_events(events, idempotency_key))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def _send(self, call: Call[T]) -> T:
        tries = Tries(self._deadline)
        while True:
            try:
                left = tries.begin()
                # Unlike asyncio's, this timeout lets httpcore finish handing a connection back once it has begun to;
                # else the pool loses one now and then, and when all are lost every call fails.
                with anyio.fail_after(left.seconds()):
                    response = await self._client.request(
                        call.method,
                        call.path,
                        params=call.query,
                        json=call.body,
                        headers=call.headers,
                        extensions={"timeout": left},
                    )
            except httpx.HTTPError as error:
                again = tries.after_failure(error)
            except TimeoutError as error:
                again = tries.after_failure(error)
            else:
                content = content_of(response, response.content)
                if response.is_success:
                    return call.read(content)
                again = tries.after_refusal(response.status_code, response.headers, content)
            await asyncio.sleep(again.seconds)
