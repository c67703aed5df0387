"""Waiting until nobody can write a row of a past day any more.

A row carries the moment at which its transaction began or wrote it, and appears when the transaction ends. Who reads a
day just after midnight would miss what is still being written, and the next day's batch would not bring it either.
"""

import time
from datetime import date, datetime, timedelta

from psycopg import Connection

from ml.outcomes import DataFailed, ToolFailed

PATIENCE_SECONDS = 300.0
_POLL_SECONDS = 0.2
# The database's clock may be a little behind the one that started us.
_SKEW = timedelta(minutes=2)
# A transaction that has been open for longer than this is not waited for.
_RECENT = timedelta(days=1)

# Transactions of this database that have written something. When they began is told to their own role and to members of
# pg_monitor only; who may not know takes them all for older.
_WRITERS = """
select l.transactionid::text
from pg_catalog.pg_locks as l
join pg_catalog.pg_stat_activity as a on a.pid = l.pid
where
    l.locktype = 'transactionid'
    and l.mode = 'ExclusiveLock'
    and l.granted
    and a.datname = current_database()
    and (a.xact_start is null or a.xact_start < %s)
"""


def await_settled(connection: Connection, end_day: date, until: datetime) -> None:
    """Wait until the days before `until` have ended by the database's clock, and their writers are done.

    Raises:
        DataFailed: The last day has not ended.
        ToolFailed: A transaction that may have begun on the last day stays open.
    """
    behind = until - _clock(connection)
    if behind > _SKEW:
        raise DataFailed(
            f"{end_day - timedelta(days=1)} has not ended by the source database's clock; a day is read when it is over"
        )
    time.sleep(max(0.0, behind.total_seconds()))
    if _clock(connection) - until > _RECENT:
        return
    waited_for = _writers(connection, until)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while waited_for:
        if time.monotonic() > deadline:
            raise ToolFailed(
                f"{len(waited_for)} transactions of the source database that may have begun before "
                f"{until:%Y-%m-%d %H:%M} UTC are still open; the day would be read without their rows"
            )
        time.sleep(_POLL_SECONDS)
        waited_for &= _writers(connection, until)


def _clock(connection: Connection) -> datetime:
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None, "a select without a table has one row"
    moment: datetime = row[0]
    return moment


def _writers(connection: Connection, until: datetime) -> set[str]:
    connection.rollback()  # within one transaction, who is active would be told once and remembered
    return {row[0] for row in connection.execute(_WRITERS, (until,))}
