"""Appends of many requests wait for the disk together.

One thread takes all that wait and commits them in one transaction, while the next ones gather: the disk's
synchronisation is paid once for a group, and no request waits for more than two of them.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from ml.stores.serving_log import Entry, LogUnavailable, Outcome, ServingLog

MOST_WAITING = 10_000
LARGEST_GROUP = 200  # requests; a transaction stays within tens of milliseconds
_CHECKPOINT_SECONDS = 0.25


@dataclass(frozen=True)
class _Waiting:
    entries: Sequence[Entry]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[list[Outcome]]"


class GroupCommitter:
    """The one thread of a process that appends to the serving log.

    Args:
        on_commit: Told of each transaction: its seconds and its number of requests.

    Attributes:
        is_failing: The newest transaction failed because the log could not be written.
    """

    def __init__(self, log: ServingLog, on_commit: Callable[[float, int], None] | None = None) -> None:
        self._log, self._on_commit = log, on_commit
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._wakes_on: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self.is_failing = False
        self._commits = 0
        self._closes = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name="log-committer", daemon=True),
            threading.Thread(target=self._checkpoint, name="log-checkpointer", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    async def append(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Take in the entries of one request; they are on disk when this returns.

        Who stops waiting (a deadline, `asyncio.timeout`) withdraws entries whose transaction has not begun; later
        they may be kept though nobody waited. Asked again, they are `known`.

        Raises:
            LogUnavailable: They cannot be taken in; none of them is kept.
        """
        if not entries:
            return []
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Outcome]] = loop.create_future()
        with self._changed:
            if self._is_closed:
                raise LogUnavailable("the serving log: this process is ending")
            if len(self._waiting) >= MOST_WAITING:
                raise LogUnavailable(f"the serving log: {MOST_WAITING} requests wait for the disk already")
            self._waiting.append(_Waiting(entries, loop, answer))
            if self._wakes_on is not loop:  # once the others of this turn are here: they go in the same transaction
                self._wakes_on = loop
                loop.call_soon(self._wake)
        return await answer

    def close(self) -> None:
        """Commit what waits and end; idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._closes.set()
        for thread in self._threads:
            thread.join()

    def _wake(self) -> None:
        with self._changed:
            self._wakes_on = None
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                count = min(len(self._waiting), LARGEST_GROUP)
                group = [self._waiting.popleft() for _ in range(count)]
            if not group:
                return
            self._commit([waiting for waiting in group if not waiting.answer.cancelled()])

    def _commit(self, group: Sequence[_Waiting]) -> None:
        if not group:
            return
        started = time.perf_counter()
        answers: list[list[Outcome] | Exception]
        try:
            answers = list(self._log.append_requests([waiting.entries for waiting in group]))
        except LogUnavailable as error:
            answers = [error] * len(group)
        except Exception as error:  # noqa: BLE001 - whatever one request's entries are, the others are taken in
            answers = [error] if len(group) == 1 else [self._commit_alone(waiting) for waiting in group]
        self.is_failing = any(isinstance(answer, LogUnavailable) for answer in answers)
        self._commits += 1
        if self._on_commit is not None:
            self._on_commit(time.perf_counter() - started, len(group))
        _answer(list(zip(group, answers, strict=True)))

    def _commit_alone(self, waiting: _Waiting) -> list[Outcome] | Exception:
        try:
            return self._log.append(waiting.entries)
        except Exception as error:  # noqa: BLE001 - told to who waits
            return error

    def _checkpoint(self) -> None:
        """Beside the committing thread, so that requests wait little for the main file to be written."""
        done = 0
        while not self._closes.wait(_CHECKPOINT_SECONDS):
            if self._commits == done:
                continue
            done = self._commits
            try:
                self._log.checkpoint()
            except LogUnavailable:
                continue  # SQLite tries at a later commit; appends tell of a file that cannot be written


def _answer(answered: Sequence[tuple[_Waiting, list[Outcome] | Exception]]) -> None:
    for loop, of_loop in groupby(answered, key=lambda pair: pair[0].loop):
        try:
            loop.call_soon_threadsafe(_set, list(of_loop))
        except RuntimeError:  # the loop is closed: nobody waits
            continue


def _set(answered: Sequence[tuple[_Waiting, list[Outcome] | Exception]]) -> None:
    for waiting, answer in answered:
        if waiting.answer.done():
            continue
        if isinstance(answer, Exception):
            waiting.answer.set_exception(answer)
        else:
            waiting.answer.set_result(answer)
