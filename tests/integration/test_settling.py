"""Decisions of the log reach the operational record once; blind ones are scored again; operators are told."""

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.cli.fraud import settle, standin_watch
from ml.cli.fraud.events import follow_log, post_events
from ml.cli.fraud.settle import Settler
from ml.fraud.declaration import declaration
from ml.fraud.online_state import features_of
from ml.fraud.state_records import state_digest
from ml.settings import Settings
from ml.stores import decision_log, reviews, serving_log
from ml.stores.fraud_tables import rescorings, review_cases
from ml.stores.operations import Operations, incidents
from ml.stores.serving_log import ServingLog
from ml.stores.state_store import open_state_store
from tests.fraud_serving import NOON, Serving, attempt, install_model, of_shop, serving


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return of_shop(tmp_path)


@pytest.fixture
def operations(settings: Settings) -> Operations:
    return Operations.from_settings(settings)


def follow(settings: Settings) -> int:
    return follow_log(settings, stops=threading.Event(), is_once=True)


def decide(settings: Settings, *numbers: int, has_model: bool = False, **fields: Any) -> list[dict[str, Any]]:
    async def told() -> list[dict[str, Any]]:
        async with serving(settings, has_model=has_model) as shop:
            return [await shop.answer(number, **fields) for number in numbers]

    return asyncio.run(told())


def counted(settings: Settings, **entities: str) -> dict[str, Any]:
    state = open_state_store(settings, state_digest(declaration()), is_writer=True)
    asked, _ = attempt(9000, customer_id=entities.get("customer_id", "nobody"))
    return features_of(state, asked.event, declaration())


def test_a_decision_is_in_the_record_as_it_was_answered(settings: Settings, operations: Operations) -> None:
    first, second = decide(settings, 1, 2, amount_cents=20_000)
    assert follow(settings) == 2
    kept = decision_log.read(operations).to_dict("records")
    assert [one["decision_id"] for one in kept] == [first["decision_id"], second["decision_id"]]
    one = kept[0]
    assert (one["order_id"], one["customer_id"], one["partition"], one["amount_cents"]) == (
        "o0001",
        "c1",
        "2024-03-10",
        20_000,
    )
    assert (one["action"], one["source"], one["score"]) == ("review", "standin", None)
    assert one["expected_costs"] == first["expected_costs_cents"]
    assert [case["order_id"] for case in operations.rows(review_cases)] == ["o0001", "o0002"]


