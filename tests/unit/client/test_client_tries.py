"""The client against a server played by hand: what is tried again, how often, and that the deadline ends it."""

import asyncio
import contextlib
import json
import time

import anyio
import httpx
import pytest
from shopwright_client import (
    AsyncShopwright,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    Refused,
    Shopwright,
    Unauthorized,
    Unavailable,
)

from tests.played_api import ATTEMPT, DECISION, KEY, TAKEN, Played, client, ok, refused


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("no"),
        httpx.RemoteProtocolError("gone"),
        httpx.ReadError("reset"),
        refused(503, "overloaded"),
        refused(429, "rate_limited"),
        refused(409, "in_progress"),
        httpx.Response(503, content=b"<html>from a load balancer</html>"),
        httpx.Response(502, content=b"<html>from a load balancer</html>"),
        httpx.Response(504),
    ],
    ids=["connect", "closed", "reset", "503", "429", "in progress", "html", "bad gateway", "gateway timeout"],
)
def test_what_may_succeed_is_tried_again_with_the_same_idempotency_key(failure):
    played = Played(failure, failure, ok(DECISION))
    assert client(played).decide(ATTEMPT).decision_id == "decision-1"
    keys = {request.headers["idempotency-key"] for request in played.asked}
    assert len(played.asked) == 3 and len(keys) == 1


def test_each_call_has_a_key_of_its_own_and_a_caller_may_give_one():
    played = Played(ok(DECISION))
    shop = client(played)
    shop.decide(ATTEMPT)
    shop.decide(ATTEMPT)
    shop.decide(ATTEMPT, idempotency_key="mine")
    keys = [request.headers["idempotency-key"] for request in played.asked]
    assert len(set(keys)) == 3 and keys[2] == "mine"


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "bad_json", Invalid),
        (401, "unauthorized", Unauthorized),
        (403, "forbidden", Forbidden),
        (404, "not_found", NotFound),
        (409, "conflict", Conflict),
        (413, "too_large", Invalid),
        (422, "invalid", Invalid),
        (500, "internal", Refused),
    ],
)
def test_what_cannot_succeed_is_not_tried_again(status, code, expected):
    played = Played(refused(status, code, fields=[{"path": "amount_cents", "problem": "negative"}]))
    with pytest.raises(expected) as caught:
        client(played).decide(ATTEMPT)
    error = caught.value
    assert len(played.asked) == 1
    assert (error.status, error.code, error.request_id) == (status, code, "r1")
    assert error.fields == (("amount_cents", "negative"),)
    assert "4990" not in str(error) and KEY not in repr(error)


def test_a_wait_that_was_asked_for_is_kept():
    played = Played(refused(429, "rate_limited", {"Retry-After": "1"}), ok(DECISION))
    began = time.monotonic()
    client(played, deadline=5.0).decide(ATTEMPT)
    assert time.monotonic() - began >= 1.0


def test_a_wait_longer_than_the_deadline_is_an_error_at_once():
    played = Played(refused(429, "rate_limited", {"Retry-After": "3600"}))
    with pytest.raises(RateLimited) as caught:
        client(played, deadline=60.0).decide(ATTEMPT)
    assert caught.value.retry_after == 3600.0 and len(played.asked) == 1
    with pytest.raises(Unavailable, match="unavailable"):
        client(Played(refused(503, "unavailable", {"Retry-After": "3600"})), deadline=60.0).decide(ATTEMPT)


def test_tries_end_with_the_deadline():
    played = Played(httpx.ConnectError("no"))
    with pytest.raises(Unavailable, match="ConnectError") as caught:
        client(played, deadline=0.2).decide(ATTEMPT)
    assert caught.value.tries == len(played.asked) > 1


def test_an_answer_that_does_not_come_is_not_waited_for_twice():
    played = Played(httpx.ReadTimeout("slow"))
    with pytest.raises(Unavailable, match="ReadTimeout"):
        client(played).decide(ATTEMPT)
    assert len(played.asked) == 1


def test_an_answer_that_comes_in_drops_is_not_waited_for_to_its_end():
    class Dripping(httpx.SyncByteStream):
        def __iter__(self):
            for _ in range(100):
                time.sleep(0.02)
                yield b"x"

    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Dripping()))
    began = time.monotonic()
    with Shopwright("http://shop.test", KEY, 0.1, transport) as shop, pytest.raises(Unavailable):
        shop.decide(ATTEMPT)
    assert time.monotonic() - began < 1.0


def test_the_asynchronous_client_does_the_same():
    played = Played(httpx.ConnectError("no"), refused(503, "overloaded"), ok(DECISION))

    async def ask() -> str:
        async with AsyncShopwright("http://shop.test", KEY, 2.0, httpx.MockTransport(played)) as shop:
            return (await shop.decide(ATTEMPT)).decision_id

    assert asyncio.run(ask()) == "decision-1"
    assert len({request.headers["idempotency-key"] for request in played.asked}) == 1


def test_the_asynchronous_client_ends_a_call_that_hangs():
    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    async def ask() -> None:
        async with AsyncShopwright("http://shop.test", KEY, 0.1, httpx.MockTransport(hang)) as shop:
            await shop.decide(ATTEMPT)

    with pytest.raises(Unavailable):
        asyncio.run(asyncio.wait_for(ask(), 30))


def test_a_deadline_does_not_keep_a_connection_from_being_handed_back():
    class SlowToClose(httpx.AsyncByteStream):
        """As httpcore's: what closing does is shielded."""

        is_closed = False

        async def __aiter__(self):
            yield json.dumps(TAKEN).encode()

        async def aclose(self):
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.2)
            self.is_closed = True

    stream = SlowToClose()

    async def ask() -> None:
        transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=stream))
        async with AsyncShopwright("http://shop.test", KEY, 0.1, transport) as shop:
            with contextlib.suppress(Unavailable):  # it may be told when it has come
                await shop.send_event({"type": "view"})

    asyncio.run(ask())
    assert stream.is_closed


def test_a_deadline_has_to_be_positive():
    with pytest.raises(ValueError, match="deadline"):
        Shopwright("http://shop.test", KEY, 0.0)


def test_each_phase_of_a_try_gets_what_is_left_of_the_deadline():
    played = Played(ok(DECISION))
    client(played, deadline=2.0).decide(ATTEMPT)
    timeouts = played.asked[0].extensions["timeout"]
    first = timeouts.get("connect")
    time.sleep(0.05)
    assert 0 < timeouts.get("read") <= first - 0.05 < 2.0
