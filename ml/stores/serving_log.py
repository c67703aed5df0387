"""The log of what the shop posted and what it was answered: what is acknowledged is in here, on disk, in one order.

A SQLite file under the state folder, written with full synchronisation. It has one writer at a time, so positions
become visible in their order: who has read up to one has missed none before it. The log is kept whole: from it the
state of fraud features is built anew when it is lost, and its rows flow back to the shop's raw tables. It is the one
place that keeps personal content of requests; what is counted beside it holds digests only.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from ml.settings import Settings, wall_clock
from ml.stores.log_entries import (
    ATTEMPT_KINDS,
    COUNTED_KINDS,
    Entry,
    Kind,
    Logged,
    Outcome,
    ProfilingConsent,
    RequestRecord,
    Spend,
    microseconds,
    moment,
)
from ml.stores.log_file import LogFile, LogUnavailable
from ml.stores.log_judging import REQUESTS_KEPT, JudgedRequest

__all__ = [
    "Entry", "Kind", "LogUnavailable", "Logged", "Outcome", "ProfilingConsent", "RequestRecord", "ServingLog", "Spend",
]  # fmt: skip

_READ_AT_ONCE = 1000
_LOGGED = "position, kind, key, body, taken_at"
# A decision's body is many times its attempt, and whoever counts reads all of them when a state is built anew.
_COUNTED = f"""
    select position, kind, key, case
        when kind = 'decision' then coalesce(case when json_valid(body) then json_extract(body, '$.attempt') end, '')
        when kind in ({", ".join(f"'{kind}'" for kind in COUNTED_KINDS)}) then body
        else ''
    end, taken_at
    from entries where position > ? order by position limit ?
"""  # noqa: S608 - own names
_FIND = f"select {_LOGGED} from entries where kind = ? and key = ?"  # noqa: S608 - own names
# Who counts what happened lately reads each decision in every process; all but its attempt and rules would be memory.
_ATTEMPT = """
    case when kind = 'decision' and json_valid(body) then json_extract(body, '$.attempt', '$.explained.rule_trace')
        else body
    end
"""
_ATTEMPTS_AFTER = f"""
    select position, kind, key, {_ATTEMPT}, taken_at from entries
    where position > ? and position <= ? and +kind in ({", ".join(f"'{kind}'" for kind in ATTEMPT_KINDS)})
        and position not in (select value from json_each(?))
    order by position limit ?
"""  # noqa: S608 - own names
_BETWEEN = """
    select event_at, position, kind, key, {body}, taken_at from entries
    where (event_at, position) > (?, ?) and kind = ? and event_at < ?
    order by event_at, position limit ?
"""
_ATTEMPTS_BETWEEN = _BETWEEN.format(body=_ATTEMPT)
_FLOWING_BACK = _BETWEEN.format(body="body").replace("where", "where flows_back and")
_LATE = f"""
    select taken_at, {_LOGGED} from entries
    where flows_back and (taken_at, position) > (?, ?) and kind = ? and event_at < ? and taken_at <= ?
    order by taken_at, position limit ?
