"""The client and the page "Integrate in 15 minutes" against a running API, as a shop would use them."""

import asyncio
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from shopwright_client import (
    AsyncShopwright,
    Attempt,
    Conflict,
    Consent,
    Forbidden,
    Interaction,
    Invalid,
    NotFound,
    Payment,
    Shopwright,
    Unauthorized,
    Unavailable,
    Wish,
)

from ml.settings import PROJECT_DIR, wall_clock
from tests.serving_process import ServingProcess, serving_process
from tests.serving_stubs import KEYS

PAGE = (PROJECT_DIR / "docs" / "integrate.md").read_text()
BLOCKS = dict(re.findall(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", PAGE, re.S))
PROGRAMS = {"curl": ["bash", "-eu"], "javascript": ["node", "--input-type=module"]}
GENEROUS = 20.0  # seconds: on a busy machine nothing here fails for being slow


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    """A live shop on its first day: no model, no data, a static list."""
    folder = tmp_path_factory.mktemp("client")
    live = {"last_day": "none", "static_products": '["product-1", "product-2"]', "deadline_ms": 5000}
    with serving_process(folder / "var", **live) as running:
        yield running


@pytest.fixture
def shop(api: ServingProcess) -> Iterator[Shopwright]:
    with Shopwright(api.address, KEYS["all"], GENEROUS) as client:
        yield client


def _attempt(**others: object) -> Attempt:
    name = uuid.uuid4().hex
    told = {"payment_id": name, "order_id": f"order-{name}", "amount_cents": 4990, "currency": "USD"}
    return Attempt(attempted_at=wall_clock(), **{**told, "customer_id": "c1", **others})  # type: ignore[arg-type]


def test_a_decision_is_taken_kept_and_found_again(shop: Shopwright) -> None:
    attempt = _attempt()
    decision = shop.decide(attempt)
    assert (decision.payment_id, decision.step, decision.degraded) == (attempt.payment_id, "standin", True)
    assert shop.decide(attempt) == decision
    assert shop.decision(decision.decision_id).action == decision.action
    found, nothing = shop.decisions([decision.decision_id, "decision-unknown"])
    assert found is not None and found.decision_id == decision.decision_id and nothing is None


def test_another_body_with_the_same_payment_is_a_conflict(shop: Shopwright) -> None:
    attempt = _attempt()
    shop.decide(attempt)
    with pytest.raises(Conflict):
        shop.decide(_attempt(payment_id=attempt.payment_id, amount_cents=1))


def test_a_batch_is_decided_in_its_order(shop: Shopwright) -> None:
    first, second, third = _attempt(), _attempt(), _attempt()
    shop.decide(first)
    shop.decide(third)
    results = shop.decide_many([first, second, _attempt(payment_id=third.payment_id, amount_cents=1)])
    assert [one.status for one in results] == ["known", "decided", "conflict"]
    assert results[1].decision is not None and results[1].decision.payment_id == second.payment_id


def test_recommendations_and_events(shop: Shopwright) -> None:
    shown = shop.recommend("c1", k=2, placement="home", exclude=["product-9"])
    assert [item.product_id for item in shown.items] == ["product-1", "product-2"]
    assert shown.step == "static" and shown.degraded
    now = wall_clock()
    click = Interaction(
        kind="click",
        interaction_id=uuid.uuid4().hex,
        customer_id="c1",
        product_id="product-1",
        occurred_at=now,
        exposure_id=shown.exposure_id,
    )
    assert (shop.send_event(click).taken, shop.send_event(click).known) == (1, 1)
    payment = Payment(
        payment_id=uuid.uuid4().hex, order_id="o", attempted_at=now, amount_cents=1, currency="USD", outcome="approved"
    )
    assert shop.send_events([click, payment]).taken == 1
    assert len(shop.recommend_many([Wish(customer_id="c1"), Wish(customer_id="c2", k=1)])[1].items) == 1


def test_an_objection_holds_from_the_next_request(shop: Shopwright) -> None:
    customer = uuid.uuid4().hex
    assert shop.recommend(customer).profiling
    shop.send_event(Consent(customer_id=customer, purpose="profiling", is_granted=False, changed_at=wall_clock()))
    assert not shop.recommend(customer).profiling


def test_errors_have_their_classes_and_never_what_was_sent(api: ServingProcess, shop: Shopwright) -> None:
    with pytest.raises(Invalid) as invalid:
        shop.decide(_attempt(amount_cents=-77123))
    assert invalid.value.fields and "77123" not in str(invalid.value)
    with pytest.raises(NotFound):
        shop.decision("decision-unknown")
    with Shopwright(api.address, "no-such-key", GENEROUS) as stranger, pytest.raises(Unauthorized):
        stranger.recommend("c1")
    with Shopwright(api.address, KEYS["none"], GENEROUS) as other, pytest.raises(Forbidden):
        other.recommend("c1")
    with Shopwright("http://127.0.0.1:9", KEYS["all"], 0.3) as nobody, pytest.raises(Unavailable):
        nobody.recommend("c1")


def test_the_asynchronous_client_asks_many_at_once(api: ServingProcess) -> None:
    async def ask() -> list[str]:
        async with AsyncShopwright(api.address, KEYS["all"], GENEROUS) as shop:
            return [one.step for one in await asyncio.gather(*(shop.recommend(f"c{at}") for at in range(20)))]

    assert asyncio.run(ask()) == ["static"] * 20


@pytest.mark.parametrize(
    ("block", "program"), [("curl", ["bash", "-eu"]), ("javascript", ["node", "--input-type=module"])]
)
def test_the_page_runs(api: ServingProcess, block: str, program: list[str], tmp_path: Path) -> None:
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    # Their deadlines are for idle machines; a busy one gets more, and nothing else is changed.
    source = re.sub(r"-m (0\.5|2)\b", "-m 20", BLOCKS[block])
    source = re.sub(r"deadline: \d+", "deadline: 20000", source)
    environment = {**os.environ, "URL": api.address, "KEY": KEYS["all"]}
    done = subprocess.run(
        program, input=source, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if block == "curl":
        assert done.stdout.count('"step":') == 2 and '"taken":1' in done.stdout
    else:
        assert re.search(r"may pay: (approve|review)", done.stdout)
        assert "shown: [ 'product-1', 'product-2' ]" in done.stdout and "taken: 3" in done.stdout


def test_the_page_has_both_blocks() -> None:
    assert set(BLOCKS) == set(PROGRAMS)
