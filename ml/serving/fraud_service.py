"""Decisions on payments while the customer waits: inside the deadline, by declared steps, durable before the answer.

The ladder: the model with counted features; the model that was trained for missing ones; rules and the stand-in's
limits. Counted features get a share of the time that is left and no second attempt. Nothing is answered that is not in
the log; when the log cannot take a decision in time, there is none.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ml.fraud.declaration import declaration
from ml.fraud.engine import DayUse, Decided
from ml.fraud.events import Attempt
from ml.fraud.online_state import Feature
from ml.fraud.state_records import state_digest
from ml.outcomes import ToolFailed
from ml.serving.column_lists import ColumnLists
from ml.serving.decision_drafts import Basis, Draft, draft
from ml.serving.decision_lookup import find_decision
from ml.serving.decision_record import moment_of
from ml.serving.decision_results import DecisionResult, Unavailable, public_view
from ml.serving.feature_lag import FeatureLag
from ml.serving.fraud_parts import FraudParts, built_in_parts
from ml.serving.reader import NotRead, StoreReader
from ml.serving.recent import Recent, seen_of
from ml.settings import Settings, wall_clock
from ml.stores.group_commit import GroupCommitter
from ml.stores.operations import Operations
from ml.stores.serving_log import Entry, LogUnavailable, Outcome, ServingLog
from ml.stores.state_store import open_state_store

__all__ = ["DecisionResult", "FraudService", "Unavailable", "public_view"]

FEATURES_SHARE = 0.4
"""Of the time that is left, what reading counted features may take."""
CHUNK = 8
"""Attempts of a batch that are decided together; in between, other requests are answered."""
SECONDS_PER_FURTHER_ATTEMPT = 0.01
"""Added to the deadline for each further attempt of a batch: nobody waits for one at a checkout."""

_ROUNDS = 3  # of deciding anew because an allowance was used up by somebody else meanwhile
_USED_UP = DayUse(reviews=10**12, explored=10**12, standin_cents=10**15)
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
            Unavailable: The log cannot take them in time. Those of a batch that it took are known when asked again.
        """
        allowed = self._settings.deadline_ms / 1000 + SECONDS_PER_FURTHER_ATTEMPT * (len(attempts) - 1)
        key = None if idempotency_key is None else f"{caller}:{idempotency_key}"
        request = _Request(self._parts() or self._built_in, key, request_digest, received + allowed)
        self._recent.keep_hours(
            max((rule.breaker.window_hours for rule in request.parts.engine.policy.rules), default=0)
        )
        results: list[DecisionResult] = []
        for chunk in _chunks(list(zip(attempts, digests, strict=True))):
            results += await self._decide_chunk(chunk, request)
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
            pairs, features = [chunk[place] for place in waiting], [counted[place] for place in waiting]
            drafts = self._drafts(pairs, features, age, request, is_last=round_ == _ROUNDS)
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

    def _drafts(
        self,
        pairs: Sequence[tuple[Attempt, str]],
        counted: Sequence[Mapping[str, Feature] | None],
        age: float | None,
        request: _Request,
        *,
        is_last: bool,
    ) -> list[Draft]:
        """Decide what no log holds yet."""
        days = [request.parts.engine.shop_day(attempt) for attempt, _ in pairs]
        use = self._use(list(dict.fromkeys(days)), is_last=is_last)
        bases = [
            Basis(
                attempt=attempt,
                digest=digest,
                day=days[number],
                age=None if counted[number] is None else age,
                decided_at=self._now(attempt),
                velocities=self._recent.velocities(attempt.event),
                use=use[days[number]],
                request=(request.key, request.digest) if number == 0 else (None, None),
            )
            for number, (attempt, digest) in enumerate(pairs)
        ]
        parts, decided = self._decided(bases, counted, use, request)
        for attempt, _ in pairs:
            self._recent.note_attempt(seen_of(attempt.event, None))
        return [draft(basis, one, parts, self._columns) for basis, one in zip(bases, decided, strict=True)]

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

    def _decided(
        self,
        bases: Sequence[Basis],
        counted: Sequence[Mapping[str, Feature] | None],
        use: Mapping[str, DayUse],
        request: _Request,
    ) -> tuple[FraudParts, list[Decided]]:
        """Decide; a model or policy that cannot is passed over, and the built-in stand-in answers."""
        history, nothing = self._recent.history(), [None] * len(bases)
        attempts, velocities = [one.attempt for one in bases], [one.velocities for one in bases]
        for parts, features in ((request.parts, counted), (request.parts, nothing), (self._built_in, nothing)):
            try:
                return parts, parts.engine.decide(attempts, features, velocities, use, history)
            except Exception as error:  # noqa: BLE001 - a customer waits, whatever a model or a policy throws
                what = (parts.model_version, parts.policy_version, type(error).__name__)
                _LOG.error("%s with %s cannot decide: %s", *what)
        raise Unavailable("nothing can decide")

    def _use(self, days: Sequence[str], *, is_last: bool) -> dict[str, DayUse]:
        if is_last:  # others were quicker three times: nothing more is taken from an allowance
            return dict.fromkeys(days, _USED_UP)
        try:
            return self._recent.use_of(days)
        except LogUnavailable:
            raise Unavailable("the log cannot be read") from None

    def _refresh(self, day: str) -> None:
        try:
            self._recent.refresh_use(day)
        except LogUnavailable:
            raise Unavailable("the log cannot be read") from None

    async def _append(self, entries: Sequence[Entry], deadline: float) -> list[Outcome]:
        left = deadline - time.perf_counter()
        try:
            async with asyncio.timeout(max(left, 0.0)):
                return await self._committer.append(entries)
        except (TimeoutError, LogUnavailable):
            raise Unavailable("the log cannot take the decision in time") from None

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

    def _now(self, attempt: Attempt) -> datetime:
        """Shop time of the decision: now; in a replayed shop, which lives in its past, the attempt's own moment."""
        return wall_clock() if self._settings.last_day is None else moment_of(attempt.event.attempted_at)


def _chunks(pairs: Sequence[tuple[Attempt, str]]) -> Iterator[list[tuple[Attempt, str]]]:
    """A few at a time; never two of one order, customer, card or device: the first changes what holds for the next."""
    chunk: list[tuple[Attempt, str]] = []
    met: set[tuple[str, str]] = set()
    for pair in pairs:
        seen = seen_of(pair[0].event, None)
        about = {("order_id", seen.order_id), *seen.values.items()}
        if chunk and (len(chunk) == CHUNK or about & met):
            yield chunk
            chunk, met = [], set()
        chunk.append(pair)
        met |= about
    if chunk:
        yield chunk
