"""Attempts that wait at the same moment: which are decided in one call, and that none of them notices."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.fraud.engine import DayUse, FraudEngine
from ml.serving.decision_drafts import Draft
from ml.serving.decision_together import MOST_TOGETHER, Undecided
from ml.serving.errors import NotInTime
from ml.settings import Settings
from tests.fraud_serving import Serving, attempt, install_model, of_shop, serving


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = of_shop(tmp_path)
    install_model(made)
    return made


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many attempts each call decided."""
    sizes: list[int] = []
    decide = FraudEngine.decide

    def noted(self: FraudEngine, attempts: Any, *arguments: Any, **named: Any) -> Any:
        sizes.append(len(attempts))
        if len(attempts) > 1 and any(one.event.order_id == "odd" for one in attempts):
            raise ValueError("a fault of one")
        return decide(self, attempts, *arguments, **named)

    monkeypatch.setattr(FraudEngine, "decide", noted)
    yield sizes


def tell(settings: Settings, story: Callable[[Serving], Coroutine[Any, Any, None]]) -> None:
    async def told() -> None:
        async with serving(settings, has_model=True) as shop:
            await story(shop)

    asyncio.run(told())


def undecided(shop: Serving, number: int, seconds: float = 60.0, **fields: Any) -> Undecided:
    assert shop.parts is not None
    one, digest = attempt(number, **fields)
    return Undecided(one, digest, shop.parts, None, None, (None, None), time.perf_counter() + seconds, is_last=False)


async def at_once(shop: Serving, some: list[Undecided]) -> list[Draft | BaseException]:
    """Each as a request of its own, all in one turn of the event loop."""
    together = shop.service._together
    found = await asyncio.gather(*(together.drafts([one]) for one in some), return_exceptions=True)
    return [one if isinstance(one, BaseException) else one[0] for one in found]


def test_those_of_one_turn_are_decided_in_one_call_of_bounded_size(settings: Settings, calls: list[int]) -> None:
    async def story(shop: Serving) -> None:
        drafts = await at_once(shop, [undecided(shop, number) for number in range(MOST_TOGETHER + 3)])
        assert calls == [MOST_TOGETHER, 3]
        orders = [draft.decided.order_id for draft in drafts if isinstance(draft, Draft)]
        assert orders == [f"o{number:04}" for number in range(MOST_TOGETHER + 3)]

    tell(settings, story)


def test_together_they_are_kept_as_one_by_one(settings: Settings, calls: list[int]) -> None:
    async def story(shop: Serving) -> None:
        some = [undecided(shop, number, amount_cents=3000 * number) for number in range(1, 8)]
        together = await at_once(shop, some)
        alone = [(await at_once(shop, [one]))[0] for one in some]
        assert calls == [7] + [1] * 7
        bodies = [[one.entry.body for one in drafts if isinstance(one, Draft)] for drafts in (together, alone)]
        assert len(bodies[0]) == 7
        assert bodies[0] == bodies[1]

    tell(settings, story)


@pytest.mark.parametrize("shared", ["order_id", "customer_id", "instrument_hash", "device_hash"])
def test_who_shares_something_waits_for_the_next_call(settings: Settings, calls: list[int], shared: str) -> None:
    async def story(shop: Serving) -> None:
        fields: list[dict[str, Any]] = [{shared: "same" if number < 3 else f"other{number}"} for number in range(5)]
        some = [undecided(shop, number, **one) for number, one in enumerate(fields)]
        await at_once(shop, some)
        assert calls == [3, 1, 1]

    tell(settings, story)


def test_the_later_one_of_a_customer_sees_the_earlier(settings: Settings) -> None:
    async def story(shop: Serving) -> None:
        first, second = await at_once(shop, [undecided(shop, number, customer_id="c") for number in (1, 2)])
        assert isinstance(first, Draft)
        assert isinstance(second, Draft)
        counts = [(one.basis.velocities or {})["count_orders_customer_1d"] for one in (first, second)]
        assert counts == [0, 1]

    tell(settings, story)


def test_one_that_cannot_be_decided_with_others_costs_them_nothing(settings: Settings, calls: list[int]) -> None:
    async def story(shop: Serving) -> None:
        some = [undecided(shop, 1), undecided(shop, 2, order_id="odd"), undecided(shop, 3)]
        drafts = await at_once(shop, some)
        assert calls == [3, 1, 1, 1]
        assert [one.decided.order_id for one in drafts if isinstance(one, Draft)] == ["o0001", "odd", "o0003"]

    tell(settings, story)


def test_whose_deadline_has_passed_is_told_so_and_not_decided(settings: Settings, calls: list[int]) -> None:
    async def story(shop: Serving) -> None:
        late, in_time = await at_once(shop, [undecided(shop, 1, seconds=-1.0), undecided(shop, 2)])
        assert isinstance(late, NotInTime)
        assert isinstance(in_time, Draft)
        assert calls == [1]

    tell(settings, story)


def test_who_went_away_is_not_decided(settings: Settings, calls: list[int]) -> None:
    async def story(shop: Serving) -> None:
        gone = asyncio.ensure_future(shop.service._together.drafts([undecided(shop, 1)]))
        await asyncio.sleep(0)
        gone.cancel()
        await at_once(shop, [undecided(shop, 2)])
        assert gone.cancelled()
        assert calls == [1]

    tell(settings, story)


@pytest.mark.parametrize(("let_through_cents", "sizes"), [(0, [3]), (490_000, [3, 1, 1, 1]), (497_000, [3])])
def test_where_an_allowance_runs_out_among_them_each_is_decided_alone(
    settings: Settings, calls: list[int], let_through_cents: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three orders of 50 dollars; the stand-in may let through 5,000 dollars a day, which each keeps to as if alone."""
    use = DayUse(standin_cents=let_through_cents)

    async def story(shop: Serving) -> None:
        shop.parts = shop.service._built_in
        monkeypatch.setattr(shop.service._recent, "use_of", lambda days: dict.fromkeys(days, use))
        await at_once(shop, [undecided(shop, number) for number in range(3)])
        assert calls == sizes

    tell(settings, story)


def test_of_two_models_each_has_a_call_of_its_own(settings: Settings, calls: list[int]) -> None:
    async def story(shop: Serving) -> None:
        before = undecided(shop, 1)
        shop.parts = shop.service._built_in
        drafts = await at_once(shop, [before, undecided(shop, 2)])
        assert calls == [1, 1]
        assert [one.entry.kind for one in drafts if isinstance(one, Draft)] == ["decision"] * 2

    tell(settings, story)
