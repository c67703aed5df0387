"""What a batch is like as a whole, added up over the chunks in which it is read.

Rules about the whole judge frames of one row that hold these measures, so that a batch that is judged in chunks gets
the verdict that it would get in one piece.
"""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from expectations.conservation import count_late
from expectations.frames import open_days
from expectations.history import RECENT_DAYS, median_of, nonzero, summary_of
from expectations.suites.arrivals.from_contract import (
    DAY_ROWS,
    EVENT_DAY,
    NONZERO,
    NULL_SHARE,
    ROWS,
    TRUE_COUNT,
    History,
)
from ml.settings import Settings
from ml.shop.contract.table import ColumnType, Table
from ml.stores.landing import Batch

_SPLIT_AFTER_DAYS = 14
"""A first batch longer than this is compared with itself: its second half with its first."""


@dataclass(frozen=True)
class _Split:
    """From which day on a batch is judged, and the days of its own that it is compared with."""

    judged_from: date
    earlier_from: date | None

    @classmethod
    def of(cls, table: Table, batch: Batch, history: History) -> "_Split":
        days = (batch.last_day - batch.first_day).days + 1
        if history.has_rows or table.event_time is None or days <= _SPLIT_AFTER_DAYS:
            return cls(batch.first_day, None)
        middle = batch.first_day + timedelta(days=days // 2)
        return cls(middle, middle - timedelta(days=RECENT_DAYS))


class Totals:
    """Measures of one batch.

    Args:
        history: What accepted rows of the days before were like; a long first batch brings its own.
    """

    def __init__(self, table: Table, batch: Batch, history: History) -> None:
        self.rows_delivered = 0
        self.rows_accepted = 0
        self.rows_late = 0
        self._table, self._batch, self._given = table, batch, history
        self._split = _Split.of(table, batch, history)
        self._rows_filled = 0
        self._nulls: Counter[str] = Counter()
        self._trues: Counter[str] = Counter()
        self._days: Counter[date] = Counter()
        self._amounts: dict[str, list[np.ndarray]] = {column.name: [] for column in table.columns if column.is_amount}
        self._earlier: dict[str, list[np.ndarray]] = {name: [] for name in self._amounts}

    def add(self, delivered: pa.Table, accepted: pa.Table) -> None:
        """Count a chunk.

        Args:
            delivered: All of its rows, in the contract's types.
            accepted: What is left of them.
        """
        self.rows_delivered += delivered.num_rows
        self.rows_accepted += accepted.num_rows
        self.rows_late += count_late(self._table, accepted, self._batch.first_day)
        # A row that deletes its key need not carry anything else, so its nulls tell nothing.
        filled = delivered.filter(pc.invert(pc.fill_null(pc.equal(delivered.column("_op"), "delete"), False)))
        self._rows_filled += filled.num_rows
        for column in self._table.columns:
            values = filled.column(column.name)
            self._nulls[column.name] += values.null_count
            if column.type is ColumnType.BOOL:
                self._trues[column.name] += pc.sum(values).as_py() or 0
        event_days = accepted.column("_event_date")
        counts = pc.value_counts(event_days)
        self._days.update(
            dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
        )
        judged_from = pa.scalar(self._split.judged_from, pa.date32())
        # Late rows are not judged by today's prices.
        self._collect(self._amounts, accepted, pc.greater_equal(event_days, judged_from))
        if self._split.earlier_from is not None:
            start = pa.scalar(self._split.earlier_from, pa.date32())
            is_earlier = pc.and_(pc.greater_equal(event_days, start), pc.less(event_days, judged_from))
            self._collect(self._earlier, accepted, is_earlier)

    @staticmethod
    def _collect(into: dict[str, list[np.ndarray]], rows: pa.Table, wanted: pa.ChunkedArray) -> None:
        for name, pieces in into.items():
            pieces.append(nonzero(rows.column(name)).filter(wanted).drop_null().to_numpy())

    def history(self) -> History:
        """What the batch is compared with."""
        if self._split.earlier_from is None:
            return self._given
        earlier = [
            count for day, count in self._days.items() if self._split.earlier_from <= day < self._split.judged_from
        ]
        # Null shares are not compared within one batch: a column may have been introduced half-way.
        return replace(summary_of(earlier, _joined(self._earlier)), null_shares={}, has_rows=False)

    def delivered_frame(self) -> pd.DataFrame:
        """One row: how many rows were delivered, and per column the share of nulls or the number of trues."""
        shares = {name: count / self._rows_filled if self._rows_filled else 0.0 for name, count in self._nulls.items()}
        return pd.DataFrame(
            {
                ROWS: [self.rows_delivered],
                **{NULL_SHARE.format(name): [share] for name, share in shares.items()},
                **{TRUE_COUNT.format(name): [count] for name, count in self._trues.items()},
            }
        )

    def accepted_frame(self) -> pd.DataFrame:
        """One row, if anything was accepted: the newest event day as an ordinal, and medians of amounts without zeros.

        A median is null where there are too few values to tell.
        """
        if not self.rows_accepted:
            return pd.DataFrame({EVENT_DAY: pd.Series(dtype="int64")})
        medians = {name: median_of(values) for name, values in _joined(self._amounts).items()}
        newest = max((day for day in self._days if day is not None), default=None)
        return pd.DataFrame(
            {
                EVENT_DAY: [newest.toordinal() if newest else None],
                **{NONZERO.format(name): pd.Series([median], dtype="float64") for name, median in medians.items()},
            }
        )

    def days_frame(self, settings: Settings) -> pd.DataFrame:
        """Rows per open day of the batch, days without rows included; of a long batch the recent days."""
        start = max(self._split.judged_from, self._batch.last_day - timedelta(days=RECENT_DAYS - 1))
        days = open_days(settings, start, self._batch.last_day)
        return pd.DataFrame({DAY_ROWS: [self._days[day] for day in days]}, dtype="int64")


def _joined(pieces: dict[str, list[np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate(arrays) if arrays else np.empty(0) for name, arrays in pieces.items()}
