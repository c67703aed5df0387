"""Incidents: what is wrong now, told once.

An incident is (kind, object, rule), without run or day. It opens at the first failure, counts the shop
days on which it is seen, reminds once a day of the wall clock, and closes only when the same check
passes on the same or a later shop day. Each of these stores an alert row in the same transaction;
`ml.alerts.notify` sends the rows afterwards.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.engine import Connection

from ml.outcomes import ToolFailed
from ml.settings import wall_clock
from ml.stores.operations import Operations, alerts, incident_sightings, incidents

Severity = Literal["warn", "alert", "unknown"]

KINDS = frozenset(
    {
        "bias",
        "delivery_failed",
        "drift",
        "feature_changed",
        "follower_behind",
        "gate_failed",
        "gate_unknown",
        "labels_suspect",
        "parity_failed",
        "performance",
        "promotion_refused",
        "registry_mismatch",
        "rows_set_aside",
        "rule_capped",
        "schema_changed",
        "scrub_failed",
        "selftest_failed",
        "serving_refused",
        "stale_data",
        "standin_active",
        "task_failed",
    }
)
"""Every kind has a runbook of its name in docs/runbooks/."""

REMIND_AFTER = timedelta(days=1)
_BADNESS = {"warn": 0, "unknown": 1, "alert": 2}
_TITLE_LIMIT = 200
_BODY_LIMIT = 4000
_RACE_ATTEMPTS = 25


@dataclass(frozen=True)
class _Key:
    kind: str
    object: str
    rule: str

    def matches(self) -> Any:
        return and_(incidents.c.kind == self.kind, incidents.c.object == self.object, incidents.c.rule == self.rule)


def open_incident(
    operations: Operations,
    *,
    kind: str,
    object: str,  # noqa: A002 - the word that the operational record uses
    rule: str,
    partition: date,
    severity: Severity,
    title: str,
    body: str,
) -> bool:
    """Record that a check failed on a shop day. The same day again neither counts nor alerts.

    Args:
        kind: What failed, such as `gate_failed` or `drift`.
        object: What it was about: a table, a model product, a task.
        rule: The broken rule.
        title: One line; counts and names, never values.
        body: What happened and what to do; counts and names, never values.

    Returns:
        True when an alert was stored: the incident is new, worse than before, or due for a reminder.
    """
    assert kind in KINDS, f"{kind} is no kind of incident; the kinds are {', '.join(sorted(KINDS))}"
    key = _Key(kind, object, rule)
    told = {"severity": severity, "title": _one_line(title), "body": body.strip()[:_BODY_LIMIT]}
    for _attempt in range(_RACE_ATTEMPTS):
        with operations.transaction() as connection:
            opened = _insert_open(operations, connection, key, partition, told)
            if opened is None:
                return False
            incident_id, is_new = opened
            if is_new:
                _see(operations, connection, incident_id, partition)
                _store_alert(connection, incident_id, "opened", told["title"], told["body"])
                return True
            incident = _lock_open(connection, incident_id)
            if incident is not None:
                return _repeat(operations, connection, incident, partition, told)
        # Somebody closed it between our two statements: decide anew.
    raise ToolFailed(f"incident {kind} of {object} ({rule}) kept changing under {_RACE_ATTEMPTS} attempts to record it")


def _insert_open(
    operations: Operations, connection: Connection, key: _Key, partition: date, told: dict[str, str]
) -> tuple[int, bool] | None:
    """The open incident's id and whether it is new; None for a day that was told already and has been overtaken."""
    now = wall_clock()
    row = {
        "kind": key.kind,
        "object": key.object,
        "rule": key.rule,
        "state": "open",
        "count": 1,
        "opened_partition": partition.isoformat(),
        "last_partition": partition.isoformat(),
        "opened_at": now,
        "last_seen_at": now,
        **told,
    }
    # The write comes first: it takes the database's lock, so that what is read next cannot change under us.
    inserted = connection.execute(
        operations.insert(incidents).values(**row).on_conflict_do_nothing().returning(incidents.c.id)
    ).scalar()
    if inserted is None:
        existing = connection.execute(select(incidents.c.id).where(key.matches(), incidents.c.state == "open")).scalar()
        return (existing, False) if existing is not None else (-1, False)
    if _is_overtaken(connection, key, partition):
        connection.execute(delete(incidents).where(incidents.c.id == inserted))
        return None
    return inserted, True


