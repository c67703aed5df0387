"""The review queue: cases that analysts take, decide, or let go.

A case is opened by a decision to review and is taken under a lease, so that nobody's lunch break holds it for ever.
Every change is one conditional UPDATE: of two analysts who want the same case, one gets it and the other is told who
has it. A verdict becomes a label; the trail of who did what when is only ever added to.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.engine import Connection

from ml.outcomes import DataFailed
from ml.settings import wall_clock
from ml.stores.decision_log import ACTIONS
from ml.stores.fraud_tables import decisions, review_cases, review_events
from ml.stores.operations import Operations

VERDICTS = ("fraud", "legitimate")
STATES = ("open", "claimed", "decided", "expired")
LEASE = timedelta(minutes=30)
NOTE_CHARACTERS = 2000

_CHUNK = 500
_CLAIM_ATTEMPTS = 20
# Looking at a case without its long texts.
_LISTED = ("order_id", "decision_id", "partition", "expected_saving_cents", "state", "claimed_by", "claim_expires_at")


class UnknownCase(DataFailed):
    """The order has no case to review."""


class CaseTaken(Exception):
    """Somebody else has the case, or it is settled; the message says which, and names who."""


def open_cases(operations: Operations, order_ids: Collection[str] | None = None) -> list[str]:
    """Open a case for each decision to review that has none. Doing it again changes nothing.

    Args:
        order_ids: Only of these orders, a few hundred at most; None looks through all decisions that there are.

    Returns:
        The orders whose case is new.
    """
    wanted = (
        select(decisions.c.order_id, decisions.c.decision_id, decisions.c.partition)
        .add_columns(decisions.c.expected_saving_cents, decisions.c.expected_costs)
        .outerjoin(review_cases, review_cases.c.order_id == decisions.c.order_id)
        .where(decisions.c.action == "review", review_cases.c.id.is_(None))
        .order_by(decisions.c.id)
    )
    if order_ids is not None:
        wanted = wanted.where(decisions.c.order_id.in_(order_ids))
    with operations.transaction() as connection:
        waiting = [dict(row._mapping) for row in connection.execute(wanted)]
    opened = []
    for start in range(0, len(waiting), _CHUNK):
        with operations.transaction() as connection:
            for decision in waiting[start : start + _CHUNK]:
                statement = operations.insert(review_cases).values(
                    order_id=decision["order_id"],
                    decision_id=decision["decision_id"],
                    partition=decision["partition"],
                    expected_saving_cents=_saving(decision),
                    state="open",
                    opened_at=wall_clock(),
                )
                if connection.execute(statement.on_conflict_do_nothing(index_elements=["order_id"])).rowcount:
                    _note_event(connection, decision["order_id"], "opened", None)
                    opened.append(str(decision["order_id"]))
    return opened


def open_case(
    operations: Operations, *, order_id: str, decision_id: str, partition: str, expected_saving_cents: float, note: str
) -> bool:
    """Open a case for an order whose decision asked for none; False where it has one.

    Args:
        note: Why, for the trail.
    """
    row = {"order_id": order_id, "decision_id": decision_id, "partition": partition, "state": "open"}
    statement = operations.insert(review_cases).values(
        **row, expected_saving_cents=expected_saving_cents, opened_at=wall_clock()
    )
    with operations.transaction() as connection:
        is_new = connection.execute(statement.on_conflict_do_nothing(index_elements=["order_id"])).rowcount == 1
        if is_new:
            _note_event(connection, order_id, "opened", None, note)
    return is_new


def _saving(decision: dict[str, Any]) -> float:
    """What looking at the order is expected to save against the cheapest other action."""
    if decision["expected_saving_cents"] is not None:
        return float(decision["expected_saving_cents"])
    costs = decision["expected_costs"] or {}
    others = [costs[action] for action in ACTIONS if action != "review" and costs.get(action) is not None]
    return float(min(others) - costs["review"]) if others and costs.get("review") is not None else 0.0


def queue(operations: Operations, *, limit: int = 50, claimed_by: str | None = None) -> list[dict[str, Any]]:
    """Cases that can be taken, or those that an analyst has, the largest expected saving first."""
    now = wall_clock()
    chosen = _is_free(now) if claimed_by is None else and_(_is_held(now), review_cases.c.claimed_by == claimed_by)
    statement = (
        select(*(review_cases.c[name] for name in _LISTED))
        .where(chosen)
        .order_by(review_cases.c.expected_saving_cents.desc(), review_cases.c.order_id)
        .limit(limit)
    )
    with operations.transaction() as connection:
        return [dict(row._mapping) for row in connection.execute(statement)]


def case_of(operations: Operations, order_id: str) -> dict[str, Any]:
    """An order's case.

    Raises:
        UnknownCase: It has none.
    """
    found = operations.rows(review_cases, order_id=order_id)
    if not found:
        raise UnknownCase("no case to review for this order")
    return found[0]


def claim(operations: Operations, order_id: str, by: str, lease: timedelta = LEASE) -> dict[str, Any]:
    """Take a case for the time of the lease; taking one's own again begins the lease anew.

    Raises:
        UnknownCase: The order has no case.
        CaseTaken: Somebody else has it, or it is settled.
    """
    now = wall_clock()
    mine = and_(review_cases.c.state == "claimed", review_cases.c.claimed_by == by)
    taken = {"state": "claimed", "claimed_by": by, "claimed_at": now, "claim_expires_at": now + lease}
    if not _change(operations, order_id, or_(_is_free(now), mine), taken, "claimed", by):
        raise _refusal(operations, order_id)
    return case_of(operations, order_id)


def claim_next(operations: Operations, by: str, lease: timedelta = LEASE) -> dict[str, Any] | None:
    """Take the free case with the largest expected saving; None when there is none."""
    for _attempt in range(_CLAIM_ATTEMPTS):
        waiting = queue(operations, limit=1)
        if not waiting:
            return None
        try:
            return claim(operations, str(waiting[0]["order_id"]), by, lease)
        except CaseTaken:  # by somebody quicker
            continue
    raise CaseTaken(f"{_CLAIM_ATTEMPTS} cases were taken by others first; ask again")


def release(operations: Operations, order_id: str, by: str) -> dict[str, Any]:
    """Give a case back to the queue.

    Raises:
        UnknownCase: The order has no case.
        CaseTaken: It is not this analyst's.
    """
    mine = and_(review_cases.c.state == "claimed", review_cases.c.claimed_by == by)
    given_back = {"state": "open", "claimed_by": None, "claimed_at": None, "claim_expires_at": None}
    if not _change(operations, order_id, mine, given_back, "released", by):
        raise _refusal(operations, order_id)
    return case_of(operations, order_id)


def decide(
    operations: Operations, order_id: str, *, by: str, verdict: str, decided_at: datetime, note: str = ""
) -> dict[str, Any]:
    """Give a verdict, which becomes a label known from `decided_at` on. The same verdict again changes nothing.

    A free case need not be taken first; one that somebody else holds cannot be decided.

    Args:
        decided_at: Shop time of the verdict. It is never before the decision that opened the case.

    Raises:
        UnknownCase: The order has no case.
        CaseTaken: Somebody else has it, or it is settled otherwise.
        DataFailed: There is no such verdict, or the note is too long.
    """
    if verdict not in VERDICTS:
        raise DataFailed(f"review_cases.verdict: expected one of {', '.join(VERDICTS)}")
    if len(note) > NOTE_CHARACTERS:
        raise DataFailed(f"review_cases.note: expected at most {NOTE_CHARACTERS} characters")
    now = wall_clock()
    mine = and_(review_cases.c.state == "claimed", review_cases.c.claimed_by == by)
    made = operations.rows(decisions, order_id=order_id)
    told = {
        "state": "decided",
        "verdict": verdict,
        "decided_by": by,
        "decided_at": max([decided_at, *(row["decided_at"] for row in made)]),
        "note": note or None,
        "recorded_at": now,
        "claimed_by": None,
        "claim_expires_at": None,
    }
    if not _change(operations, order_id, or_(_is_free(now), mine), told, "decided", by, verdict):
        case = case_of(operations, order_id)
        if (case["state"], case["verdict"], case["decided_by"]) != ("decided", verdict, by):
            raise _refusal(operations, order_id)
    return case_of(operations, order_id)


def expire(operations: Operations, *, before: date | None = None, orders: Sequence[str] = (), why: str) -> int:
    """Close cases that nobody holds: those of orders of shop days before a day, or those of some orders.

    Args:
        orders: For example those whose label has become known without a review.

    Returns:
        How many were closed.
    """
    now, count = wall_clock(), 0
    with operations.transaction() as connection:
        found = select(review_cases.c.order_id, review_cases.c.partition).where(_is_free(now))
        free = [(str(row.order_id), row.partition) for row in connection.execute(found)]
    known = set(orders)
    for order_id, partition in free:
        if order_id in known or (before is not None and partition < before.isoformat()):
            changes = {"state": "expired", "claimed_by": None, "claim_expires_at": None}
            count += _change(operations, order_id, _is_free(now), changes, "expired", None, why)
    return count


def counts(operations: Operations) -> dict[str, int]:
    """How many cases there are in each state."""
    with operations.transaction() as connection:
        states = [str(state) for state in connection.execute(select(review_cases.c.state)).scalars()]
    return {state: states.count(state) for state in STATES}


def events(operations: Operations, order_id: str) -> list[dict[str, Any]]:
    """Who did what with an order's case, oldest first."""
    return operations.rows(review_events, order_id=order_id)


