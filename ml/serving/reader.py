"""One thread reads a store for all requests that wait: what came together goes in one round trip.

The event loop never touches the store: what is asked in one of its turns is handed to the thread together. A request
waits for its answer as long as its budget allows and no longer: a store that is frozen holds up the thread, never the
loop. Five failures in a row open the circuit breaker; then requests are told at once.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ml.outcomes import ToolFailed
from ml.serving.breaker import CircuitBreaker, State

LONGEST_BATCH = 256
"""So many requests that wait go in one round trip; what was asked in one turn of the loop is not parted."""

V = TypeVar("V")


class NotRead(Exception):
    """What was asked for could not be read in time; `reason` says why in one word.

    Attributes:
        reason: `late` (no answer within the budget), `unavailable` (the store said so) or `breaker_open`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class _Waiting(Generic[V]):
    keys: Sequence[str]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Mapping[str, V]]"
    began: float = field(default_factory=time.monotonic)


class StoreReader(Generic[V]):
    """Reads by key from one store, on a thread of its own. For one event loop.

    Args:
        read: Records by key, absent ones left out; blocking, with a time limit of its own. Called by the one thread.
        name: Of the thread.
    """

    def __init__(
        self, read: Callable[[Sequence[str]], Mapping[str, V]], name: str, breaker: CircuitBreaker | None = None
    ) -> None:
        self._read = read
        self._breaker = CircuitBreaker() if breaker is None else breaker
        self._last_failure = 0.0
        self._asked: list[_Waiting[V]] = []
        self._waiting: queue.SimpleQueue[list[_Waiting[V]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    @property
    def breaker_state(self) -> State:
        return self._breaker.state

    async def read(self, keys: Sequence[str], budget_seconds: float) -> Mapping[str, V]:
        """Records by key; absent ones are left out, and there may be others beside those asked for.

        Raises:
            NotRead: Not within the budget, or not at all.
        """
        if not self._breaker.allows():
            raise NotRead("breaker_open")
        if budget_seconds <= 0:  # says nothing about the store
            self._breaker.abandoned()
            raise NotRead("late")
        loop = asyncio.get_running_loop()
        waiting = _Waiting[V](keys, loop, loop.create_future())
        if not self._asked:
            loop.call_soon(self._hand_over)
        self._asked.append(waiting)
        # Cheaper than asyncio's own limits, which every request would pay for.
        timer = loop.call_later(budget_seconds, _give_up, waiting)
        try:
            found = await waiting.answer
        except TimeoutError:
            self._failed(waiting)
            raise NotRead("late") from None
        except ToolFailed:
            self._failed(waiting)
            raise NotRead("unavailable") from None
        except BaseException:  # the request was given up
            self._breaker.abandoned()
            raise
        finally:
            timer.cancel()
        self._breaker.succeeded()
        return found

    def close(self) -> None:
        """End the thread once it has answered; who waits then is told `late`."""
        self._waiting.put(None)
        self._thread.join(timeout=1.0)

    def _hand_over(self) -> None:
        asked, self._asked = self._asked, []
        self._waiting.put(asked)

    def _failed(self, waiting: _Waiting[V]) -> None:
        """Requests that waited at the same time saw the same failure: it counts once."""
        if waiting.began >= self._last_failure:
            self._last_failure = time.monotonic()
            self._breaker.failed()

    def _serve(self) -> None:
        asked = self._waiting.get()
        while asked is not None:
            batch = list(asked)
            while len(batch) < LONGEST_BATCH:
                try:
                    asked = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if asked is None:
                    break
                batch += asked
            # Who gave up is not read for: after a pause of the store nobody pays for those who went away.
            self._answer([one for one in batch if not one.answer.done()])
            asked = None if asked is None else self._waiting.get()

    def _answer(self, batch: list[_Waiting[V]]) -> None:
        if not batch:
            return
        keys = batch[0].keys if len(batch) == 1 else list(dict.fromkeys(key for one in batch for key in one.keys))
        try:
            found: Mapping[str, V] | None = self._read(keys)
            error = None
        except ToolFailed as failed:
            found, error = None, failed
        except Exception as other:  # noqa: BLE001 - the thread must live on, whatever a store's client throws
            found, error = None, ToolFailed(type(other).__name__)
        try:
            batch[0].loop.call_soon_threadsafe(_hand_out, batch, found, error)
        except RuntimeError:  # the loop has ended
            return


def _give_up(waiting: _Waiting[V]) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(TimeoutError())


def _hand_out(batch: Iterable[_Waiting[V]], found: Mapping[str, V] | None, error: ToolFailed | None) -> None:
    for one in batch:
        if one.answer.done():
            continue
        if found is not None:
            one.answer.set_result(found)
        else:
            one.answer.set_exception(error or ToolFailed("not read"))
