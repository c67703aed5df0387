"""What the contract says of a table and of its columns.

An *event* table has a key and an event time. An *entity* table has a key; each batch of it is a full
snapshot or a set of changes, valid from the day on which it arrived.
"""

from dataclasses import dataclass
from datetime import time
from enum import StrEnum

import pyarrow as pa


class TableKind(StrEnum):
    EVENT = "event"
    ENTITY = "entity"


class Tag(StrEnum):
    PERSONAL = "personal"
    """Identifies or describes a person: masked wherever it is shown, covered by erasure."""
    AUDIT_ONLY = "audit_only"
    """Only for measuring whether groups are treated alike: may never become a model feature."""


class ColumnType(StrEnum):
    STRING = "string"
    INT64 = "int64"
    FLOAT64 = "float64"
    BOOL = "bool"
    DATE = "date"
    TIMESTAMP = "timestamp"

    @property
    def arrow(self) -> pa.DataType:
        return _ARROW_TYPES[self]


_ARROW_TYPES = {
    ColumnType.STRING: pa.string(),
    ColumnType.INT64: pa.int64(),
    ColumnType.FLOAT64: pa.float64(),
    ColumnType.BOOL: pa.bool_(),
    ColumnType.DATE: pa.date32(),
    # Microseconds: nanoseconds break Feast's materialization on DuckDB 2.0 (seen 2026-11).
    ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class Column:
    """One column of a contract table.

    Attributes:
        minimum: Smallest allowed value, inclusive; `above` is the exclusive form.
        is_amount: The column is money in integer cents of the row's currency.
        may_be_absent: The source may leave the whole column out; it is then filled with nulls.
    """

    name: str
    type: ColumnType
    description: str
    nullable: bool = False
    minimum: float | None = None
    above: float | None = None
    allowed: tuple[str, ...] = ()
    is_amount: bool = False
    tags: frozenset[Tag] = frozenset()

    @property
    def may_be_absent(self) -> bool:
        return self.nullable


@dataclass(frozen=True)
class Table:
    """One table of the contract.

    Attributes:
        key: Columns that identify a row.
        event_time: Column that places a row in time (event tables only).
        may_be_empty: A day without rows is normal, so an empty batch passes.
        quarantine_budget: Largest share of a batch's rows that row rules may set aside before the batch is held.
        expected_by: Shop-local time by which a day's batch arrives on the day after; None when there is no such time.
        max_age_days: Largest age of the newest delivered day, in days of the wall clock; None when any age will do.
    """

    name: str
    kind: TableKind
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    event_time: str | None = None
    required: bool = False
    may_be_empty: bool = True
    quarantine_budget: float = 0.05
    expected_by: time | None = None
    max_age_days: int | None = None

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of accepted rows, without the reserved columns."""
        return pa.schema([pa.field(column.name, column.type.arrow) for column in self.columns])
