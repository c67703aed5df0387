"""The log's two ends on the command line: events are taken into it, and what is in it is brought to where it is needed.

The follower applies payments, labels and attempts to the state of fraud features, writes decisions into the
operational record, and scores again what was decided without the model.
"""

import gc
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TextIO

import click
from sqlalchemy.exc import OperationalError

from ml.cli.fraud.feed import history
from ml.cli.fraud.rescore import Rescorer
from ml.cli.fraud.settle import DECISION, Settler
from ml.fraud.declaration import declaration
from ml.fraud.events import EventRefused, LabelEvent, OrderEvent, event_of, parse_attempt, parse_event, posted_object
from ml.fraud.state_records import state_digest
from ml.fraud.state_updates import apply_events
from ml.outcomes import DataFailed, ToolFailed
from ml.serving.events import posted_entry
from ml.serving.memory import give_back, use_one_allocator
from ml.settings import Settings, get_settings, wall_clock
from ml.stores.durable import exclusive_lock_if_free
from ml.stores.log_entries import COUNTED_KINDS
from ml.stores.operations import Operations
from ml.stores.serving_log import Logged, ServingLog
from ml.stores.state_store import Position, StateConflict, StateStore, StateUnavailable, open_state_store

POST_BATCH = 500
APPLY_BATCH = 100
"""What the records of a batch take of memory grows with how busy their entities are; batches of 500 built a lost state
little faster, and took several times as much of it after a day of load (2026-11-23)."""
_IDLE_SECONDS = 0.2
_SETTLED_SECONDS = 1.0
"""While a lost state is built, decisions are settled so often: not after each batch, which would wait for the disk."""
_UNAVAILABLE_SECONDS = 1.0
_REFUSALS_SHOWN = 20


@dataclass
class Posted:
    """What became of posted lines.

    Attributes:
        taken: Events that are in the log, on disk.
        known: Those of them that were in it before.
        conflicts: Events under whose id something else is in the log; what is there stays.
        refused: (Line, which rule it broke); never a value.
    """

    taken: int = 0
    known: int = 0
    conflicts: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


def post_events(settings: Settings, lines: Iterable[str], now: datetime | None, *, flows_back: bool = True) -> Posted:
    """Check events, one JSON object a line, and take those that pass into the log.

    Args:
        now: What "future" is measured against; None for the shop's own history.
        flows_back: Whether they become rows of the shop's raw tables; false for what was read from those.
    """
    log, posted = ServingLog.from_settings(settings), Posted()
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    while batch := list(islice(numbered, POST_BATCH)):
        passed = []
        for number, line in batch:
            try:
                raw = posted_object(line)
                event_of(raw, now, settings.currency)
                passed.append(posted_entry(raw, flows_back=flows_back))
            except EventRefused as error:
                posted.refused.append((number, str(error)))
        if passed:
            statuses = Counter(outcome.status for outcome in log.append(passed))
            posted.taken += statuses["taken"] + statuses["known"]
            posted.known += statuses["known"]
            posted.conflicts += statuses["conflict"]
    return posted


def begin_if_needed(log: ServingLog, state: StateStore, *, is_rebuild: bool = False) -> Position:
    """Where to go on; a state that was lost or that another declaration built is begun anew, from the log's start.

    Raises:
        ToolFailed: The state is of another log: to build it from this one would lose what only that one held.
    """
    position, digest, log_id = state.position(), state_digest(declaration()), log.identity()
    if position is not None and position.log_id != log_id and not is_rebuild:
        raise ToolFailed(
            "the state of fraud features was built from another log of events than the one under the state folder: "
            "restore that log, or post the history again and build the state anew with --rebuild"
        )
    if position is None or position.built_by != digest or is_rebuild:
        position = Position(applied=0, needed=log.end(), built_by=digest, log_id=log_id)
        state.begin(position)
    return position


