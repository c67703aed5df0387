"""Requests to the serving log, judged inside a transaction: what is new, known, in conflict, or over an allowance."""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from ml.stores.log_entries import Entry, Outcome, Spend, microseconds

REQUESTS_KEPT = timedelta(hours=24)
_PROFILING = "profiling"


class JudgedRequest:
    """The entries of one request, judged inside a transaction."""

    def __init__(self, connection: sqlite3.Connection, entries: Sequence[Entry], now: datetime) -> None:
        self._connection, self._entries, self._now = connection, entries, microseconds(now)

    def judge(self) -> list[Outcome]:
        first = self._entries[0] if self._entries else None
        if first is None or first.idempotency_key is None:
            return [self._judge_entry(entry) for entry in self._entries]
        key, digest = first.idempotency_key, first.request_digest or first.digest
        oldest = self._now - REQUESTS_KEPT // timedelta(microseconds=1)
        self._connection.execute("delete from requests where taken_at <= ?", (oldest,))
        known = self._connection.execute("select digest, outcomes from requests where key = ?", (key,)).fetchone()
        if known and known[0] != digest:
            self._count_conflict("request", key)
            return [Outcome("conflict", 0, "") for _ in self._entries]
        outcomes = [self._judge_entry(entry) for entry in self._entries]
        self._remember(key, digest, json.loads(known[1]) if known else [], outcomes)
        return outcomes

    def _remember(self, key: str, digest: str, told: list[list[Any]], outcomes: Sequence[Outcome]) -> None:
        """A request of which an entry was refused for an allowance comes again with that entry: it is added."""
        positions = {position for _, position in told}
        told += [[one.status, one.position] for one in outcomes if one.position and one.position not in positions]
        if told:
            self._connection.execute(
                "insert into requests (key, digest, taken_at, outcomes) values (?, ?, ?, ?) "
                "on conflict (key) do update set outcomes = excluded.outcomes",
                (key, digest, self._now, json.dumps(told, separators=(",", ":"))),
            )

    def _judge_entry(self, entry: Entry) -> Outcome:
        held = self._connection.execute(
            "select position, body, digest from entries where kind = ? and key = ?", (entry.kind, entry.key)
        ).fetchone()
        if held:
            if held[2] == entry.digest:
                return Outcome("known", held[0], held[1])
            self._count_conflict(entry.kind, entry.key)
            return Outcome("conflict", held[0], held[1])
        if exhausted := self._exhausted(entry.spends):
            return Outcome("spent", 0, "", exhausted)
        self._connection.executemany(
            "insert into spends (day, name, amount) values (?, ?, ?) "
            "on conflict (day, name) do update set amount = amount + excluded.amount",
            [(spend.day, spend.name, spend.amount) for spend in entry.spends],
        )
        if entry.kind == "consent":
            self._note_consent(entry)
        inserted = self._connection.execute(
            "insert into entries (kind, key, body, digest, event_at, taken_at, flows_back) "
            "values (?, ?, ?, ?, ?, ?, ?)",
            (
                entry.kind,
                entry.key,
                entry.body,
                entry.digest,
                microseconds(entry.event_at),
                self._now,
                entry.flows_back,
            ),
        )
        return Outcome("taken", inserted.lastrowid or 0, entry.body)

    def _exhausted(self, spends: Sequence[Spend]) -> str:
        """Name of the first allowance that does not suffice, empty when all do."""
        wanted: dict[tuple[str, str], int] = {}
        for spend in spends:
            place = spend.day, spend.name
            if place not in wanted:
                query = "select amount from spends where day = ? and name = ?"
                row = self._connection.execute(query, place).fetchone()
                wanted[place] = row[0] if row else 0
            wanted[place] += spend.amount
            if wanted[place] > spend.limit:
                return spend.name
        return ""

    def _note_consent(self, entry: Entry) -> None:
        consent = json.loads(entry.body)
        if consent["purpose"] == _PROFILING:
            self._connection.execute(
                "insert into profiling (customer_id, changed_at, is_granted) values (?, ?, ?) "
                "on conflict (customer_id) do update set changed_at = excluded.changed_at, "
                "is_granted = excluded.is_granted where excluded.changed_at > changed_at",
                (consent["customer_id"], microseconds(entry.event_at), consent["is_granted"]),
            )

    def _count_conflict(self, kind: str, key: str) -> None:
        self._connection.execute(
            "insert into conflicts (kind, key_digest, at) values (?, ?, ?)",
            (kind, sha256(key.encode()).hexdigest(), self._now),
        )