def _is_held(now: datetime) -> ColumnElement[bool]:
    return and_(review_cases.c.state == "claimed", review_cases.c.claim_expires_at > now)


def _is_free(now: datetime) -> ColumnElement[bool]:
    """Open, or claimed under a lease that has run out."""
    lapsed = and_(review_cases.c.state == "claimed", review_cases.c.claim_expires_at <= now)
    return or_(review_cases.c.state == "open", lapsed)


def _change(
    operations: Operations,
    order_id: str,
    condition: ColumnElement[bool],
    changes: dict[str, Any],
    event: str,
    by: str | None,
    note: str | None = None,
) -> bool:
    """One conditional UPDATE, with its line in the trail. Whether it found the case as the condition wants it."""
    statement = review_cases.update().where(review_cases.c.order_id == order_id, condition).values(**changes)
    with operations.transaction() as connection:
        is_done = connection.execute(statement).rowcount == 1
        if is_done:
            _note_event(connection, order_id, event, by, note)
    return is_done


def _note_event(connection: Connection, order_id: str, event: str, by: str | None, note: str | None = None) -> None:
    row = {"order_id": order_id, "event": event, "by": by, "note": note, "happened_at": wall_clock()}
    connection.execute(review_events.insert().values(**row))


def _refusal(operations: Operations, order_id: str) -> CaseTaken:
    case = case_of(operations, order_id)
    if case["state"] == "decided":
        return CaseTaken(f"the case was decided by {case['decided_by']}")
    if case["state"] == "expired":
        return CaseTaken("the case was closed without a verdict")
    if case["state"] == "claimed":
        return CaseTaken(
            f"the case is held by {case['claimed_by']} until {case['claim_expires_at']:%Y-%m-%d %H:%M} UTC"
        )
    return CaseTaken("nobody holds the case")
