"""Rows that the arrival gate set aside: a protected folder, one Parquet part per table, batch and rule.

The rows are kept as they were delivered, with table, rule, reason and batch beside them. Nobody but the
owner of the process can read the folder, and nothing here is ever logged. What became of the rows is told by
the operations database (counts and the audit trail) and, row by row, by raw's `readmitted_rows`.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import select

from ml.outcomes import DataFailed
from ml.settings import Settings, wall_clock
from ml.shop.contract import CONTRACT, RESERVED_COLUMNS
from ml.shop.contract.table import Tag
from ml.stores.durable import PRIVATE_FOLDER, exclusive_lock, sync_file, sync_folder
from ml.stores.operations import Operations, quarantine_decisions, quarantine_entries, quarantine_reveals
from ml.stores.raw import batch_day

UNPARSED_RULE = "line_unparsed"
"""The rule of lines that could not be split into columns; their entries hold lines, not rows of the table."""
DEFAULT_OWNER = "shop-data"
MASK = "•••"
# Beside the row itself; none of them is taken from the data.
NOTE_COLUMNS = ("_table", "_rule", "_reason", "_batch_id", "_batch_date")


class Action(StrEnum):
    """What somebody decided about quarantined rows."""

    REPAIRED = "readmit_repaired"
    AS_IS = "readmit_as_is"
    DISCARD = "discard"


@dataclass(frozen=True)
class EntryKey:
    """Names one entry: the rows of one batch that broke one rule."""

    table: str
    batch_id: str
    rule: str

    def __str__(self) -> str:
        return f"{self.table} {self.batch_id} {self.rule}"

    def columns(self) -> dict[str, str]:
        """As columns of `quarantine_entries` and `quarantine_decisions`."""
        return {"table_name": self.table, "batch_id": self.batch_id, "rule": self.rule}


@dataclass(frozen=True)
class Decision:
    """What was decided about rows of an entry.

    Attributes:
        readmission_batch_id: The batch in which they came back, or in which raw was told that they do not.
    """

    action: Action
    rows_offered: int
    rows_passed: int
    readmission_batch_id: str | None
    reason: str
    decided_by: str


@dataclass(frozen=True)
class SetAside:
    """Rows of one batch that broke one rule.

    Attributes:
        reason: The rule in words; never a value.
        rows: The rows as delivered.
    """

    table: str
    batch_id: str
    rule: str
    reason: str
    rows: pa.Table


class Quarantine:
    """The quarantine of one shop: rows on disk, their state in the operations database."""

    def __init__(self, settings: Settings, operations: Operations) -> None:
        self.root = settings.shop_dir / "quarantine"
        self._operations = operations
        self._owners = settings.owners
        self._lock = settings.shop_dir / ".quarantine.lock"

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Hold while deciding about rows: two people must not bring back the same ones."""
        with exclusive_lock(self._lock):
            yield

    def set_aside(self, entry: SetAside) -> None:
        """Keep rows. The same batch and rule again replaces what is there and keeps its state."""
        self._write(entry)
        key: dict[str, Any] = EntryKey(entry.table, entry.batch_id, entry.rule).columns()
        owner = self._owners.get(entry.table, DEFAULT_OWNER)
        row = {**key, "reason": entry.reason, "rows": entry.rows.num_rows, "owner": owner}
        if not self._operations.rows(quarantine_entries, **key):
            row |= {"state": "open", "first_seen_at": wall_clock()}
            statement = self._operations.insert(quarantine_entries).values(**row).on_conflict_do_nothing()
        else:
            statement = (
                quarantine_entries.update()
                .values(**row)
                .where(*(quarantine_entries.c[name] == value for name, value in key.items()))
            )
        with self._operations.transaction() as connection:
            connection.execute(statement)

    def _write(self, entry: SetAside) -> None:
        path = self.path_of(entry.table, entry.batch_id, entry.rule)
        for folder in (self.root, path.parent.parent, path.parent):
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        # mkstemp makes files that nobody else can read.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        os.close(descriptor)
        try:
            pq.write_table(_with_notes(entry), temporary, compression="zstd")
            sync_file(Path(temporary))
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
        sync_folder(path.parent)

    def path_of(self, table: str, batch_id: str, rule: str) -> Path:
        return self.root / table / batch_id / f"{rule}.parquet"

    def entries(self, table: str | None = None, batch_id: str | None = None) -> list[dict[str, Any]]:
        """What was set aside: counts and rules, no rows."""
        return self._operations.rows(quarantine_entries, **_equal(table, batch_id))

    def entry(self, key: EntryKey) -> dict[str, Any]:
        """State and counts of one entry.

        Raises:
            DataFailed: There is none of that name.
        """
        columns: dict[str, Any] = key.columns()
        found = self._operations.rows(quarantine_entries, **columns)
        if not found:
            raise DataFailed(f"quarantine: no rows of {key.table} in batch {key.batch_id} under rule {key.rule}")
        return found[0]

    def decide(self, key: EntryKey, decision: Decision, rows_readmitted: int) -> None:
        """Record a decision and what it makes of the entry, in one transaction; the same again changes nothing.

        Args:
            rows_readmitted: Rows of the entry that are back in all, as raw says.
        """
        entry = self.entry(key)
        discarded = entry["rows"] - rows_readmitted if decision.action is Action.DISCARD else entry["rows_discarded"]
        is_settled = rows_readmitted + discarded >= entry["rows"]
        settled = "discarded" if discarded else "readmitted"
        state = {
            "rows_readmitted": rows_readmitted,
            "rows_discarded": discarded,
            "state": settled if is_settled else "open",
        }
        batch_id = decision.readmission_batch_id
        is_known = batch_id is not None and self._operations.rows(
            quarantine_decisions, table_name=key.table, readmission_batch_id=batch_id
        )
        with self._operations.transaction() as connection:
            if not is_known:
                row = {**key.columns(), **asdict(decision), "action": decision.action.value, "decided_at": wall_clock()}
                connection.execute(quarantine_decisions.insert().values(**row))
            matches = [quarantine_entries.c[name] == value for name, value in key.columns().items()]
            connection.execute(quarantine_entries.update().values(**state).where(*matches))

    def decisions(self, table: str | None = None, batch_id: str | None = None) -> list[dict[str, Any]]:
        """The audit trail of decisions, oldest first."""
        return self._operations.rows(quarantine_decisions, **_equal(table, batch_id))

    def reveals(self, table: str | None = None, batch_id: str | None = None) -> list[dict[str, Any]]:
        """Who looked at values, oldest first."""
        return self._operations.rows(quarantine_reveals, **_equal(table, batch_id))

    def read(self, table: str, batch_id: str, rule: str) -> pa.Table:
        """The rows as delivered, values included. `reveal` is the way to show them to a person."""
        path = self.path_of(table, batch_id, rule)
        if not path.exists():
            raise DataFailed(f"quarantine: no rows of {table} in batch {batch_id} under rule {rule}")
        return pq.read_table(path)

    def masked(self, table: str, batch_id: str, rule: str) -> pa.Table:
        """The rows with personal columns masked, and with them every column that the contract does not know."""
        rows = self.read(table, batch_id, rule)
        for position, name in enumerate(rows.column_names):
            if not _is_showable(table, name):
                hidden = pa.array([MASK if value.is_valid else None for value in rows.column(name)], pa.string())
                rows = rows.set_column(position, name, hidden)
        return rows

    def reveal(
        self, table: str, batch_id: str, rule: str, reason: str, who: str, positions: Sequence[int] | None = None
    ) -> pa.Table:
        """The rows with all values. That somebody looked, and why, is recorded first.

        Args:
            positions: Only these rows; None for all.
        """
        rows = self.read(table, batch_id, rule)
        if positions is not None:
            rows = rows.take(np.asarray(positions, dtype=np.int64))
        with self._operations.transaction() as connection:
            connection.execute(
                quarantine_reveals.insert().values(
                    table_name=table,
                    batch_id=batch_id,
                    rule=rule,
                    rows=rows.num_rows,
                    reason=reason,
                    revealed_by=who,
                    revealed_at=wall_clock(),
                )
            )
        return rows

    def total_rows(self, table: str, batch_id: str) -> int:
        """Rows set aside of one batch."""
        statement = select(quarantine_entries.c.rows).where(
            quarantine_entries.c.table_name == table, quarantine_entries.c.batch_id == batch_id
        )
        with self._operations.transaction() as connection:
            return sum(connection.execute(statement).scalars())


def _equal(table: str | None, batch_id: str | None) -> dict[str, Any]:
    return {name: value for name, value in (("table_name", table), ("batch_id", batch_id)) if value}


def _with_notes(entry: SetAside) -> pa.Table:
    day: date = batch_day(entry.batch_id)
    notes = (entry.table, entry.rule, entry.reason, entry.batch_id, day)
    rows = entry.rows
    for name, value in zip(NOTE_COLUMNS, notes, strict=True):
        kind = pa.date32() if isinstance(value, date) else pa.string()
        rows = rows.append_column(pa.field(name, kind), pa.array([value] * rows.num_rows, kind))
    return rows


def _is_showable(table: str, name: str) -> bool:
    # `_line` is the line number of a text file, `line` its number where the row could not be split at all.
    if name in (*NOTE_COLUMNS, "_line", "line", "source_file"):
        return True
    columns = {column.name: column for column in (*CONTRACT[table].columns, *RESERVED_COLUMNS)}
    return name in columns and Tag.PERSONAL not in columns[name].tags
