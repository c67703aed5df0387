"""Rows that passed the arrival gate, as a version of immutable parts. Only the gate writes here.

Beside the contract's tables there are three more: `batches`, one row per accepted batch with its counts;
`set_aside_order_lines`, which orders lost a line to quarantine and which got one back; and `readmitted_rows`,
which rows of quarantine a batch brought back. The latter is published with the rows themselves, so that no crash
can part what is in raw from what is known to be in raw.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.shop.contract import CONTRACT, CONTRACT_VERSION, RESERVED_COLUMNS
from ml.shop.contract.table import Table
from ml.stores.versions import Part, StaleWriter, Version, VersionStore

BATCHES = "batches"
SET_ASIDE_ORDER_LINES = "set_aside_order_lines"
READMITTED_ROWS = "readmitted_rows"

BATCHES_SCHEMA = pa.schema(
    [
        ("table_name", pa.string()),
        ("batch_id", pa.string()),
        ("batch_date", pa.date32()),
        ("rows_in", pa.int64()),
        ("rows_accepted", pa.int64()),
        ("rows_quarantined", pa.int64()),
        ("rows_collapsed", pa.int64()),
        ("rows_late", pa.int64()),
        ("readmits", pa.string()),  # the batch whose quarantined rows came back in this one; null for a delivery
    ]
)
SET_ASIDE_SCHEMA = pa.schema(
    [
        ("order_id", pa.string()),
        ("rule", pa.string()),
        ("_batch_id", pa.string()),
        ("_batch_date", pa.date32()),
        ("lines", pa.int64()),  # +1 when a line was set aside, -1 when it came back; null means +1 (older batches)
    ]
)
READMITTED_SCHEMA = pa.schema(
    [
        ("readmits", pa.string()),
        ("rule", pa.string()),
        ("position", pa.int64()),  # of the row within its quarantine entry
        ("_batch_id", pa.string()),
        ("_batch_date", pa.date32()),
    ]
)
BOOKKEEPING_FIELDS = (
    pa.field("_batch_id", pa.string()),
    pa.field("_batch_date", pa.date32()),
    pa.field("_event_date", pa.date32()),
    pa.field("_row_hash", pa.string()),
)
_PUBLISH_ATTEMPTS = 5


def raw_schema(table: Table) -> pa.Schema:
    """Schema of a contract table's raw parts: contract columns, reserved columns, bookkeeping."""
    reserved = [pa.field(column.name, column.type.arrow) for column in RESERVED_COLUMNS]
    return pa.schema([*table.schema, *reserved, *BOOKKEEPING_FIELDS])


def batch_day(batch_id: str) -> date:
    """The batch's last day, with which every batch id begins."""
    return date.fromisoformat(batch_id[:10])


@dataclass(frozen=True)
class AcceptedBatch:
    """What the gate lets through of one batch.

    Attributes:
        rows: In `raw_schema`; empty for an unchanged snapshot.
        readmits: The batch whose quarantined rows these are; None for a delivery.
        readmitted_rows: In `READMITTED_SCHEMA`; only for a readmission.
        parts: Rows of a large batch that were written while it was judged; `rows` holds the others.
        set_aside_lines: In `SET_ASIDE_SCHEMA`; empty for all tables but `order_lines`.
    """

    table: str
    batch_id: str
    rows: pa.Table
    set_aside_lines: pa.Table
    rows_in: int
    rows_quarantined: int
    rows_collapsed: int
    rows_late: int
    readmits: str | None = None
    readmitted_rows: pa.Table | None = None
    parts: tuple[Part, ...] = ()

    @property
    def rows_accepted(self) -> int:
        return int(self.rows.num_rows) + sum(part.rows for part in self.parts)

    def counts(self) -> pa.Table:
        counts = {
            "table_name": self.table,
            "batch_id": self.batch_id,
            "batch_date": batch_day(self.batch_id),
            "rows_in": self.rows_in,
            "rows_accepted": self.rows_accepted,
            "rows_quarantined": self.rows_quarantined,
            "rows_collapsed": self.rows_collapsed,
            "rows_late": self.rows_late,
            "readmits": self.readmits,
        }
        return pa.Table.from_pylist([counts], schema=BATCHES_SCHEMA)


@dataclass(frozen=True)
class RawSelection:
    """The raw batches up to a day.

    Attributes:
        paths: Verified Parquet files per table; a table without rows has none.
    """

    version: Version
    up_to: date
    paths: dict[str, tuple[Path, ...]]

    def schema_of(self, table: str) -> pa.Schema:
        """Schema to substitute where a table has no file."""
        if table == BATCHES:
            return BATCHES_SCHEMA
        return SET_ASIDE_SCHEMA if table == SET_ASIDE_ORDER_LINES else raw_schema(CONTRACT[table])