@pytest.mark.parametrize("dies_at", ["record_rule_hits", "record_decisions", "open_cases", "save_mark"])
def test_a_follower_that_dies_in_between_settles_each_once(
    settings: Settings, operations: Operations, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    decide(settings, 1, 2, 3, amount_cents=20_000)
    holder = {"record_decisions": decision_log, "open_cases": reviews, "save_mark": settle}.get(
        dies_at, settle.policies
    )
    done: Callable[..., Any] = getattr(holder, dies_at)

    def dies_after(*arguments: Any, **named: Any) -> None:
        done(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(holder, dies_at, dies_after)
        with pytest.raises(KeyboardInterrupt):
            follow(settings)
    follow(settings)
    follow(settings)
    assert decision_log.read(operations)["order_id"].tolist() == ["o0001", "o0002", "o0003"]
    assert len(operations.rows(review_cases)) == 3
    assert Settler(settings, operations, ServingLog.from_settings(settings)).settle_waiting() == 0


def test_the_first_decision_of_an_order_is_its_decision(settings: Settings, operations: Operations) -> None:
    decide(settings, 1, 2, order_id="same")
    follow(settings)
    assert len(decision_log.read(operations)) == 1


def test_an_attempt_counts_as_failed_until_its_payment_is_posted(settings: Settings) -> None:
    decide(settings, 1, customer_id="c")
    follow(settings)
    before = counted(settings, customer_id="c")
    assert (before["count_orders_customer_ever"], before["count_failed_customer_1d"]) == (1, 1)
    posted = {
        "type": "payment",
        "payment_id": "p1",
        "order_id": "o0001",
        "customer_id": "c",
        "attempted_at": (NOON + timedelta(seconds=1)).isoformat(),
        "amount_cents": 5000,
        "currency": "USD",
        "outcome": "approved",
    }
    assert post_events(settings, [json.dumps(posted)], None).refused == []
    follow(settings)
    after = counted(settings, customer_id="c")
    assert (after["count_orders_customer_ever"], after["count_failed_customer_1d"]) == (1, 0)


def test_what_was_decided_blind_is_scored_once_the_state_is_fit(settings: Settings, operations: Operations) -> None:
    blind = decide(settings, 1, 2)
    assert {one["action"] for one in blind} == {"approve"}
    install_model(settings, intercept=6.0)  # says fraud of everybody
    follow(settings)
    rows = operations.rows(rescorings)
    assert [row["decision_id"] for row in rows] == [one["decision_id"] for one in blind]
    assert [row["score"] for row in rows] == pytest.approx([0.9975, 0.9975], abs=1e-4)
    assert {row["action"] for row in rows} <= {"review", "decline"}
    assert sorted(case["order_id"] for case in operations.rows(review_cases)) == ["o0001", "o0002"]
    assert "decided without the model" in str(reviews.events(operations, "o0001")[0]["note"])
    assert decision_log.read(operations)["action"].tolist() == ["approve", "approve"]  # it stays what it was
    follow(settings)
    assert len(operations.rows(rescorings)) == 2


def test_what_the_model_would_have_let_through_as_well_asks_nobody(settings: Settings, operations: Operations) -> None:
    decide(settings, 1)
    install_model(settings)
    follow(settings)
    assert [row["action"] for row in operations.rows(rescorings)] == ["approve"]
    assert operations.rows(review_cases) == []


def test_what_the_model_decided_is_not_scored_again(settings: Settings, operations: Operations) -> None:
    install_model(settings)
    follow(settings)

    async def story() -> None:
        async with serving(settings, has_model=True) as shop:
            numbers = iter(range(1, 1000))
            await shop.until_step("model", lambda: next(numbers))

    asyncio.run(story())
    follow(settings)
    kept = decision_log.read(operations)
    assert kept["score"].notna().sum() == 1
    assert len(operations.rows(rescorings)) == len(kept) - 1


@pytest.mark.parametrize("has_champion", [True, False])
def test_a_quarter_of_an_hour_without_the_model_is_told_and_its_end_too(
    settings: Settings, operations: Operations, monkeypatch: pytest.MonkeyPatch, has_champion: bool
) -> None:
    if has_champion:
        install_model(settings)
    now = [datetime(2026, 1, 1, 12, tzinfo=UTC)]
    monkeypatch.setattr(serving_log, "wall_clock", lambda: now[0])

    def told() -> list[str]:
        return [row["state"] for row in operations.rows(incidents, kind=standin_watch.KIND)]

    async def blind(shop: Serving) -> None:
        await shop.answer(1)
        now[0] += timedelta(minutes=14)
        await shop.answer(2)

    async def story() -> None:
        async with serving(settings) as shop:
            await blind(shop)
            follow(settings)
            assert told() == []
            now[0] += timedelta(minutes=2)
            await shop.answer(3)
            follow(settings)
            assert told() == (["open"] if has_champion else [])

    asyncio.run(story())
    if not has_champion:
        return

    async def healed() -> None:
        async with serving(settings, has_model=True) as shop:
            numbers = iter(range(10, 1000))
            await shop.until_step("model", lambda: next(numbers))

    asyncio.run(healed())
    follow(settings)
    assert told() == ["closed"]


def test_an_allowance_of_the_stand_in_that_is_used_up_is_told(settings: Settings, operations: Operations) -> None:
    install_model(settings)
    decide(settings, *range(1, 51), amount_cents=10_000)
    follow(settings)
    assert operations.rows(incidents, kind=standin_watch.KIND) == []
    assert decide(settings, 60, amount_cents=10_000)[0]["action"] == "review"
    follow(settings)
    assert [row["rule"] for row in operations.rows(incidents, kind=standin_watch.KIND)] == ["day_allowance"]


def test_a_decision_that_cannot_be_read_holds_up_nobody(settings: Settings, operations: Operations) -> None:
    log = ServingLog.from_settings(settings)
    log.append([serving_log.Entry("decision", "damaged", "{}", "0" * 64, NOON)])
    decide(settings, 1)
    follow(settings)
    assert len(decision_log.read(operations)) == 1
    assert log.count_set_aside() == 1
