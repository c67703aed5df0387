"""What a shop remembers of a soak, all that was acknowledged to it; and whether the installation remembers it too."""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from serving_processes import KEY
from serving_requests import DECISION_STEPS, RECOMMENDATION_STEPS, Asked
from shopwright_client import AsyncShopwright, Decision, Recommendation, Refused, Unavailable, UnexpectedAnswer

DEADLINE_SECONDS = 3.0
_REPEATED_SHARE = 0.05
_AT_ONCE = 200
_LATEST_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_ENDING_SECONDS = _LONGEST_PAUSE_SECONDS + 4 * DEADLINE_SECONDS


@dataclass
class History:
    """
    Attributes:
        decisions: payment_id -> (order_id, decision_id, action) as first acknowledged.
        undeclared: Answers that do not say truthfully how they were found, and refusals that nothing explains.
        contradictions: Answers to a repeated request that differ from the first one.
        last_seen: Version of a model or policy -> when (monotonic) an answer last named it.
        unrecorded: Recommendations that were shown though the log could not take them in time, and said so.
    """

    decisions: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    exposures: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    asked: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    undeclared: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)
    last_seen: dict[str, float] = field(default_factory=dict)
    unrecorded: int = 0

    @property
    def answered(self) -> dict[str, int]:
        """Kind -> how many were answered, remembered or not."""
        return {**self.acknowledged, "recommendations": len(self.exposures) + self.unrecorded}

    @property
    def acknowledged(self) -> dict[str, int]:
        """Kind -> how many the installation has to remember."""
        return {
            "decisions": len(self.decisions),
            "recommendations": len(self.exposures),
            "events": len(self.events),
        }

    def take_decision(self, decision: Decision, payment_id: str) -> None:
        self.steps[decision.step] += 1
        is_declared = decision.step in DECISION_STEPS and decision.degraded == (decision.step != "model")
        if not is_declared or decision.payment_id != payment_id or not decision.policy_version:
            self.undeclared.append(f"decision {decision.decision_id}: {decision.step}, degraded {decision.degraded}")
        self._see(decision.model_version, decision.policy_version)
        told = (decision.order_id, decision.decision_id, decision.action)
        if self.decisions.setdefault(payment_id, told) != told:
            self.contradictions.append(payment_id)

    def take_recommendation(self, shown: Recommendation) -> None:
        self.steps[shown.step] += 1
        is_declared = shown.step in RECOMMENDATION_STEPS and (
            shown.step in ("personal", "batch") or shown.degraded or shown.reason is not None or not shown.profiling
        )
        if not is_declared or (shown.step != "static" and len(shown.items) != shown.k):
            self.undeclared.append(f"recommendation {shown.exposure_id}: {shown.step}, {len(shown.items)} items")
        self._see(shown.model_version)
        if shown.exposure_id is None:  # it said that it may not be remembered
            self.unrecorded += 1
            return
        if shown.exposure_id in self.exposures:
            self.contradictions.append(shown.exposure_id)
        self.exposures.add(shown.exposure_id)

    def _see(self, *versions: str | None) -> None:
        self.last_seen.update(dict.fromkeys(filter(None, versions), time.monotonic()))


