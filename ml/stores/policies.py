"""Policies of fraud decisions and their states, lists, hits of rules, and what a shop day has used up.

A policy is a draft, then in shadow (decides beside the active one, and nothing happens), then active; the one that was
active before is retired, and can come back. Every change keeps who, when and why.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import pandas as pd
from sqlalchemy import func, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import wall_clock
from ml.stores.fraud_tables import decisions, list_entries, policies, policy_changes, rule_hits
from ml.stores.operations import Operations

State = Literal["draft", "shadow", "active", "retired"]

_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "draft": ("shadow", "retired"),
    "shadow": ("active", "retired"),
    "retired": ("shadow", "active"),
    "active": (),  # it ends when another one takes its place
}
_LONGEST_WINDOW = timedelta(days=31)  # of a rule's circuit breaker
_AT_ONCE = 500


@dataclass(frozen=True)
class DayUse:
    """What has been used up of each shop day's limits by orders that are decided.

    Attributes:
        reviews: Orders sent to review.
        explored: Would-be declines that were let through.
        standin_cents: Value that the stand-in let through.
    """

    reviews: Mapping[date, int]
    explored: Mapping[date, int]
    standin_cents: Mapping[date, int]


def submit_policy(operations: Operations, *, version: str, body: str, by: str, reason: str = "submitted") -> bool:
    """Keep a policy as a draft. The same file again changes nothing; returns whether it is new."""
    row = {"version": version, "body": body, "state": "draft", "submitted_by": by, "submitted_at": wall_clock()}
    with operations.transaction() as connection:
        statement = operations.insert(policies).values(**row).on_conflict_do_nothing().returning(policies.c.id)
        is_new = connection.execute(statement).first() is not None
        if is_new:
            _note(connection, version, None, "draft", reason, by)
    return is_new


def change_state(operations: Operations, *, version: str, to: State, reason: str, by: str) -> str:
    """Move a policy to another state; returns the state that it was in. To where it is already changes nothing.

    Raises:
        DataFailed: The version is unknown, or the states do not follow each other.
        ToolFailed: Another policy was made active at the same moment.
    """
    try:
        with operations.transaction() as connection:
            return _change(connection, version, to, reason, by)
    except IntegrityError:
        raise ToolFailed("another policy was made active at the same moment; look, and try again") from None


def _change(connection: Connection, version: str, to: State, reason: str, by: str) -> str:
    found = connection.execute(select(policies.c.state).where(policies.c.version == version)).scalar()
    if found is None:
        raise DataFailed(f"no policy has the version {version}; `shopwright policy history` lists them")
    before = str(found)
    if before == to:
        return before
    if to not in _ALLOWED[before]:
        allowed = ", ".join(_ALLOWED[before]) or "nothing: it ends when another one becomes active"
        raise DataFailed(f"policy {version} is {before}; from there it can become {allowed}")
    if to == "active":
        active = connection.execute(select(policies.c.version).where(policies.c.state == "active")).scalars().all()
        for other in active:
            connection.execute(update(policies).where(policies.c.version == other).values(state="retired"))
            _note(connection, other, "active", "retired", f"{version} took its place", by)
    moved = update(policies).where(policies.c.version == version, policies.c.state == before).values(state=to)
    if connection.execute(moved).rowcount != 1:
        raise ToolFailed(f"policy {version} was changed at the same moment; look, and try again")
    _note(connection, version, before, to, reason, by)
    return before


def _note(connection: Connection, version: str, before: str | None, to: str, reason: str, by: str) -> None:
    row = {"version": version, "from_state": before, "to_state": to, "reason": reason, "changed_by": by}
    connection.execute(policy_changes.insert().values(**row, changed_at=wall_clock()))


def stored_policies(operations: Operations, state: State | None = None) -> list[dict[str, Any]]:
    """Rows of `fraud_policies`, oldest first."""
    return operations.rows(policies, state=state) if state else operations.rows(policies)


def policy_history(operations: Operations) -> list[dict[str, Any]]:
    """Every change of a policy's state, oldest first: who, when and why."""
    return operations.rows(policy_changes)