def apply_waiting(settings: Settings, log: ServingLog, state: StateStore, position: Position) -> Position:
    """Apply the next events of the log, and commit them with their position; the same position when none wait."""
    waiting = log.read_counted_after(position.applied, APPLY_BATCH)
    if not waiting:
        return position
    events: list[OrderEvent | LabelEvent] = []
    unreadable = {}
    for logged in waiting:
        if logged.kind not in COUNTED_KINDS:
            continue
        try:
            events.append(_event_of(logged, settings.currency))
        except EventRefused as error:  # taken in by other settings or an older version; it must not hold up the rest
            unreadable[logged.position] = str(error)
        except (ValueError, KeyError, TypeError) as error:
            unreadable[logged.position] = f"{logged.kind}: {type(error).__name__}"
    if unreadable:
        log.set_aside(unreadable)
    after = Position(waiting[-1].position, position.needed, position.built_by, position.log_id)
    with _without_collecting():
        updates = apply_events(_Unfinished(state), events, declaration())
    state.commit(updates, after, after=position)
    return after


def _event_of(logged: Logged, currency: str) -> OrderEvent | LabelEvent:
    """An entry as the state counts it; an attempt that was decided on has failed until its payment tells otherwise."""
    if logged.kind == DECISION:
        return parse_attempt(json.loads(logged.body), None, currency).event
    return parse_event(logged.body, None, currency)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """A batch makes many objects and no cycles: to look for some took a third of the time (2026-11-22)."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(frozen=True)
class _Unfinished:
    """The state as its builder reads it: whatever its position."""

    state: StateStore

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        return self.state.read_unfinished(list(keys))


def follow_log(settings: Settings, *, stops: threading.Event, is_once: bool, is_rebuild: bool = False) -> int:
    """Bring what is in the log to where it is needed, as it comes, until told to stop or until nothing waits.

    Returns:
        How many positions were applied to the state.

    Raises:
        ToolFailed: Another follower is at work, or, when it should end once none wait, a store does not answer.
    """
    with exclusive_lock_if_free(settings.shop_dir / "fraud" / "follow.lock") as is_held:
        if not is_held:
            raise ToolFailed("another `shopwright fraud follow` is at work for this shop")
        follower = _Follower(settings, is_rebuild=is_rebuild)
        return follower.drain() if is_once else follower.follow(stops)


class _Follower:
    """The state of fraud features first; then the operational record; then scores of what was decided blind.

    Each goes on from a place of its own, so that one store that is down holds up nobody else.
    """

    def __init__(self, settings: Settings, *, is_rebuild: bool) -> None:
        self._settings, self._is_rebuild = settings, is_rebuild
        self._log = ServingLog.from_settings(settings)
        self._state = open_state_store(settings, state_digest(declaration()), is_writer=True)
        self._position: Position | None = None
        self._record: tuple[Settler, Rescorer] | None = None
        self._without_decision = 0  # up to here the log has none, so that no record is needed
        self._told: dict[str, str] = {}

    def drain(self) -> int:
        """Until nothing waits; a store that does not answer raises."""
        applied = 0
        while count := self._apply():
            applied += count
        while self._settle():
            pass
        return applied

    def follow(self, stops: threading.Event) -> int:
        """As it comes. A store that does not answer is told of once, and waited for."""
        applied, settles_at = 0, 0.0
        while not stops.is_set():
            count = self._guarded("state", self._apply)
            applied += count or 0
            if count and self._is_building and time.monotonic() < settles_at:
                continue
            settled = self._guarded("record", self._settle)
            settles_at = time.monotonic() + _SETTLED_SECONDS
            if not count and not settled:
                stops.wait(_UNAVAILABLE_SECONDS if count is None or settled is None else _IDLE_SECONDS)
        return applied

    @property
    def _is_building(self) -> bool:
        """Nobody can read the state yet."""
        return self._position is not None and self._position.applied < self._position.needed

    def _guarded(self, store: str, work: Callable[[], int]) -> int | None:
        """What the work returned; None when its store does not answer."""
        try:
            count = work()
        except StateConflict:
            raise
        except (ToolFailed, OperationalError) as error:
            problem = str(error) if isinstance(error, ToolFailed) else f"the operational record: {type(error).__name__}"
            if self._told.get(store) != problem:
                click.echo(f"{problem}; what is posted waits in the log", err=True)
            self._told[store] = problem
            if isinstance(error, StateUnavailable):
                # What was being committed may be in or not: only the state knows its position.
                self._position = None
            return None
        self._told.pop(store, None)
        return count

    def _apply(self) -> int:
        """Apply the next events to the state; returns by how far it came. What was lost is built anew at once."""
        if self._position is None:
            self._position = begin_if_needed(self._log, self._state, is_rebuild=self._is_rebuild)
            self._is_rebuild = False
        before = self._position
        try:
            after = apply_waiting(self._settings, self._log, self._state, before)
        except StateConflict:
            if not self._lost_since(before):
                raise
        else:
            # It may also be lost while nothing happens.
            if after != before or not self._lost_since(before):
                self._position = after
                if before.applied < before.needed <= after.applied:
                    give_back()  # what building it took
                return after.applied - before.applied
        click.echo("the state of fraud features was lost, whole or in part; what is missing is applied again", err=True)
        self._position = None
        return self._apply()

    def _lost_since(self, before: Position) -> bool:
        """Whether the state was flushed, deleted or set back to a copy; who commits to it moves it on instead.

        Raises:
            StateConflict: Somebody else commits to it too.
        """
        now = self._state.position()
        if now is None:
            return True
        if now.applied > before.applied:
            raise StateConflict("the state of fraud features was changed by another process")
        return now != before

    def _settle(self) -> int:
        """Settle the next decisions and score the next blind ones; returns how many."""
        if self._record is None:
            end = self._log.end()
            if end == self._without_decision or not self._log.read_after(self._without_decision, 1, (DECISION,)):
                self._without_decision = end
                return 0
            operations = Operations.from_settings(self._settings)
            reader = open_state_store(self._settings, state_digest(declaration()))
            arguments = (self._settings, operations, self._log)
            self._record = Settler(*arguments), Rescorer(*arguments, reader)
        settler, rescorer = self._record
        settled = settler.settle_waiting()
        until = settler.settled if self._position is None else min(settler.settled, self._position.applied)
        return settled + (0 if self._position is None else rescorer.rescore_waiting(until))


@click.command()
@click.argument("file", type=click.File("r"), default="-")
@click.option("--history", "is_history", is_flag=True, help="Post the published marts' payments and labels instead.")
def post(file: TextIO, is_history: bool) -> None:
    """Take events (JSON lines of FILE or standard input) into the log; they are on disk when this says so."""
    settings = get_settings()
    lines, now = (history(settings), None) if is_history else (file, wall_clock())
    posted = post_events(settings, lines, now, flows_back=not is_history)
    click.echo(f"{posted.taken} events taken in")
    if posted.conflicts:
        click.echo(f"{posted.conflicts} events differ from what is kept under their ids, which stays", err=True)
    if posted.refused:
        for number, problem in posted.refused[:_REFUSALS_SHOWN]:
            click.echo(f"line {number}: {problem}", err=True)
        raise DataFailed(f"{len(posted.refused)} events refused; the others are taken in")


@click.command()
@click.option("--once", "is_once", is_flag=True, help="End when no event waits.")
@click.option("--rebuild", "is_rebuild", is_flag=True, help="Build the state anew from the log's start.")
def follow(is_once: bool, is_rebuild: bool) -> None:
    """Apply posted events to the state of fraud features as they come; Ctrl-C or SIGTERM ends it."""
    settings, stops = get_settings(), threading.Event()
    use_one_allocator()
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda _number, _frame: stops.set())
    count = follow_log(settings, stops=stops, is_once=is_once, is_rebuild=is_rebuild)
    log = ServingLog.from_settings(settings)
    click.echo(f"{count} events applied")
    if set_aside := log.count_set_aside():
        click.echo(f"{set_aside} events of the log cannot be read and are set aside", err=True)
