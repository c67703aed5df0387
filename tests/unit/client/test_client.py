"""The client against a server played by hand: what is sent, what is read, what is tried again."""

import asyncio
import contextlib
import inspect
import json
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import anyio
import httpx
import pytest
import shopwright_client
from shopwright_client import (
    AsyncShopwright,
    Attempt,
    Conflict,
    Consent,
    DecisionResult,
    Forbidden,
    Interaction,
    Invalid,
    NotFound,
    Order,
    OrderLine,
    Payment,
    RateLimited,
    Refused,
    Shopwright,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Wish,
)

KEY = "the-key-of-the-test"
AT = datetime(2027, 1, 2, 12, 30, tzinfo=UTC)
ATTEMPT = Attempt(payment_id="p1", order_id="o1", attempted_at=AT, amount_cents=4990, currency="USD", customer_id="c1")
DECISION = {
    "decision_id": "decision-1",
    "order_id": "o1",
    "payment_id": "p1",
    "action": "review",
    "risk": "elevated",
    "source": "model",
    "step": "model",
    "degraded": False,
    "reasons": [{"code": "amount", "text": "An unusual amount", "value": 3}],
    "rules": ["velocity"],
    "score": 1,
    "hint": None,
    "expected_costs_cents": {"approve": 12},
    "model_version": "m1",
    "feature_version": "f1",
    "policy_version": "pol1",
    "features_age_seconds": 1.5,
    "decided_at": "2027-01-02T12:30:00+00:00",
    "data": None,
    "from_a_newer_version": True,
}
RECOMMENDATION = {
    "exposure_id": "exposure-1",
    "placement": "home",
    "step": "personal",
    "degraded": False,
    "profiling": True,
    "reason": None,
    "items": [{"product_id": "a", "rank": 1, "reason": "Bought again and again"}],
    "model_version": "m1",
    "feature_version": "f1",
    "policy_version": "explore-0.02",
    "as_of_date": "2027-01-02",
    "features_age_seconds": 3600,
    "k": 10,
}
TAKEN = {"taken": 1, "known": 0, "conflicts": []}


