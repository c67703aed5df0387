"""A small shop whose payments are decided over HTTP: a model of two inputs, attempts, and the service around them."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ml.fraud.baselines import LogisticBaseline
from ml.fraud.calibration import Calibration
from ml.fraud.events import Attempt, parse_attempt
from ml.fraud.inputs import Bounds
from ml.fraud.line import Line
from ml.serving.decision_results import DecisionResult
from ml.serving.fraud_parts import FraudParts, load_fraud
from ml.serving.fraud_service import FraudService
from ml.settings import Settings
from ml.stores.bundles import save_bundle
from ml.stores.group_commit import GroupCommitter
from ml.stores.operations import Operations
from ml.stores.registry import promote
from ml.stores.serving_log import ServingLog

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
INPUTS = ("account_age_days", "count_orders_customer_ever")
WITHIN_SECONDS = 30


def of_shop(state_dir: Path | str, **settings: Any) -> Settings:
    """Settings of a shop that replays March 2024; the deadline is generous, since tests share their machine."""
    days = {"first_day": date(2024, 1, 1), "bootstrap_day": date(2024, 3, 1), "last_day": date(2024, 3, 31)}
    given = {"shop_id": "smallshop", "deadline_ms": 2000, "simulate_payments": False, **days, **settings}
    return Settings(_env_file=None, state_dir=Path(state_dir), **given)


def install_model(settings: Settings, intercept: float = -6.0) -> str:
    """Make a model champion that says the same log-odds of every order; returns its version."""
    line = Line(np.zeros(2), np.ones(2), np.zeros(2), np.zeros(2), intercept)
    model = LogisticBaseline(INPUTS, line, Calibration(), Bounds(np.full(2, np.inf), 0.9))
    manifest = {"kind": "baseline", "name": model.name, "trained_partition": "2024-03-03", "features": list(INPUTS)}
    bundle = save_bundle(settings, "fraud", manifest, model.files())
    promote(settings, "fraud", bundle.version, date(2024, 3, 3))
    return bundle.version


def attempt(number: int, **fields: Any) -> tuple[Attempt, str]:
    """An attempt to pay of an established customer, within the stand-in's limits, and the digest of its request."""
    raw: dict[str, Any] = {
        "payment_id": f"p{number}",
        "order_id": f"o{number:04}",
        "attempted_at": (NOON + timedelta(seconds=number)).isoformat(),
        "amount_cents": 5000,
        "currency": "USD",
        "customer_id": f"c{number}",
        "instrument_hash": f"i{number}",
        "device_hash": f"d{number}",
        "account_created_at": "2020-01-01T00:00:00+00:00",
        **fields,
    }
    raw = {name: value for name, value in raw.items() if value is not None}
    return parse_attempt(raw, None, "USD"), hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()


class Serving:
    """A service over the stores of a shop.

    Attributes:
        parts: What decides; set it to switch.
    """

    def __init__(self, settings: Settings, parts: FraudParts | None) -> None:
        self.settings, self.parts = settings, parts
        self.operations, self.log = Operations.from_settings(settings), ServingLog.from_settings(settings)
        self.committer = GroupCommitter(self.log)
        self.service = FraudService(settings, self.operations, self.log, self.committer, lambda: self.parts)

    async def decide(self, *pairs: tuple[Attempt, str], key: str | None = None) -> list[DecisionResult]:
        attempts, digests = [one for one, _ in pairs], [digest for _, digest in pairs]
        return await self.service.decide(attempts, digests, "checkout", key, "f" * 64, time.perf_counter())

    async def answer(self, number: int, **fields: Any) -> dict[str, Any]:
        result = (await self.decide(attempt(number, **fields)))[0]
        assert result.answer is not None, result
        return dict(result.answer)

    async def until_step(self, step: str, numbers: Callable[[], int]) -> dict[str, Any]:
        """Decide fresh attempts until one is decided by a step."""
        ends_at = time.monotonic() + WITHIN_SECONDS
        while True:
            answer = await self.answer(numbers())
            if answer["step"] == step:
                return answer
            assert time.monotonic() < ends_at, f"still {answer['step']}, not {step}"
            await asyncio.sleep(0.05)

    def close(self) -> None:
        self.service.close()
        self.committer.close()


@asynccontextmanager
async def serving(settings: Settings, *, has_model: bool = False) -> AsyncIterator[Serving]:
    """A service that has read its log, by the champion or by the built-in stand-in."""
    parts = load_fraud(settings, Operations.from_settings(settings)) if has_model else None
    made = Serving(settings, parts)
    try:
        while not made.service._recent.is_ready:
            await asyncio.sleep(0.01)
        yield made
    finally:
        made.close()
