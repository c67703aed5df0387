"""Posted events, taken in: checked, made durable, each once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml.fraud.events import EventRefused
from ml.serving.errors import Refusal
from ml.serving.events import read_event
from ml.settings import Settings
from ml.stores.group_commit import GroupCommitter
from ml.stores.serving_log import Entry, LogUnavailable, Outcome, RequestRecord, ServingLog

TAKE_SECONDS = 5.0
"""Events may wait longer than answers that a customer waits for; they are not lost either way, for they come again."""
_READ_AT_ONCE = 20  # events, some milliseconds: decisions on the same loop go between


@dataclass(frozen=True)
class TakenEvents:
    """What became of the events of one request.

    Attributes:
        taken: Events that are in the log now, on disk, and were not before.
        known: Events that were in it before, equal.
        conflicts: Indexes of events under whose key something else is in the log; what is there stays.
        refused: (Index, path of the field, which rule it broke); never a value. With any, nothing is taken.
    """

    taken: int
    known: int
    conflicts: tuple[int, ...] = ()
    refused: tuple[tuple[int, str, str], ...] = ()


class EventService:
    """Takes posted events into the serving log.

    Args:
        metrics: Told of events and what became of them, by `events(outcome, count)`.
    """

    def __init__(self, settings: Settings, log: ServingLog, committer: GroupCommitter, metrics: Any = None) -> None:
        self._settings, self._log, self._committer, self._metrics = settings, log, committer, metrics

    async def take(
        self,
        raw_events: Sequence[Mapping[str, Any]],
        caller: str,
        idempotency_key: str | None,
        request_digest: str,
    ) -> TakenEvents:
        """Take events in, all or none when one breaks a rule; conflicts do not hold up the others.

        The same request under the same idempotency key gets the same answer for 24 hours.

        Args:
            raw_events: JSON objects, already read.
            caller: Name of the key.
            request_digest: sha256 of the whole canonical request, hexadecimal.

        Raises:
            Refusal: 422, the idempotency key was used with another request.
            LogUnavailable: They cannot be taken in, or not in time; asking again is safe.
        """
        key = None if idempotency_key is None else f"{caller}:{idempotency_key}"
        if key is not None and (record := self._log.find_request(key)) is not None:
            return _answered(record, request_digest)
        entries, refused = await self._read(raw_events)
        if refused:
            self._count("refused", len(refused))
            return TakenEvents(0, 0, refused=tuple(refused))
        if not entries:
            return TakenEvents(0, 0)
        entries[0] = replace(entries[0], idempotency_key=key, request_digest=request_digest)
        outcomes = await self._append(entries)
        if any(outcome.position == 0 for outcome in outcomes):  # another request came in between under the same key
            raise key_reused()
        for status in ("taken", "known", "conflict"):
            self._count(status, sum(outcome.status == status for outcome in outcomes))
        return _told(outcomes)

    def _count(self, outcome: str, count: int) -> None:
        if self._metrics is not None and count:
            self._metrics.events(outcome, count)

    async def _read(self, raw_events: Sequence[Mapping[str, Any]]) -> tuple[list[Entry], list[tuple[int, str, str]]]:
        now, currency = self._settings.event_horizon(), self._settings.currency
        entries, refused = [], []
        for index, raw in enumerate(raw_events):
            if index and index % _READ_AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                entries.append(read_event(raw, now, currency))
            except EventRefused as error:
                refused.append((index, error.field, str(error).partition(": ")[2]))
        return entries, refused

    async def _append(self, entries: Sequence[Entry]) -> list[Outcome]:
        try:
            async with asyncio.timeout(TAKE_SECONDS):
                return await self._committer.append(entries)
        except TimeoutError:
            raise LogUnavailable(f"the serving log: not written within {TAKE_SECONDS:.0f} s") from None


def key_reused() -> Refusal:
    return Refusal(422, "idempotency_key_reused", "This Idempotency-Key was used with another request.")


def _answered(record: RequestRecord, request_digest: str) -> TakenEvents:
    if record.digest != request_digest:
        raise key_reused()
    return _told(record.outcomes)


def _told(outcomes: Sequence[Outcome]) -> TakenEvents:
    statuses = [outcome.status for outcome in outcomes]
    conflicts = tuple(index for index, status in enumerate(statuses) if status == "conflict")
    return TakenEvents(statuses.count("taken"), statuses.count("known"), conflicts)
