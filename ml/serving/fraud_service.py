"""Decisions on payments while the customer waits: inside the deadline, by declared steps, durable before the answer.

The ladder: the model with counted features; the model that was trained for missing ones; rules and the stand-in's
limits. Counted features get a share of the time that is left and no second attempt. Nothing is answered that is not in
the log; when the log cannot take a decision in time, there is none.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml.fraud.declaration import declaration
from ml.fraud.events import Attempt
from ml.fraud.online_state import Feature
from ml.fraud.state_records import state_digest
from ml.outcomes import ToolFailed
from ml.serving.column_lists import ColumnLists
from ml.serving.decision_drafts import Draft
from ml.serving.decision_lookup import find_decision
from ml.serving.decision_results import DecisionResult
from ml.serving.decision_together import DecisionsTogether, Undecided
from ml.serving.errors import NotInTime
from ml.serving.feature_lag import FeatureLag
from ml.serving.fraud_parts import FraudParts, built_in_parts
from ml.serving.reader import NotRead, StoreReader
from ml.serving.recent import Recent, seen_of
from ml.settings import Settings
from ml.stores.group_commit import GroupCommitter
from ml.stores.operations import Operations
from ml.stores.serving_log import Entry, LogUnavailable, Outcome, ServingLog
from ml.stores.state_store import open_state_store

FEATURES_SHARE = 0.4
"""Of the time that is left, what reading counted features may take."""
CHUNK = 8
"""Attempts of a batch that wait for the store and for the log together; in between, other requests are answered."""
SECONDS_PER_FURTHER_ATTEMPT = 0.01
"""Added to the deadline for each further attempt of a batch: nobody waits for one at a checkout."""

_ROUNDS = 3  # of deciding anew because an allowance was used up by somebody else meanwhile
_PRODUCT, _STORE = "fraud", "fraud_state"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Request:
    """What the attempts of one request have in common."""

    parts: FraudParts
    key: str | None
    digest: str
    deadline: float


class FraudService:
    """Decides attempts to pay, and finds decisions again. For one event loop.

    Args:
        parts: What decides now; None before anything could be loaded.
        metrics: `ml.serving.metrics.Metrics`; None counts nothing.
    """

    def __init__(
        self,
        settings: Settings,
        operations: Operations,
        log: ServingLog,
        committer: GroupCommitter,
        parts: Callable[[], FraudParts | None],
        metrics: Any = None,
    ) -> None:
        self._settings, self._operations, self._log, self._committer = settings, operations, log, committer
        self._parts, self._metrics = parts, metrics
        self._built_in = built_in_parts(settings)
        self._reader: StoreReader[bytes] = StoreReader(
            open_state_store(settings, state_digest(declaration())).read, "fraud-state"
        )
        self._columns = ColumnLists.from_settings(settings)
        self._recent, self._lag = Recent(settings, log), FeatureLag(settings, log)
        self._together = DecisionsTogether(settings, self._built_in, self._recent, self._columns)
        self._recent.start()
        self._newest_step: str | None = None

    async def decide(
        self,
        attempts: Sequence[Attempt],
        digests: Sequence[str],
        caller: str,
        idempotency_key: str | None,
        request_digest: str,
        received: float,
    ) -> list[DecisionResult]:
        """Decide attempts in their order.

        Args:
            digests: Of each attempt's canonical request (sha256, hexadecimal).
            caller: Name of the key.
            received: `time.perf_counter()` when the request's first byte was known.

        Raises:
            NotInTime: The log cannot take them in time. Those of a batch that it took are known when asked again.
        """
        allowed = self._settings.deadline_ms / 1000 + SECONDS_PER_FURTHER_ATTEMPT * (len(attempts) - 1)
        key = None if idempotency_key is None else f"{caller}:{idempotency_key}"
        request = _Request(self._parts() or self._built_in, key, request_digest, received + allowed)
        self._recent.keep_hours(
            max((rule.breaker.window_hours for rule in request.parts.engine.policy.rules), default=0)
        )
        results: list[DecisionResult] = []
        pairs = list(zip(attempts, digests, strict=True))
        for start in range(0, len(pairs), CHUNK):
            results += await self._decide_chunk(pairs[start : start + CHUNK], request)
        return results

    async def find(self, decision_id: str, replay: bool) -> dict[str, Any] | None:
        """A decision as it was answered, from the log or, for one made by a batch, from the operational record.

        Args:
            replay: Also decide again by the stored row, model and policy, and tell what differs.

        Raises:
            ToolFailed: Neither can be read.
        """
        return await asyncio.to_thread(
            find_decision, self._settings, self._operations, self._log, self._columns, decision_id, replay
        )

    def condition(self) -> dict[str, Any]:
        """For readiness: breaker (closed, half_open, open), step of the newest decision, age of the features."""
        return {
            "store": self._reader.breaker_state,
            "step": self._newest_step,
            "features_age_seconds": self._lag.seconds(),
            "is_model_loaded": (self._parts() or self._built_in).model_version is not None,
        }

    def close(self) -> None:
        """End the threads of this service."""
        self._recent.stop()
        self._lag.stop()
        self._reader.close()

    async def _decide_chunk(self, chunk: Sequence[tuple[Attempt, str]], request: _Request) -> list[DecisionResult]:
        counted, age = await self._counted([attempt for attempt, _ in chunk], request)
        results: dict[int, DecisionResult] = {}
        waiting = list(range(len(chunk)))
        for round_ in range(_ROUNDS + 1):
            undecided = [
                Undecided(
                    attempt=chunk[place][0],
                    digest=chunk[place][1],
                    parts=request.parts,
                    counted=counted[place],
                    age=None if counted[place] is None else age,
                    request=(request.key, request.digest) if number == 0 else (None, None),
                    deadline=request.deadline,
                    is_last=round_ == _ROUNDS,
                )
                for number, place in enumerate(waiting)
            ]
            drafts = await self._together.drafts(undecided)
            outcomes = await self._append([one.entry for one in drafts], request.deadline)
            for place, one, outcome in zip(tuple(waiting), drafts, outcomes, strict=True):
                if outcome.status == "spent":
                    self._refresh(one.basis.day)
                else:
                    results[place] = self._result(outcome, one)
                    waiting.remove(place)
            if not waiting:
                break
        return [results[place] for place in range(len(chunk))]

    async def _counted(
        self, attempts: Sequence[Attempt], request: _Request
    ) -> tuple[list[Mapping[str, Feature] | None], float | None]:
        """The counted features of each attempt, None where they are missing; and how far they lag."""
        engine = request.parts.engine
        budget = (request.deadline - time.perf_counter()) * FEATURES_SHARE
        try:
            records = await self._reader.read(engine.state_keys(attempts), budget)
        except NotRead:
            return [None] * len(attempts), None
        finally:
            if self._metrics is not None:
                self._metrics.breaker(_STORE, self._reader.breaker_state)
        found: list[Mapping[str, Feature] | None] = []
        for attempt in attempts:
            try:
                found.append(engine.counted(records, attempt))
            except ToolFailed:  # the state has gone on for too long since the attempt
                found.append(None)
            except Exception as error:  # noqa: BLE001 - a damaged record
                _LOG.error("counted features cannot be read: %s", type(error).__name__)
                found.append(None)
        return found, self._lag.seconds()

    def _refresh(self, day: str) -> None:
        try:
            self._recent.refresh_use(day)
        except LogUnavailable:
            raise NotInTime("the log cannot be read") from None

    async def _append(self, entries: Sequence[Entry], deadline: float) -> list[Outcome]:
        left = deadline - time.perf_counter()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                return await self._committer.append(entries)
        except (TimeoutError, LogUnavailable):
            raise NotInTime("the log cannot take the decision in time") from None

    def _result(self, outcome: Outcome, one: Draft) -> DecisionResult:
        event, decision_id = one.basis.attempt.event, one.entry.key
        if outcome.status == "conflict":
            return DecisionResult("conflict", decision_id, None)
        if outcome.status == "known":
            return DecisionResult("known", decision_id, json.loads(outcome.body)["answer"])
        self._recent.note_own(
            outcome.position, seen_of(event, one.decided.rule_trace), one.basis.day, one.decided.spends
        )
        self._newest_step = one.decided.step
        if self._metrics is not None:
            self._metrics.step(_PRODUCT, one.decided.step)
            self._metrics.feature_age(_PRODUCT, one.basis.age)
        return DecisionResult("decided", decision_id, one.answer)