def _is_overtaken(connection: Connection, key: _Key, partition: date) -> bool:
    """Whether this day's failure was told before, and a later day has passed since: an old day run again."""
    earlier = (
        select(incidents.c.id)
        .join(incident_sightings, incident_sightings.c.incident_id == incidents.c.id)
        .where(
            key.matches(),
            incidents.c.state == "closed",
            incidents.c.closed_partition > partition.isoformat(),
            incident_sightings.c.partition == partition.isoformat(),
        )
    )
    return connection.execute(earlier).first() is not None


def _lock_open(connection: Connection, incident_id: int) -> dict[str, Any] | None:
    found = connection.execute(
        select(incidents).where(incidents.c.id == incident_id, incidents.c.state == "open").with_for_update()
    ).first()
    return dict(found._mapping) if found else None


def _see(operations: Operations, connection: Connection, incident_id: int, partition: date) -> bool:
    """Note a shop day of an incident; True when it had not been noted."""
    seen = operations.insert(incident_sightings).values(incident_id=incident_id, partition=partition.isoformat())
    statement = seen.on_conflict_do_nothing().returning(incident_sightings.c.id)
    return connection.execute(statement).first() is not None


def _repeat(
    operations: Operations, connection: Connection, incident: dict[str, Any], partition: date, told: dict[str, str]
) -> bool:
    if not _see(operations, connection, incident["id"], partition):
        return False
    now = wall_clock()
    is_worse = _BADNESS[told["severity"]] > _BADNESS[incident["severity"]]
    is_due = now - (incident["reminded_at"] or incident["opened_at"]) >= REMIND_AFTER
    is_newest = partition.isoformat() >= incident["last_partition"]
    changes: dict[str, Any] = {"count": incidents.c.count + 1, "last_seen_at": now}
    if is_newest:
        changes |= {"last_partition": partition.isoformat(), **told}
    if is_worse:
        changes["severity"] = told["severity"]
    if is_worse or is_due:
        changes["reminded_at"] = now
        _store_alert(
            connection,
            incident["id"],
            "worsened" if is_worse else "reminder",
            told["title"],
            f"{told['body']}\n\n{_history({**incident, 'count': incident['count'] + 1})}",
        )
    connection.execute(update(incidents).where(incidents.c.id == incident["id"]).values(**changes))
    return is_worse or is_due


def close_incident(
    operations: Operations,
    *,
    kind: str,
    object: str,  # noqa: A002 - the word that the operational record uses
    rule: str,
    partition: date,
) -> bool:
    """Record that the check passed on a shop day; closes the open incident unless it was seen on a later day.

    Returns:
        True when an incident was closed.
    """
    with operations.transaction() as connection:
        closed = connection.execute(
            update(incidents)
            .where(
                _Key(kind, object, rule).matches(),
                incidents.c.state == "open",
                incidents.c.last_partition <= partition.isoformat(),
            )
            .values(state="closed", closed_at=wall_clock(), closed_partition=partition.isoformat())
            .returning(*incidents.c)
        ).first()
        if closed is None:
            return False
        incident = dict(closed._mapping)
        body = f"The check passed on shop day {partition.isoformat()}.\n\n{_history(incident)}"
        _store_alert(connection, incident["id"], "closed", _one_line(f"Recovered: {incident['title']}"), body)
        return True


def store_due_reminders(operations: Operations) -> int:
    """Remind of open incidents that nobody has been told of for a day, also when their check no longer runs."""
    now = wall_clock()
    last_told = func.coalesce(incidents.c.reminded_at, incidents.c.opened_at)
    with operations.transaction() as connection:
        due = connection.execute(
            update(incidents)
            .where(incidents.c.state == "open", last_told <= now - REMIND_AFTER)
            .values(reminded_at=now)
            .returning(*incidents.c)
        ).all()
        for row in due:
            incident = dict(row._mapping)
            body = f"{incident['body']}\n\n{_history(incident)}"
            _store_alert(connection, incident["id"], "reminder", incident["title"], body)
    return len(due)


def _store_alert(connection: Connection, incident_id: int, purpose: str, title: str, body: str) -> None:
    now = wall_clock()
    connection.execute(
        alerts.insert().values(
            incident_id=incident_id,
            purpose=purpose,
            title=title,
            body=body,
            created_at=now,
            delivery="pending",
            next_attempt_at=now,
        )
    )


def _history(incident: dict[str, Any]) -> str:
    days = incident["count"]
    return f"Open since shop day {incident['opened_partition']}; seen on {days} shop day{'s' if days != 1 else ''}."


def _one_line(text: str) -> str:
    """A title that cannot break out of an e-mail's header."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:_TITLE_LIMIT]