"""  # noqa: S608 - own names


class ServingLog:
    """Entries in the order in which they were taken in, from position 1 on. For use by several threads."""

    def __init__(self, path: Path) -> None:
        self._file = LogFile(path)

    @classmethod
    def from_settings(cls, settings: Settings) -> "ServingLog":
        return cls(settings.shop_dir / "serving" / "log.db")

    def exists(self) -> bool:
        """Whether anything was ever asked of it; asking the rest makes it."""
        return self._file.exists()

    def identity(self) -> str:
        """Tells this log from another one that took its place; positions mean nothing in another log."""
        if not (found := self._file.read("select id from identity")):
            with self._file.writing() as connection:
                connection.execute("insert or ignore into identity (one, id) values (1, ?)", (uuid4().hex,))
            found = self._file.read("select id from identity")
        return str(found[0][0])

    def append(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Take in the entries of one request; they are on disk when this returns.

        Each entry is judged for itself, in the given order: a conflict or a used up allowance does not hold up the
        others.

        Raises:
            LogUnavailable: The file cannot be written; none of them is in it.
        """
        return self.append_requests([entries])[0]

    def append_requests(self, requests: Sequence[Sequence[Entry]]) -> list[list[Outcome]]:
        """The same for several requests in one transaction: they wait for the disk together."""
        now = wall_clock()
        with self._file.writing() as connection:
            return [JudgedRequest(connection, entries, now).judge() for entries in requests]

    def read_after(self, position: int, limit: int, kinds: Sequence[str] | None = None) -> list[Logged]:
        """The next entries after a position, of the given kinds or of all."""
        # The plus keeps SQLite from going by kind, through all entries of it, instead of by position.
        marks = "" if kinds is None else f" and +kind in ({', '.join('?' * len(kinds))})"
        rows = self._file.read(
            f"select {_LOGGED} from entries where position > ?{marks} order by position limit ?",  # noqa: S608 - marks
            (position, *(kinds or ()), limit),
        )
        return [_logged(row) for row in rows]

    def read_counted_after(self, position: int, limit: int) -> list[Logged]:
        """The next entries of all kinds, with what fraud features are counted from in place of their bodies.

        That is the whole of a payment or a label, the attempt of a decision, and nothing of any other kind.
        """
        return [_logged(row) for row in self._file.read(_COUNTED, (position, limit))]

    def read_attempts_after(self, position: int, end: int, limit: int, but: Collection[int]) -> list[Logged]:
        """The next attempts after a position, up to and with the position `end`, without those at some positions.

        A decision has `[attempt, rule trace]` in place of its body.
        """
        return [_logged(row) for row in self._file.read(_ATTEMPTS_AFTER, (position, end, json.dumps(list(but)), limit))]

    def attempts_between(self, kind: str, start: datetime, end: datetime) -> Iterator[Logged]:
        """The same of a kind that happened from `start` on and before `end`, in the order of (event_at, position)."""
        return self._pages(_ATTEMPTS_BETWEEN, (kind, microseconds(end)), (microseconds(start), 0))

    def find(self, kind: str, key: str) -> Logged | None:
        rows = self._file.look(_FIND, (kind, key))
        return _logged(rows[0]) if rows else None

    def find_request(self, idempotency_key: str) -> RequestRecord | None:
        """What was answered under a key within the last 24 hours; an older key is as if it were new."""
        query = "select digest, taken_at, outcomes from requests where key = ? and taken_at > ?"
        rows = self._file.look(query, (idempotency_key, microseconds(wall_clock() - REQUESTS_KEPT)))
        if not rows:
            return None
        digest, taken_at, told = rows[0]
        outcomes = []
        for status, position in json.loads(told):
            kept = self._file.look("select body from entries where position = ?", (position,))
            outcomes.append(Outcome(status, position, kept[0][0]))
        return RequestRecord(digest, outcomes[0].body, moment(taken_at), tuple(outcomes))

    def end(self) -> int:
        """Position of the newest entry; 0 for an empty log."""
        return int(self._file.read("select coalesce(max(position), 0) from entries")[0][0])

    def spent(self, day: str) -> dict[str, int]:
        """Allowance -> what was taken from it on a shop day."""
        return dict(self._file.look("select name, amount from spends where day = ?", (day,)))

    def flowing_back(self, kind: str, start: datetime, end: datetime) -> Iterator[Logged]:
        """Entries of a kind that happened from `start` on and before `end`, in the order of (event_at, position).

        Without what was read from the shop's raw tables.
        """
        return self._pages(_FLOWING_BACK, (kind, microseconds(end)), (microseconds(start), 0))

    def flowing_back_late(
        self, kind: str, before: datetime, taken_from: datetime, taken_until: datetime
    ) -> Iterator[Logged]:
        """Entries that flow back, happened before a moment, and were taken from one to another moment."""
        first = (microseconds(taken_from), 0)
        return self._pages(_LATE, (kind, microseconds(before), microseconds(taken_until)), first)

    def has(self, kind: str) -> bool:
        return bool(self._file.read("select 1 from entries where kind = ? limit 1", (kind,)))

    def has_flowing_back(self, kind: str) -> bool:
        return bool(self._file.read("select 1 from entries where kind = ? and flows_back limit 1", (kind,)))

    def _pages(self, query: str, values: tuple[Any, ...], after: tuple[int, int]) -> Iterator[Logged]:
        while rows := self._file.read(query, (*after, *values, _READ_AT_ONCE)):
            yield from (_logged(row[1:]) for row in rows)
            after = rows[-1][0], rows[-1][1]

    def profiling_consent(self, customer_id: str) -> ProfilingConsent | None:
        """The customer's newest posted consent about profiling; None when none was posted.

        It takes microseconds, and sees what any process has committed.
        """
        query = "select changed_at, is_granted from profiling where customer_id = ?"
        rows = self._file.look(query, (customer_id,))
        return ProfilingConsent(moment(rows[0][0]), not rows[0][1]) if rows else None

    def conflicts(self) -> dict[str, int]:
        """Kind -> how often something else came under a key that was taken."""
        return dict(self._file.read("select kind, count(*) from conflicts group by kind order by kind"))

    def set_aside(self, reasons: Mapping[int, str]) -> None:
        """Note that entries cannot be applied, and why; they stay in the log."""
        with self._file.writing() as connection:
            rows = list(reasons.items())
            connection.executemany("insert or ignore into set_aside (position, reason) values (?, ?)", rows)

    def count_set_aside(self) -> int:
        return int(self._file.read("select count(*) from set_aside")[0][0])

    def checkpoint(self) -> None:
        """Move what was committed from the write-ahead file into the main one; appends go on meanwhile."""
        self._file.checkpoint()


def _logged(row: tuple[Any, ...]) -> Logged:
    position, kind, key, body, taken_at = row
    return Logged(position, kind, key, body, moment(taken_at))