@dataclass
class Shoppers:
    """Requests at fixed rates, in a thread of their own, until told to stop."""

    asked: Asked
    port: int
    rates: dict[str, float]
    history: History = field(default_factory=History)
    _stops: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._shop()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, with every request that is under way.

        Raises:
            TimeoutError: They do not end, so what was acknowledged is not known.
        """
        self._stops.set()
        self._thread.join(_ENDING_SECONDS)
        if self._thread.is_alive():
            raise TimeoutError("the shoppers do not end")

    async def _shop(self) -> None:
        address = f"http://127.0.0.1:{self.port}"
        async with AsyncShopwright(address, KEY, DEADLINE_SECONDS) as shop:
            self._places = asyncio.Semaphore(_AT_ONCE)
            async with asyncio.TaskGroup() as group:
                for kind, rate in self.rates.items():
                    group.create_task(self._keep_asking(shop, kind, rate, group))

    async def _keep_asking(self, shop: AsyncShopwright, kind: str, rate: float, group: asyncio.TaskGroup) -> None:
        loop, place = asyncio.get_running_loop(), 0
        began = loop.time()
        while not self._stops.is_set():
            place += 1
            due = began + place / rate
            await asyncio.sleep(max(due - loop.time(), 0.0))
            if loop.time() > due + _LATEST_SECONDS or self._places.locked():
                # Who was kept from asking has gone: to make up for it all at once would be a fault of its own.
                self.history.unanswered[f"{kind}: not asked"] += 1
            else:
                await self._places.acquire()
                group.create_task(self._ask(shop, kind))

    async def _ask(self, shop: AsyncShopwright, kind: str) -> None:
        history = self.history
        history.asked[kind] += 1
        try:
            await getattr(self, f"_{kind}")(shop)
        except Unavailable as error:
            history.unanswered[f"{kind}: {error.last}"] += 1
        except (Refused, UnexpectedAnswer) as error:
            history.undeclared.append(f"{kind}: {error}")
        finally:
            self._places.release()

    async def _decisions(self, shop: AsyncShopwright) -> None:
        attempt = next(self.asked.attempts(1))
        payment_id = str(attempt["payment_id"])
        self.history.take_decision(await shop.decide(attempt, idempotency_key=payment_id), payment_id)
        if random.random() < _REPEATED_SHARE:  # noqa: S311 - no secret
            pause = 0.0 if self._stops.is_set() else random.uniform(0.0, _LONGEST_PAUSE_SECONDS)  # noqa: S311
            await asyncio.sleep(pause)
            self.history.asked["repeated"] += 1
            again = await shop.decide(attempt)
            self.history.take_decision(again, payment_id)

    async def _recommendations(self, shop: AsyncShopwright) -> None:
        customers = self.asked.customers
        customer = random.choice(customers) if random.random() > 0.1 else f"unknown-{random.random()}"  # noqa: S311
        self.history.take_recommendation(await shop.recommend(customer, placement="home"))

    async def _events(self, shop: AsyncShopwright) -> None:
        self.asked.place += 1
        name = f"view-{self.asked.place:08d}"
        customer = random.choice(self.asked.customers)  # noqa: S311 - no secret
        at = self.asked.begin.isoformat()
        event = {"interaction_id": name, "customer_id": customer, "product_id": "p", "occurred_at": at}
        await shop.send_event({"type": "view", **event})
        self.history.events.add(name)


def hold_against_installation(history: History, settings: Any) -> dict[str, Any]:
    """Whether all that was acknowledged is in the log and in the record, once."""
    from sqlalchemy import func, select

    from ml.stores.fraud_tables import decisions
    from ml.stores.operations import Operations
    from ml.stores.serving_log import ServingLog

    log, lost, doubled = ServingLog.from_settings(settings), list[str](), list[str]()
    with Operations.from_settings(settings).transaction() as connection:
        counted = connection.execute(select(decisions.c.order_id, func.count()).group_by(decisions.c.order_id))
        recorded = {str(order): int(count) for order, count in counted}
    for payment_id, (order_id, decision_id, action) in history.decisions.items():
        kept = log.find("decision", decision_id)
        answer = _answer_of(json.loads(kept.body)) if kept else {}
        if kept is None or (answer.get("decision_id"), answer.get("action")) != (decision_id, action):
            lost.append(f"decision of {payment_id} in the log")
        if recorded.get(order_id, 0) != 1:
            (doubled if recorded.get(order_id, 0) > 1 else lost).append(f"decision of {order_id} in the record")
    lost += [f"event {name}" for name in history.events if log.find("interaction", name) is None]
    lost += [f"exposure {name}" for name in history.exposures if log.find("exposure", name) is None]
    doubled += _kept_twice(log)
    return {
        "acknowledged": history.acknowledged,
        "lost": lost[:50],
        "count_lost": len(lost),
        "doubled": [*doubled, *history.contradictions][:50],
        "count_doubled": len(doubled) + len(history.contradictions),
    }


def _answer_of(body: dict[str, Any]) -> dict[str, Any]:
    answer = body.get("answer", body)
    return answer if isinstance(answer, dict) else body


def _kept_twice(log: Any) -> list[str]:
    """What two entries are about, whatever keys they have: a payment is decided once."""
    seen: set[tuple[str, str]] = set()
    twice, position = [], 0
    while some := log.read_after(position, 5000):
        for one in some:
            is_decision = one.kind == "decision"
            about = one.kind, str(_answer_of(json.loads(one.body))["payment_id"]) if is_decision else one.key
            if about in seen:
                twice.append(" ".join(about))
            seen.add(about)
        position = some[-1].position
    return twice