def add_list_entry(
    operations: Operations,
    *,
    list_name: str,
    entity: str,
    value: str,
    reason: str,
    by: str,
    expires_at: datetime | None,
) -> int:
    """Put an entity on a list; returns the entry's number. The same one again replaces the entry in force."""
    now = wall_clock()
    same = (list_entries.c.list_name == list_name) & (list_entries.c.entity == entity) & (list_entries.c.value == value)
    with operations.transaction() as connection:
        connection.execute(
            update(list_entries).where(same, list_entries.c.removed_at.is_(None)).values(removed_by=by, removed_at=now)
        )
        row = {"list_name": list_name, "entity": entity, "value": value, "reason": reason, "added_by": by}
        statement = list_entries.insert().values(**row, added_at=now, expires_at=expires_at)
        return int(connection.execute(statement.returning(list_entries.c.id)).scalar_one())


def remove_list_entry(operations: Operations, *, number: int, by: str) -> bool:
    """Take an entry off its list; False when it is not in force."""
    statement = (
        update(list_entries)
        .where(list_entries.c.id == number, list_entries.c.removed_at.is_(None))
        .values(removed_by=by, removed_at=wall_clock())
    )
    with operations.transaction() as connection:
        return bool(connection.execute(statement).rowcount)


def stored_list_entries(operations: Operations, *, removed_too: bool = False) -> list[dict[str, Any]]:
    """Rows of `fraud_list_entries`, oldest first; whether one has expired is for the order to say."""
    rows = operations.rows(list_entries)
    return rows if removed_too else [row for row in rows if row["removed_at"] is None]


def record_rule_hits(operations: Operations, hits: pd.DataFrame) -> int:
    """Store what rules matched (`ml.fraud.rules.hits`). What is stored stays; returns how many rows are new."""
    rows = hits.assign(ordered_at=pd.to_datetime(hits["ordered_at"], utc=True)).to_dict("records")
    new = 0
    with operations.transaction() as connection:
        for start in range(0, len(rows), _AT_ONCE):
            values = [_plain(row) for row in rows[start : start + _AT_ONCE]]
            statement = operations.insert(rule_hits).values(values).on_conflict_do_nothing().returning(rule_hits.c.id)
            new += len(connection.execute(statement).all())
    return new


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row whose values the database's driver knows."""
    moment = pd.Timestamp(row["ordered_at"]).to_pydatetime(warn=False)
    return {
        **{str(name): value for name, value in row.items()},
        "ordered_at": moment,
        "is_capped": bool(row["is_capped"]),
    }


def past_hits(operations: Operations, since: datetime, until: datetime) -> pd.DataFrame:
    """Hits of rules on orders of [since - the longest window of a circuit breaker, until]: columns of the table."""
    names = ["rule", "policy_version", "order_id", "ordered_at", "action", "is_capped"]
    statement = select(*(rule_hits.c[name] for name in names)).where(
        rule_hits.c.ordered_at >= since - _LONGEST_WINDOW, rule_hits.c.ordered_at <= until
    )
    with operations.transaction() as connection:
        rows = [tuple(row) for row in connection.execute(statement)]
    return pd.DataFrame(rows, columns=names)


def past_order_times(operations: Operations, since: datetime, until: datetime) -> list[datetime]:
    """When the decided orders of [since - the longest window, until] were attempted."""
    statement = select(decisions.c.ordered_at).where(
        decisions.c.ordered_at >= since - _LONGEST_WINDOW, decisions.c.ordered_at <= until
    )
    with operations.transaction() as connection:
        return list(connection.execute(statement).scalars())


def day_use(operations: Operations, days: Iterable[date]) -> DayUse:
    """What decided orders have used up of these shop days."""
    keys = [day.isoformat() for day in days]
    c = decisions.c
    is_review = c.action == "review"
    explored = c.would_decline.is_(True) & is_review
    let_through = (c.source == "standin") & (c.action == "approve")
    return DayUse(
        reviews=_by_day(operations, func.count(), is_review, keys),
        explored=_by_day(operations, func.count(), explored, keys),
        standin_cents=_by_day(operations, func.sum(c.amount_cents), let_through, keys),
    )


def _by_day(operations: Operations, amount: Any, condition: Any, keys: list[str]) -> dict[date, int]:
    day = decisions.c.partition
    with operations.transaction() as connection:
        found = connection.execute(select(day, amount).where(condition, day.in_(keys)).group_by(day)).all()
    return {date.fromisoformat(key): int(value) for key, value in found}