class RawStore:
    """The raw store of one shop."""

    def __init__(self, settings: Settings) -> None:
        self.versions = VersionStore(settings.shop_dir / "raw")
        self._lineage = {"contract_version": CONTRACT_VERSION, "shop_id": settings.shop_id}

    def accepted(self) -> set[tuple[str, str]]:
        """(table, batch id) of every batch that was let through."""
        current = self.versions.current()
        parts = current.parts_of(BATCHES) if current else ()
        return {(table, batch_id) for table, batch_id in (part.partition.split("/", 1)[::-1] for part in parts)}

    def append(self, batches: Iterable[AcceptedBatch]) -> Version:
        """Publish the batches in one step. Appending what is there already changes nothing."""
        written = [part for batch in batches for part in self._write(batch)]
        for _attempt in range(_PUBLISH_ATTEMPTS):
            current = self.versions.current()
            parts = set(current.parts if current else ()) | set(written)
            try:
                return self.versions.publish(parts, self._lineage, expected_parent=current.id if current else None)
            except StaleWriter:
                continue
        raise ToolFailed(f"raw: another writer published first, {_PUBLISH_ATTEMPTS} times in a row")

    def write_chunk(self, table: str, batch_id: str, number: int, rows: pa.Table) -> Part:
        """Write some rows of a large batch. Nobody sees them before the batch is appended with its parts."""
        return self.versions.write_part(table, f"{batch_id}/{number:03d}", rows)

    def _write(self, batch: AcceptedBatch) -> list[Part]:
        # Two tables may share a batch id (two empty files of the same day), so the counts are filed under both.
        parts = [self.versions.write_part(BATCHES, f"{batch.batch_id}/{batch.table}", batch.counts())]
        for table, rows in ((batch.table, batch.rows), (SET_ASIDE_ORDER_LINES, batch.set_aside_lines)):
            if rows.num_rows:
                parts.append(self.versions.write_part(table, batch.batch_id, rows))
        parts += batch.parts
        if batch.readmitted_rows is not None:
            name = f"{batch.batch_id}/{batch.table}"
            parts.append(self.versions.write_part(READMITTED_ROWS, name, batch.readmitted_rows))
        return parts

    def readmissions(self, version: Version | None = None) -> set[tuple[str, str]]:
        """(table, batch id) of every batch that told raw about quarantined rows, up to a version or the current one."""
        version = version or self.versions.current()
        parts = version.parts_of(READMITTED_ROWS) if version else ()
        return {(table, batch_id) for table, batch_id in (part.partition.split("/", 1)[::-1] for part in parts)}

    def readmitted_rows(self, table: str, origin_id: str, rule: str | None = None) -> pa.Table:
        """Which quarantined rows of a batch have come back (`READMITTED_SCHEMA`), under one rule or all."""
        current = self.versions.current()
        # A readmission covers the days of its origin, so its name begins as the origin's does.
        days = origin_id.rsplit(".", 1)[0] + "."
        found = [
            pq.read_table(self.versions.open_part(part))
            for part in (current.parts_of(READMITTED_ROWS) if current else ())
            if part.partition.startswith(days) and part.partition.endswith(f"/{table}")
        ]
        rows = pa.concat_tables([READMITTED_SCHEMA.empty_table(), *found])
        is_wanted = pc.field("readmits") == origin_id
        return rows.filter(is_wanted if rule is None else is_wanted & (pc.field("rule") == rule))

    def select_batches(self, up_to: date) -> RawSelection | None:
        """Files of all accepted batches whose last day is not after `up_to`; None before the first publication.

        Raises:
            DataFailed: A file's bytes do not match the version's manifest.
        """
        version = self.versions.current()
        if version is None:
            return None
        tables = (*CONTRACT, BATCHES, SET_ASIDE_ORDER_LINES)
        paths = {
            table: tuple(
                self.versions.open_part(part) for part in version.parts_of(table) if batch_day(part.partition) <= up_to
            )
            for table in tables
        }
        return RawSelection(version, up_to, paths)

    def recent_rows(self, table: str, columns: list[str], first_day: date, end_day: date) -> pa.Table:
        """Accepted rows of an event table whose event day lies in [first_day, end_day)."""
        schema = raw_schema(CONTRACT[table])
        current = self.versions.current()
        parts = [part for part in current.parts_of(table) if batch_day(part.partition) >= first_day] if current else []
        if not parts:
            return pa.schema([schema.field(name) for name in columns]).empty_table()
        paths = [str(self.versions.open_part(part)) for part in parts]
        day = pc.field("_event_date")
        in_range = (day >= pa.scalar(first_day, pa.date32())) & (day < pa.scalar(end_day, pa.date32()))
        return ds.dataset(paths, schema=schema).to_table(columns=columns, filter=in_range)