class Played:
    """Answers in turn, the last one for ever; keeps what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers, self.asked = list(answers), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def body(self) -> Any:
        return json.loads(self.asked[-1].content)


def _ok(content: Any) -> httpx.Response:
    return httpx.Response(200, json=content)


def _refused(status: int, code: str, headers: dict[str, str] | None = None, **error: Any) -> httpx.Response:
    content = {"error": {"code": code, "message": "No.", "fields": [], "request_id": "r1", **error}}
    return httpx.Response(status, json=content, headers=headers)


def _client(played: Played, deadline: float = 2.0) -> Shopwright:
    return Shopwright("http://shop.test", KEY, deadline, httpx.MockTransport(played))


def test_a_decision_is_asked_for_and_read():
    played = Played(_ok(DECISION))
    with _client(played) as shop:
        decision = shop.decide(ATTEMPT)
    request = played.asked[0]
    assert (request.method, request.url.path) == ("POST", "/v1/fraud/decisions")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert played.body() == {
        "payment_id": "p1",
        "order_id": "o1",
        "attempted_at": "2027-01-02T12:30:00+00:00",
        "amount_cents": 4990,
        "currency": "USD",
        "customer_id": "c1",
    }
    assert (decision.action, decision.score, decision.rules) == ("review", 1.0, ("velocity",))
    assert decision.reasons[0].code == "amount" and decision.reasons[0].raw["value"] == 3
    assert decision.decided_at == AT
    assert decision.raw["from_a_newer_version"] is True


def test_a_key_without_the_right_to_read_scores_gets_none():
    hidden = ("score", "hint", "expected_costs_cents")
    played = Played(_ok({name: value for name, value in DECISION.items() if name not in hidden}))
    decision = _client(played).decide(ATTEMPT)
    assert (decision.score, decision.hint, decision.expected_costs_cents) == (None, None, None)


def test_a_batch_tells_what_became_of_each_attempt():
    decided = {"status": "decided", "decision_id": "decision-1", "decision": DECISION}
    conflict = {"status": "conflict", "decision_id": "decision-9", "decision": None}
    played = Played(_ok({"results": [decided, conflict]}))
    first, second = _client(played).decide_many([ATTEMPT, ATTEMPT])
    assert first.decision is not None and first.decision.action == "review"
    assert second == DecisionResult("conflict", "decision-9", None)
    assert [one["payment_id"] for one in played.body()["attempts"]] == ["p1", "p1"]


SHOWN = {**DECISION, "explained": {"propensity": 1.0}, "rescored": None}


def test_decisions_are_looked_up_in_the_order_of_their_ids():
    found = {"decision_id": "decision-1", "decision": SHOWN}
    played = Played(_ok({"decisions": [{"decision_id": "unknown", "decision": None}, found]}))
    nothing, decision = _client(played).decisions(["unknown", "decision-1"])
    assert nothing is None and decision is not None and decision.decision_id == "decision-1"
    assert played.body() == {"decision_ids": ["unknown", "decision-1"]}


def test_a_decision_that_could_not_be_computed_again_says_why():
    replay = {"reproduced": None, "differences": [], "problem": "the model is no longer kept"}
    played = Played(_ok({**SHOWN, "replay": replay}))
    found = _client(played).decision("decision-1", replay=True).replay
    assert found is not None and (found.reproduced, found.problem) == (None, "the model is no longer kept")
    assert played.asked[0].url.params["replay"] == "true"


def test_recommendations_are_asked_for_with_all_that_was_told():
    played = Played(_ok(RECOMMENDATION))
    found = _client(played).recommend("c/1 ü", k=5, placement="home", exclude=["x", "y"], store_id="s1")
    url = played.asked[0].url
    assert url.raw_path.startswith(b"/v1/recommendations/c%2F1%20%C3%BC?")
    assert url.params.multi_items() == [
        ("k", "5"), ("placement", "home"), ("exclude", "x"), ("exclude", "y"), ("store_id", "s1"),
    ]  # fmt: skip
    assert found.items[0].product_id == "a" and found.as_of_date == date(2027, 1, 2)


def test_recommendations_of_several_customers_come_in_their_order():
    played = Played(_ok({"recommendations": [RECOMMENDATION, {**RECOMMENDATION, "exposure_id": "exposure-2"}]}))
    found = _client(played).recommend_many([Wish(customer_id="c1"), Wish(customer_id="c2", exclude=("x",))])
    assert [one.exposure_id for one in found] == ["exposure-1", "exposure-2"]
    assert played.body() == {
        "requests": [{"customer_id": "c1", "k": 10, "exclude": []}, {"customer_id": "c2", "k": 10, "exclude": ["x"]}]
    }


def test_each_kind_of_event_is_sent_as_the_api_takes_it():
    played = Played(_ok(TAKEN))
    shop = _client(played)
    line = OrderLine(order_line_id="l1", product_id="a", quantity=2, amount_cents=1000)
    order = Order(order_id="o1", ordered_at=AT, total_amount_cents=1000, currency="USD", lines=(line,))
    shop.send_event(order)
    assert played.body() == {
        "type": "order",
        "order_id": "o1",
        "ordered_at": "2027-01-02T12:30:00+00:00",
        "total_amount_cents": 1000,
        "currency": "USD",
        "lines": [{"order_line_id": "l1", "product_id": "a", "quantity": 2, "amount_cents": 1000, "discount_cents": 0}],
    }
    shop.send_event(Interaction(kind="click", interaction_id="i1", customer_id="c1", product_id="a", occurred_at=AT))
    assert played.body()["type"] == "click" and "kind" not in played.body()
    shop.send_event(Consent(customer_id="c1", purpose="profiling", is_granted=False, changed_at=AT))
    assert played.body() == {
        "type": "consent",
        "customer_id": "c1",
        "purpose": "profiling",
        "is_granted": False,
        "changed_at": "2027-01-02T12:30:00+00:00",
    }
    payment = Payment(
        payment_id="p1", order_id="o1", attempted_at=AT, amount_cents=1, currency="USD", outcome="approved"
    )
    assert shop.send_events([payment, {"type": "view"}]).taken == 1
    assert [event["type"] for event in played.body()["events"]] == ["payment", "view"]


def test_a_time_needs_an_offset_and_keeps_it():
    with pytest.raises(ValueError, match="attempted_at: expected an aware datetime"):
        _client(Played(_ok(DECISION))).decide(
            Attempt(payment_id="p", order_id="o", attempted_at=datetime(2027, 1, 1), amount_cents=1, currency="USD")  # noqa: DTZ001
        )
    played = Played(_ok(DECISION))
    there = datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    _client(played).decide(Attempt(payment_id="p", order_id="o", attempted_at=there, amount_cents=1, currency="USD"))
    assert played.body()["attempted_at"].endswith("+02:00")


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("no"),
        httpx.RemoteProtocolError("gone"),
        httpx.ReadError("reset"),
        _refused(503, "overloaded"),
        _refused(429, "rate_limited"),
        _refused(409, "in_progress"),
        httpx.Response(503, content=b"<html>from a load balancer</html>"),
    ],
    ids=["connect", "closed", "reset", "503", "429", "in progress", "html"],
)
def test_what_may_succeed_is_tried_again_with_the_same_idempotency_key(failure):
    played = Played(failure, failure, _ok(DECISION))
    assert _client(played).decide(ATTEMPT).decision_id == "decision-1"
    keys = {request.headers["idempotency-key"] for request in played.asked}
    assert len(played.asked) == 3 and len(keys) == 1


def test_each_call_has_a_key_of_its_own_and_a_caller_may_give_one():
    played = Played(_ok(DECISION))
    shop = _client(played)
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
    played = Played(_refused(status, code, fields=[{"path": "amount_cents", "problem": "negative"}]))
    with pytest.raises(expected) as caught:
        _client(played).decide(ATTEMPT)
    error = caught.value
    assert len(played.asked) == 1
    assert (error.status, error.code, error.request_id) == (status, code, "r1")
    assert error.fields == (("amount_cents", "negative"),)
    assert "4990" not in str(error) and KEY not in repr(error)


def test_a_wait_that_was_asked_for_is_kept():
    played = Played(_refused(429, "rate_limited", {"Retry-After": "1"}), _ok(DECISION))
    began = time.monotonic()
    _client(played, deadline=5.0).decide(ATTEMPT)
    assert time.monotonic() - began >= 1.0


def test_a_wait_longer_than_the_deadline_is_an_error_at_once():
    played = Played(_refused(429, "rate_limited", {"Retry-After": "3600"}))
    with pytest.raises(RateLimited) as caught:
        _client(played, deadline=60.0).decide(ATTEMPT)
    assert caught.value.retry_after == 3600.0 and len(played.asked) == 1
    with pytest.raises(Unavailable, match="unavailable"):
        _client(Played(_refused(503, "unavailable", {"Retry-After": "3600"})), deadline=60.0).decide(ATTEMPT)


def test_tries_end_with_the_deadline():
    played = Played(httpx.ConnectError("no"))
    with pytest.raises(Unavailable, match="ConnectError") as caught:
        _client(played, deadline=0.2).decide(ATTEMPT)
    assert caught.value.tries == len(played.asked) > 1


def test_an_answer_that_does_not_come_is_not_waited_for_twice():
    played = Played(httpx.ReadTimeout("slow"))
    with pytest.raises(Unavailable, match="ReadTimeout"):
        _client(played).decide(ATTEMPT)
    assert len(played.asked) == 1


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (_ok({name: value for name, value in DECISION.items() if name != "action"}), "action"),
        (_ok({**DECISION, "degraded": "no"}), "degraded"),
        (_ok({**DECISION, "decided_at": "yesterday"}), "timestamp"),
        (_ok([DECISION]), "object"),
        (httpx.Response(200, content=b"<html>"), "no JSON"),
    ],
    ids=["missing", "wrong kind", "no time", "a list", "html"],
)
def test_an_answer_that_is_none_is_named_without_its_content(answer, named):
    with pytest.raises(UnexpectedAnswer, match=named) as caught:
        _client(Played(answer)).decide(ATTEMPT)
    assert "yesterday" not in str(caught.value)


def test_the_asynchronous_client_does_the_same():
    played = Played(httpx.ConnectError("no"), _refused(503, "overloaded"), _ok(DECISION))

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


def test_both_clients_have_the_same_methods():
    def methods(client: type) -> dict[str, list[str]]:
        found: dict[str, Callable[..., Any]] = dict(inspect.getmembers(client, inspect.isfunction))
        return {name: list(inspect.signature(one).parameters) for name, one in found.items() if name[0] != "_"}

    assert methods(Shopwright) == methods(AsyncShopwright)
    assert len(methods(Shopwright)) == 9


def test_everything_exported_is_there():
    assert all(hasattr(shopwright_client, name) for name in shopwright_client.__all__)
    assert KEY not in repr(_client(Played(_ok(DECISION))))


def test_a_deadline_has_to_be_positive():
    with pytest.raises(ValueError, match="deadline"):
        Shopwright("http://shop.test", KEY, 0.0)


def test_each_phase_of_a_try_gets_what_is_left_of_the_deadline():
    played = Played(_ok(DECISION))
    _client(played, deadline=2.0).decide(ATTEMPT)
    timeouts = played.asked[0].extensions["timeout"]
    first = timeouts.get("connect")
    time.sleep(0.05)
    assert 0 < timeouts.get("read") <= first - 0.05 < 2.0
