"""Attempts that wait at the same moment are decided in one call: many cost little more than one.

Nobody waits for others to come: what is ready in one turn of the event loop goes together, which is one attempt while
there is little to do, and more the more there is. Each comes out as if it were decided alone.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ml.fraud.engine import DayUse, Decided
from ml.fraud.events import Attempt
from ml.fraud.online_state import Feature
from ml.serving.column_lists import ColumnLists
from ml.serving.decision_drafts import Basis, Draft, draft
from ml.serving.decision_record import moment_of
from ml.serving.errors import NotInTime
from ml.serving.fraud_parts import FraudParts
from ml.serving.recent import Recent, Seen, seen_of
from ml.settings import Settings, wall_clock
from ml.stores.serving_log import LogUnavailable

MOST_TOGETHER = 16
"""Attempts of one call: in between, other requests are answered."""

_USED_UP = DayUse(reviews=10**12, explored=10**12, standin_cents=10**15)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Undecided:
    """An attempt, and what was found out about it.

    Attributes:
        digest: sha256 of its canonical request.
        counted: Its counted features; None where they are missing.
        age: By how many seconds they lag; None without them.
        request: As `Basis` has it.
        deadline: When its answer is of no use any more, by `time.perf_counter()`.
        is_last: Others were quicker again and again: nothing more is taken from an allowance.
    """

    attempt: Attempt
    digest: str
    parts: FraudParts
    counted: Mapping[str, Feature] | None
    age: float | None
    request: tuple[str | None, str | None]
    deadline: float
    is_last: bool


@dataclass(frozen=True)
class _Waiting:
    one: Undecided
    seen: Seen
    answer: "asyncio.Future[Draft]"


class DecisionsTogether:
    """Decides what waits. For one event loop.

    Args:
        built_in: What decides when a model or a policy cannot.
    """

    def __init__(self, settings: Settings, built_in: FraudParts, recent: Recent, columns: ColumnLists) -> None:
        self._settings, self._built_in, self._recent, self._columns = settings, built_in, recent, columns
        self._waiting: list[_Waiting] = []

    async def drafts(self, some: Sequence[Undecided]) -> list[Draft]:
        """Decide attempts; answers are in their order.

        Raises:
            NotInTime: One cannot be decided, or its deadline has passed.
        """
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(one, seen_of(one.attempt.event, None), loop.create_future()) for one in some]
        if not self._waiting:
            loop.call_soon(self._turn, loop)
        self._waiting += waiting
        return await asyncio.gather(*(one.answer for one in waiting))

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Decide those that go together; the others have the next turn, behind what came in meanwhile."""
        now, self._waiting = _apart(_in_time(self._waiting))
        if self._waiting:
            loop.call_soon(self._turn, loop)
        if now:
            self._answer(now)

    def _answer(self, group: Sequence[_Waiting]) -> None:
        try:
            drafts = self._decide([one.one for one in group])
        except Exception as error:  # noqa: BLE001 - told to who waits
            if len(group) == 1:
                group[0].answer.set_exception(error)
                return
            drafts = []
        if not drafts:  # what one of them is, or takes, concerns none of the others
            for one in group:
                self._answer([one])
            return
        for one, made in zip(group, drafts, strict=True):
            one.answer.set_result(made)

    def _decide(self, some: Sequence[Undecided]) -> list[Draft]:
        """Decide what no log holds yet; nothing of several among whom an allowance ran out."""
        engine = some[0].parts.engine
        attempts = [one.attempt for one in some]
        days = [engine.shop_day(attempt) for attempt in attempts]
        use = self._use(days, is_last=some[0].is_last)
        bases = [
            Basis(
                attempt=one.attempt,
                digest=one.digest,
                day=day,
                age=one.age,
                decided_at=self._now(one.attempt),
                velocities=self._recent.velocities(one.attempt.event) if one.counted is None else None,
                use=use[day],
                request=one.request,
            )
            for one, day in zip(some, days, strict=True)
        ]
        parts, decided_on, decided = self._decided(bases, [one.counted for one in some], use, some[0].parts)
        if len(some) > 1 and engine.has_shared_out(attempts, decided, use):
            return []
        for attempt in attempts:
            self._recent.note_attempt(seen_of(attempt.event, None))
        return [draft(basis, one, parts, self._columns) for basis, one in zip(decided_on, decided, strict=True)]

    def _decided(
        self,
        bases: Sequence[Basis],
        counted: Sequence[Mapping[str, Feature] | None],
        use: Mapping[str, DayUse],
        parts: FraudParts,
    ) -> tuple[FraudParts, Sequence[Basis], list[Decided]]:
        """Decide; a model or policy that cannot is passed over, and the built-in stand-in answers.

        Of several, one may be what it cannot decide: then each is tried by itself.
        """
        history, nothing = self._recent.history(), [None] * len(bases)
        attempts = [one.attempt for one in bases]
        if len(bases) > 1:
            return parts, bases, parts.engine.decide(attempts, counted, _velocities(bases), use, history)
        for those, features in ((parts, counted), (parts, nothing), (self._built_in, nothing)):
            if features is nothing:
                bases = [replace(one, velocities=self._recent.velocities(one.attempt.event)) for one in bases]
            try:
                return those, bases, those.engine.decide(attempts, features, _velocities(bases), use, history)
            except Exception as error:  # noqa: BLE001 - a customer waits, whatever a model or a policy throws
                what = (those.model_version, those.policy_version, type(error).__name__)
                _LOG.error("%s with %s cannot decide: %s", *what)
        raise NotInTime("nothing can decide")

    def _use(self, days: Sequence[str], *, is_last: bool) -> dict[str, DayUse]:
        asked = list(dict.fromkeys(days))
        if is_last:
            return dict.fromkeys(asked, _USED_UP)
        try:
            return self._recent.use_of(asked)
        except LogUnavailable:
            raise NotInTime("the log cannot be read") from None

    def _now(self, attempt: Attempt) -> datetime:
        """Shop time of the decision: now; in a replayed shop, which lives in its past, the attempt's own moment."""
        return wall_clock() if self._settings.last_day is None else moment_of(attempt.event.attempted_at)


def _velocities(bases: Sequence[Basis]) -> list[Mapping[str, int] | None]:
    return [one.velocities for one in bases]


def _in_time(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """Those whose answer is still waited for; the others are told, and cost nothing more."""
    now, kept = time.perf_counter(), []
    for one in waiting:
        if one.answer.done():
            continue
        if one.one.deadline <= now:
            one.answer.set_exception(NotInTime("the deadline has passed"))
        else:
            kept.append(one)
    return kept


def _apart(waiting: Sequence[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
    """Those that go together now, and the others, both in their order.

    Never two of one order, customer, card or device: the first changes what holds for the next.
    """
    now: list[_Waiting] = []
    later: list[_Waiting] = []
    met: set[tuple[str, str]] = set()
    for one in waiting:
        about = {("order_id", one.seen.order_id), *one.seen.values.items()}
        if now and (len(now) == MOST_TOGETHER or about & met or not _is_alike(one.one, now[0].one)):
            later.append(one)
        else:
            now.append(one)
        met |= about
    return now, later


def _is_alike(one: Undecided, other: Undecided) -> bool:
    return one.parts is other.parts and one.is_last == other.is_last
