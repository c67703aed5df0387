"""The client against a server played by hand: what is sent, and how answers are read."""

import inspect
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
import shopwright_client
from shopwright_client import (
    AsyncShopwright,
    Attempt,
    Consent,
    DecisionResult,
    Interaction,
    Order,
    OrderLine,
    Payment,
    Shopwright,
    UnexpectedAnswer,
    Wish,
)

from tests.played_api import AT, ATTEMPT, DECISION, KEY, RECOMMENDATION, TAKEN, Played, client, ok


def test_a_decision_is_asked_for_and_read():
    played = Played(ok(DECISION))
    with client(played) as shop:
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
    played = Played(ok({name: value for name, value in DECISION.items() if name not in hidden}))
    decision = client(played).decide(ATTEMPT)
    assert (decision.score, decision.hint, decision.expected_costs_cents) == (None, None, None)


def test_a_batch_tells_what_became_of_each_attempt():
    decided = {"status": "decided", "decision_id": "decision-1", "decision": DECISION}
    conflict = {"status": "conflict", "decision_id": "decision-9", "decision": None}
    played = Played(ok({"results": [decided, conflict]}))
    first, second = client(played).decide_many([ATTEMPT, ATTEMPT])
    assert first.decision is not None and first.decision.action == "review"
    assert second == DecisionResult("conflict", "decision-9", None)
    assert [one["payment_id"] for one in played.body()["attempts"]] == ["p1", "p1"]


SHOWN = {**DECISION, "explained": {"propensity": 1.0}, "rescored": None}


def test_decisions_are_looked_up_in_the_order_of_their_ids():
    found = {"decision_id": "decision-1", "decision": SHOWN}
    played = Played(ok({"decisions": [{"decision_id": "unknown", "decision": None}, found]}))
    nothing, decision = client(played).decisions(["unknown", "decision-1"])
    assert nothing is None and decision is not None and decision.decision_id == "decision-1"
    assert played.body() == {"decision_ids": ["unknown", "decision-1"]}


def test_a_decision_that_could_not_be_computed_again_says_why():
    replay = {"reproduced": None, "differences": [], "problem": "the model is no longer kept"}
    played = Played(ok({**SHOWN, "replay": replay}))
    found = client(played).decision("decision-1", replay=True).replay
    assert found is not None and (found.reproduced, found.problem) == (None, "the model is no longer kept")
    assert played.asked[0].url.params["replay"] == "true"


def test_recommendations_are_asked_for_with_all_that_was_told():
    played = Played(ok(RECOMMENDATION))
    found = client(played).recommend("c/1 ü", k=5, placement="home", exclude=["x", "y"], store_id="s1")
    url = played.asked[0].url
    assert url.raw_path.startswith(b"/v1/recommendations/c%2F1%20%C3%BC?")
    assert url.params.multi_items() == [
        ("k", "5"), ("placement", "home"), ("exclude", "x"), ("exclude", "y"), ("store_id", "s1"),
    ]  # fmt: skip
    assert found.items[0].product_id == "a" and found.as_of_date == date(2027, 1, 2)


def test_recommendations_of_several_customers_come_in_their_order():
    played = Played(ok({"recommendations": [RECOMMENDATION, {**RECOMMENDATION, "exposure_id": "exposure-2"}]}))
    found = client(played).recommend_many([Wish(customer_id="c1"), Wish(customer_id="c2", exclude=("x",))])
    assert [one.exposure_id for one in found] == ["exposure-1", "exposure-2"]
    assert played.body() == {
        "requests": [{"customer_id": "c1", "k": 10, "exclude": []}, {"customer_id": "c2", "k": 10, "exclude": ["x"]}]
    }


def test_each_kind_of_event_is_sent_as_the_api_takes_it():
    played = Played(ok(TAKEN))
    shop = client(played)
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
        client(Played(ok(DECISION))).decide(
            Attempt(payment_id="p", order_id="o", attempted_at=datetime(2027, 1, 1), amount_cents=1, currency="USD")  # noqa: DTZ001
        )
    played = Played(ok(DECISION))
    there = datetime(2027, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    client(played).decide(Attempt(payment_id="p", order_id="o", attempted_at=there, amount_cents=1, currency="USD"))
    assert played.body()["attempted_at"].endswith("+02:00")


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (ok({name: value for name, value in DECISION.items() if name != "action"}), "action"),
        (ok({**DECISION, "degraded": "no"}), "degraded"),
        (ok({**DECISION, "decided_at": "yesterday"}), "timestamp"),
        (ok([DECISION]), "object"),
        (httpx.Response(200, content=b"<html>"), "no JSON"),
    ],
    ids=["missing", "wrong kind", "no time", "a list", "html"],
)
def test_an_answer_that_is_none_is_named_without_its_content(answer, named):
    with pytest.raises(UnexpectedAnswer, match=named) as caught:
        client(Played(answer)).decide(ATTEMPT)
    assert "yesterday" not in str(caught.value)


def test_both_clients_have_the_same_methods():
    def methods(client: type) -> dict[str, list[str]]:
        found: dict[str, Callable[..., Any]] = dict(inspect.getmembers(client, inspect.isfunction))
        return {name: list(inspect.signature(one).parameters) for name, one in found.items() if name[0] != "_"}

    assert methods(Shopwright) == methods(AsyncShopwright)
    assert len(methods(Shopwright)) == 9


def test_everything_exported_is_there():
    assert all(hasattr(shopwright_client, name) for name in shopwright_client.__all__)
    assert KEY not in repr(client(Played(ok(DECISION))))
