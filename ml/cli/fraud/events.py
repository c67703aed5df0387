"""Events posted while the shop is open: taken into the log, and applied to the state of fraud features."""

import json
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TextIO

import click

from ml.fraud.declaration import declaration
from ml.fraud.events import LABEL, PAYMENT, EventRefused, LabelEvent, OrderEvent, parse_event
from ml.fraud.state_records import state_digest
from ml.fraud.state_updates import apply_events
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, get_settings, wall_clock
from ml.stores.durable import exclusive_lock_if_free
from ml.stores.event_log import EventLog
from ml.stores.state_store import Position, StateConflict, StateStore, StateUnavailable, open_state_store

POST_BATCH = 500
APPLY_BATCH = 500
_IDLE_SECONDS = 0.2
_UNAVAILABLE_SECONDS = 1.0
_REFUSALS_SHOWN = 20
# Mart -> how a row of it is posted. An order's first attempt stands for its payment: the mart keeps no others.
_HISTORY = {
    PAYMENT: """
        select order_id as payment_id, order_id, customer_id, attempted_at, instrument_hash, device_hash, ip_hash,
            ip_country, shipping_address_hash, billing_address_hash, email_domain, account_created_at, channel,
            terminal_id, amount_cents, currency, first_outcome as outcome
        from fct_order_payments order by attempted_at, order_id
    """,
    LABEL: "select label_id, order_id, is_fraud, known_at, label_source from fct_fraud_labels order by known_at",
}


@dataclass
class Posted:
    """What became of posted lines.

    Attributes:
        taken: Events that are in the log, on disk.
        refused: (Line, which rule it broke); never a value.
    """

    taken: int = 0
    refused: list[tuple[int, str]] = field(default_factory=list)


def post_events(settings: Settings, lines: Iterable[str], now: datetime | None) -> Posted:
    """Check events, one JSON object a line, and take those that pass into the log.

    Args:
        now: What "future" is measured against; None for the shop's own history.
    """
    log, posted = EventLog.from_settings(settings), Posted()
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    while batch := list(islice(numbered, POST_BATCH)):
        passed = []
        for number, line in batch:
            try:
                parse_event(line, now, settings.currency)
                passed.append(line.strip())
            except EventRefused as error:
                posted.refused.append((number, str(error)))
        if passed:
            log.append(passed)
            posted.taken += len(passed)
    return posted


def history(settings: Settings) -> Iterator[str]:
    """The published marts' payments and labels as events."""
    from ml.stores.warehouse import open_marts

    connection = open_marts(settings).connect()
    for kind, query in _HISTORY.items():
        rows = connection.execute(query)
        columns = [column[0] for column in rows.description]
        while some := rows.fetchmany(POST_BATCH):
            yield from (_body(kind, dict(zip(columns, row, strict=True))) for row in some)


def _body(kind: str, row: Mapping[str, object]) -> str:
    values = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    return json.dumps({"type": kind, **values}, separators=(",", ":"))


def begin_if_needed(log: EventLog, state: StateStore, *, is_rebuild: bool = False) -> Position:
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


def apply_waiting(settings: Settings, log: EventLog, state: StateStore, position: Position) -> Position:
    """Apply the next events of the log, and commit them with their position; the same position when none wait."""
    waiting = log.read_after(position.applied, APPLY_BATCH)
    if not waiting:
        return position
    events: list[OrderEvent | LabelEvent] = []
    unreadable = {}
    for logged in waiting:
        try:
            events.append(parse_event(logged.body, None, settings.currency))
        except EventRefused as error:  # taken in by other settings or an older version; it must not hold up the rest
            unreadable[logged.position] = str(error)
    if unreadable:
        log.set_aside(unreadable)
    after = Position(waiting[-1].position, position.needed, position.built_by, position.log_id)
    updates = apply_events(_Unfinished(state), events, declaration())
    state.commit(updates, after, after=position)
    return after


@dataclass(frozen=True)
class _Unfinished:
    """The state as its builder reads it: whatever its position."""

    state: StateStore

    def read(self, keys: Iterable[str]) -> dict[str, bytes]:
        return self.state.read_unfinished(list(keys))


def follow_log(settings: Settings, *, stops: threading.Event, is_once: bool, is_rebuild: bool = False) -> int:
    """Apply events as they come until told to stop, or until none wait.

    Returns:
        How many positions were gone through.

    Raises:
        ToolFailed: Another follower is at work, or, when it should end once none wait, the state does not answer.
    """
    log = EventLog.from_settings(settings)
    state = open_state_store(settings, state_digest(declaration()), is_writer=True)
    with exclusive_lock_if_free(settings.shop_dir / "fraud" / "follow.lock") as is_held:
        if not is_held:
            raise ToolFailed("another `shopwright fraud follow` is at work for this shop")
        return _follow(settings, log, state, stops, is_once, is_rebuild)


def _follow(
    settings: Settings, log: EventLog, state: StateStore, stops: threading.Event, is_once: bool, is_rebuild: bool
) -> int:
    applied, position, is_down = 0, None, False
    while not stops.is_set():
        try:
            if position is None:
                position, is_rebuild = begin_if_needed(log, state, is_rebuild=is_rebuild), False
            after = apply_waiting(settings, log, state, position)
        except StateConflict:
            raise
        except StateUnavailable as error:
            if is_once:
                raise
            if not is_down:
                click.echo(f"{error}; events wait in the log", err=True)
            # What was being committed may be in or not: only the state knows its position.
            position, is_down = None, True
            stops.wait(_UNAVAILABLE_SECONDS)
            continue
        is_down = False
        applied += after.applied - position.applied
        if after == position:
            if is_once:
                break
            position = _still(state, position)
            stops.wait(_IDLE_SECONDS)
        else:
            position = after
    return applied


def _still(state: StateStore, position: Position) -> Position | None:
    """The position if the state still has it: one that was flushed while nothing happened is built anew at once."""
    return position if state.position() == position else None


@click.command()
@click.argument("file", type=click.File("r"), default="-")
@click.option("--history", "is_history", is_flag=True, help="Post the published marts' payments and labels instead.")
def post(file: TextIO, is_history: bool) -> None:
    """Take events (JSON lines of FILE or standard input) into the log; they are on disk when this says so."""
    settings = get_settings()
    lines, now = (history(settings), None) if is_history else (file, wall_clock())
    posted = post_events(settings, lines, now)
    click.echo(f"{posted.taken} events taken in")
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
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda _number, _frame: stops.set())
    count = follow_log(settings, stops=stops, is_once=is_once, is_rebuild=is_rebuild)
    log = EventLog.from_settings(settings)
    click.echo(f"{count} events applied")
    if set_aside := log.count_set_aside():
        click.echo(f"{set_aside} events of the log cannot be read and are set aside", err=True)
