"""What the fraud service answers, keeps and finds again; its stores are files in a temporary folder."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.fraud.engine import FraudEngine
from ml.fraud.policy_file import default_policy
from ml.serving import decision_drafts, fraud_service
from ml.serving.decision_results import public_view
from ml.serving.errors import NotInTime
from ml.settings import Settings
from ml.stores.bundles import product_dir
from ml.stores.policies import change_state, submit_policy
from ml.stores.serving_log import Entry
from tests.fraud_serving import Serving, attempt, install_model, of_shop, serving

DAY = "2024-03-10"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return of_shop(tmp_path)


def tell(settings: Settings, story: Callable[[Serving], Coroutine[Any, Any, None]], *, has_model: bool = False) -> None:
    async def told() -> None:
        async with serving(settings, has_model=has_model) as shop:
            await story(shop)

    asyncio.run(told())


def test_without_model_and_store_the_stand_in_answers_within_its_limits(settings: Settings) -> None:
    async def story(shop: Serving) -> None:
        answer = await shop.answer(1)
        assert answer["decision_id"].startswith("decision-")
        assert len(answer["decision_id"]) == 41
        told = {name: answer[name] for name in ("action", "source", "step", "degraded", "risk", "score")}
        assert told == {
            "action": "approve",
            "source": "standin",
            "step": "standin",
            "degraded": True,
            "risk": "unknown",
            "score": None,
        }
        assert (answer["model_version"], answer["features_age_seconds"]) == (None, None)
        assert answer["decided_at"] == "2024-03-10T12:00:01+00:00"  # a replayed shop lives in its past
        assert (await shop.answer(2, amount_cents=10001))["action"] == "review"
        assert (await shop.answer(3, account_created_at=None))["action"] == "review"

    tell(settings, story)


def test_the_stand_in_knows_other_orders_of_the_day_by_itself(settings: Settings) -> None:
    async def story(shop: Serving) -> None:
        actions = [(await shop.answer(number, customer_id="c"))["action"] for number in range(1, 5)]
        assert actions == ["approve", "approve", "approve", "review"]

    tell(settings, story)


def test_the_same_request_has_the_same_answer_and_another_one_is_a_conflict(settings: Settings) -> None:
    async def story(shop: Serving) -> None:
        first = (await shop.decide(attempt(1)))[0]
        again = (await shop.decide(attempt(1)))[0]
        assert (again.status, again.answer) == ("known", first.answer)
        other = (await shop.decide(attempt(1, amount_cents=1)))[0]
        assert (other.status, other.decision_id, other.answer) == ("conflict", first.decision_id, None)
        assert shop.log.end() == 1

    tell(settings, story)


def test_a_batch_is_decided_in_its_order_and_an_order_twice_in_it_one_after_the_other(settings: Settings) -> None:
    async def story(shop: Serving) -> None:
        pairs = [attempt(number, customer_id="c", order_id=f"o{number % 15}") for number in range(20)]
        results = await shop.decide(*pairs, key="once")
        assert [one.answer["payment_id"] for one in results if one.answer] == [f"p{number}" for number in range(20)]
        assert [one.answer["action"] for one in results if one.answer][:4] == ["approve"] * 3 + ["review"]
        assert {one.status for one in await shop.decide(*pairs, key="once")} == {"known"}

    tell(settings, story)


def test_attempts_at_the_same_moment_see_each_other(settings: Settings) -> None:
    async def story(shop: Serving) -> None:
        answers = await asyncio.gather(*(shop.answer(number, customer_id="c") for number in range(1, 9)))
        assert [answer["action"] for answer in answers].count("approve") == 3

    tell(settings, story)


async def let_through(shops: list[Serving], count: int) -> int:
    """Cents that the stand-in let through when processes decide at once, each order 100 dollars."""

    async def one(shop: Serving, first: int) -> int:
        answers = [await shop.answer(first + number, amount_cents=10000) for number in range(count)]
        return sum(10000 for answer in answers if answer["action"] == "approve")

    return sum(await asyncio.gather(*(one(shop, place * 1000) for place, shop in enumerate(shops))))


@pytest.mark.parametrize("is_protected", [True, False])
def test_processes_share_what_the_stand_in_may_let_through(
    settings: Settings, is_protected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_spends(**fields: Any) -> Entry:
        return Entry(**{**fields, "spends": ()})

    async def story(shop: Serving) -> None:
        async with serving(settings) as other:
            total = await let_through([shop, other], 40)
            assert (total == 500_000) is is_protected
            if is_protected:
                assert shop.log.spent(DAY)["standin_cents"] == 500_000

    if not is_protected:
        monkeypatch.setattr(decision_drafts, "Entry", without_spends)
    tell(settings, story)


def test_a_model_that_throws_is_passed_over_by_the_built_in_stand_in(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_model(settings)
    decide = FraudEngine.decide

    async def story(shop: Serving) -> None:
        assert shop.parts is not None
        broken = shop.parts.engine

        def throws(self: FraudEngine, *arguments: Any, **named: Any) -> Any:
            if self is broken:
                raise ValueError("a fault of the model")
            return decide(self, *arguments, **named)

        monkeypatch.setattr(FraudEngine, "decide", throws)
        answer = await shop.answer(1)
        assert (answer["step"], answer["model_version"]) == ("standin", None)

    tell(settings, story, has_model=True)


def test_no_answer_that_the_log_does_not_hold(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(shop: Serving) -> None:
        async def never(_entries: Any) -> None:
            await asyncio.sleep(3600)

        monkeypatch.setattr(shop.committer, "append", never)
        with pytest.raises(NotInTime):
            await shop.decide(attempt(1))

    tell(settings.model_copy(update={"deadline_ms": 50}), story)


def test_a_decision_is_found_and_comes_out_the_same_again(settings: Settings) -> None:
    version = install_model(settings)

    async def story(shop: Serving) -> None:
        answer = await shop.answer(1)
        found = await shop.service.find(answer["decision_id"], replay=True)
        assert found is not None
        assert {name: found[name] for name in answer} == answer
        assert found["replay"] == {"reproduced": True, "differences": [], "problem": None}
        assert await shop.service.find("decision-" + "0" * 32, replay=False) is None
        assert version not in json.dumps(public_view(answer)["reasons"])

    tell(settings, story, has_model=True)


def test_a_replay_tells_what_differs_when_the_basis_was_changed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(shop: Serving) -> None:
        one = await shop.answer(1)
        logged = shop.log.find("decision", one["decision_id"])
        assert logged is not None
        body = json.loads(logged.body)
        body["attempt"]["amount_cents"] = 20_000
        changed = replace(logged, body=json.dumps(body))
        monkeypatch.setattr(shop.log, "find", lambda _kind, _key: changed)
        found = await shop.service.find(one["decision_id"], replay=True)
        assert found is not None
        assert found["replay"]["reproduced"] is False
        assert {"action", "expected_costs_cents"} <= set(found["replay"]["differences"])

    tell(settings, story)


def test_a_replay_goes_by_the_policy_of_then_and_says_when_the_model_is_gone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = install_model(settings)

    async def story(shop: Serving) -> None:
        one = await shop.answer(1)
        stricter = default_policy().body.replace("amount_cents: 10000", "amount_cents: 1")
        submit_policy(shop.operations, version="strict-1", body=stricter, by="test")
        change_state(shop.operations, version="strict-1", to="shadow", reason="test", by="test")
        change_state(shop.operations, version="strict-1", to="active", reason="test", by="test")
        found = await shop.service.find(one["decision_id"], replay=True)
        assert found is not None
        assert found["replay"]["reproduced"] is True
        logged = shop.log.find("decision", one["decision_id"])
        assert logged is not None
        body = json.loads(logged.body)
        body["answer"]["model_version"] = version
        monkeypatch.setattr(shop.log, "find", lambda _kind, _key: replace(logged, body=json.dumps(body)))
        (product_dir(settings, "fraud") / version / "manifest.json").unlink()
        gone = await shop.service.find(one["decision_id"], replay=True)
        assert gone is not None
        assert gone["replay"] == {
            "reproduced": None,
            "differences": [],
            "problem": f"model {version} is no longer kept, or damaged",
        }

    tell(settings, story, has_model=True)


def test_who_may_not_read_scores_sees_no_value_to_tune_an_order_by() -> None:
    answer = {
        "action": "review",
        "reasons": [{"code": "velocity_device", "text": "9 orders", "value": 9, "contribution": 1.5}],
        "score": 0.5,
        "hint": "less",
        "expected_costs_cents": {"approve": 1.0},
    }
    shown = public_view(answer)
    assert shown == {
        "action": "review",
        "reasons": [{"code": "velocity_device", "text": "Pace of orders of the device"}],
    }


def test_a_batch_has_more_time_than_one_attempt() -> None:
    assert fraud_service.SECONDS_PER_FURTHER_ATTEMPT * 99 <= 1.0
