"""A folder of files in a shop's own form, with a mapping that says how they become the tables of the contract.

Every table of the mapping is read; other files of the folder are left alone. Rows that a filter leaves out are
counted in the delivery. What cannot be read as the contract's type is delivered as it is, for the arrival gate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.outcomes import DataFailed
from ml.settings import PROJECT_DIR, Settings
from ml.shop.contract import CONTRACT, REQUIRED_TABLES
from ml.shop.contract.table import TableKind
from ml.shop.day_cut import days_of
from ml.shop.delimited import read_delimited
from ml.shop.delimited_fast import LINE_COLUMN
from ml.shop.delivery import UNPARSED_SCHEMA, Delivery
from ml.shop.files import read_parquet
from ml.shop.mapped_rows import FILE_DAY, map_rows
from ml.shop.mapping import FileRule, Mapping, read_mapping

_DAY = "{day}"
_SHOWN = 5
_ALL_DAYS = (date(1970, 1, 2), date(2099, 12, 31))


@dataclass(frozen=True)
class _Piece:
    """What one file holds: the columns that are asked for, as text, and the lines that could not be split."""

    rows: pa.Table
    unparsed: pa.Table


class MappedFilesSource:
    """The folder that `SHOPWRIGHT_FILES_DIR` names, as `SHOPWRIGHT_FILES_MAPPING` maps it.

    Raises:
        SettingsError: The mapping is wrong.
    """

    name = "files"

    def __init__(self, settings: Settings) -> None:
        assert settings.files_dir is not None, "the settings require files_dir for this source"
        assert settings.files_mapping is not None, "only a mapped folder is read here"
        self._settings = settings
        self._folder = (PROJECT_DIR / settings.files_dir).resolve()
        self._mapping = read_mapping(PROJECT_DIR / settings.files_mapping, settings.files_mapping.name)

    @property
    def mapping(self) -> Mapping:
        return self._mapping

    def tables(self) -> tuple[str, ...]:
        if not self._folder.is_dir():
            raise DataFailed(
                f"{self._folder}: no such folder; SHOPWRIGHT_FILES_DIR must name the folder with the files"
            )
        mapped = tuple(table for table in CONTRACT if table in self._mapping.tables)
        missing = [table for table in REQUIRED_TABLES if table not in mapped]
        if missing:
            raise DataFailed(f"required table {', '.join(missing)} is not mapped; the mapping has {', '.join(mapped)}")
        absent = [table for table in mapped if not self._paths(table)]
        if needed := [table for table in absent if table in REQUIRED_TABLES]:
            path = self._file_of(needed[0]).path
            raise DataFailed(f"{self._folder}: required table {', '.join(needed)} has no file; expected {path}")
        return tuple(table for table in mapped if table not in absent)

    def found(self) -> tuple[str, ...]:
        """The mapped tables whose files are there, required ones or not."""
        return tuple(table for table in CONTRACT if table in self._mapping.tables and self._paths(table))

    def days(self, table: str) -> tuple[date, date]:
        """First and last day of an event table.

        Raises:
            DataFailed: It cannot be read, or has none.
        """
        pattern = self._file_of(table).path
        if _DAY in pattern:
            found = [day for path in self._paths(table) if (day := self._day_of(pattern, path)) is not None]
            if not found:
                raise DataFailed(f"{self._folder}: table {table} has no file; expected {pattern}")
            return min(found), max(found)
        event_time = CONTRACT[table].event_time
        assert event_time is not None, "an event table has an event time"
        return days_of(pattern, self.read(table, *_ALL_DAYS).rows, event_time, self._settings.zone)

    def read(self, table: str, first_day: date, end_day: date) -> Delivery:
        columns = self._mapping.columns_of(table)
        pieces = [self._piece(table, path, columns) for path in self._paths_of_days(table, first_day, end_day)]
        rows = pa.concat_tables([piece.rows for piece in pieces]) if pieces else _no_rows(columns)
        start, end = self._settings.day_start(first_day), self._settings.day_start(end_day)
        mapped = map_rows(self._mapping, table, rows, start, end)
        unparsed = UNPARSED_SCHEMA.empty_table()
        if self._delivers_unparsed(table):
            unparsed = _unparsed_within(pieces, mapped.is_within)
        return Delivery(table, mapped.rows, "text", unparsed if unparsed.num_rows else None, mapped.left_out)

    def _file_of(self, table: str) -> FileRule:
        return self._mapping.files[self._mapping.tables[table].file]

    def _paths(self, table: str) -> list[Path]:
        """Every file of a table; of a day's files those that are named for a day."""
        pattern = self._file_of(table).path
        found = sorted(path for path in self._folder.glob(pattern.replace(_DAY, "*")) if path.is_file())
        return found if _DAY not in pattern else [path for path in found if self._day_of(pattern, path) is not None]

    def _day_of(self, pattern: str, path: Path) -> date | None:
        before, after = pattern.split(_DAY)
        try:
            return date.fromisoformat(self._named(path).removeprefix(before).removesuffix(after))
        except ValueError:
            return None

    def _named(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _paths_of_days(self, table: str, first_day: date, end_day: date) -> list[Path]:
        """The files that hold what is asked for.

        An entity that is made of many rows is what is known of it so far: that takes the files of all days before.
        """
        pattern, contract = self._file_of(table).path, CONTRACT[table]
        paths = self._paths(table)
        if _DAY not in pattern:
            if not paths:
                raise DataFailed(f"{self._folder}: table {table} has no file; expected {pattern}")
            return paths
        by_day = {day: path for path in paths if (day := self._day_of(pattern, path)) is not None}
        days = [first_day + timedelta(days=number) for number in range((end_day - first_day).days)]
        missing = [day for day in days if day not in by_day and not self._settings.is_closed(day)]
        if missing and contract.required and not contract.may_be_empty:
            shown = ", ".join(map(str, missing[:_SHOWN])) + (" ..." if len(missing) > _SHOWN else "")
            expected = pattern.replace(_DAY, str(missing[0]))
            raise DataFailed(f"{table}: no file for {len(missing)} of {len(days)} days ({shown}); expected {expected}")
        is_known_so_far = contract.kind is TableKind.ENTITY and self._mapping.tables[table].one_row_per is not None
        return [by_day[day] for day in sorted(by_day) if day < end_day and (is_known_so_far or day >= first_day)]

    def _piece(self, table: str, path: Path, columns: Sequence[str]) -> _Piece:
        file, name = self._file_of(table), self._named(path)
        unparsed = UNPARSED_SCHEMA.empty_table()
        if path.suffix == ".parquet":
            rows = read_parquet(path, name)
            numbered = rows.append_column(LINE_COLUMN, pa.array(range(1, rows.num_rows + 1), pa.int64()))
        else:
            text = read_delimited(path, name, file.encoding, file.delimiter)
            numbered, unparsed = text.rows, text.unparsed
        absent = [column for column in columns if column not in numbered.column_names]
        if absent:
            found = ", ".join(column for column in numbered.column_names if column != LINE_COLUMN)
            raise DataFailed(
                f"{name}: column {', '.join(absent)} is missing; the mapping of {table} reads it; found {found}"
            )
        chosen = {column: as_text(numbered.column(column)) for column in columns}
        rows = pa.table({**chosen, LINE_COLUMN: numbered.column(LINE_COLUMN)})
        day = self._day_of(file.path, path) if _DAY in file.path else None
        if day is None:
            return _Piece(rows, unparsed)
        moment = pa.scalar(self._settings.day_start(day).astimezone(UTC).replace(tzinfo=None), pa.timestamp("us"))
        return _Piece(rows.append_column(FILE_DAY, pa.repeat(moment, rows.num_rows)), unparsed)

    def _delivers_unparsed(self, table: str) -> bool:
        """Lines that cannot be split go with the tables that have a row for each line of the file, if there are any."""
        mapped = self._mapping.tables
        own_file = [rule for rule in mapped.values() if rule.file == mapped[table].file]
        return mapped[table].one_row_per is None or all(rule.one_row_per is not None for rule in own_file)


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of any type as text: numbers as the shortest decimal, moments with their offset."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        form = "%Y-%m-%d %H:%M:%S" + ("Z" if kind.tz is not None else "")
        moments = column.cast(pa.timestamp("us", tz="UTC" if kind.tz is not None else None), safe=False)
        return pc.strftime(moments, form)
    if pa.types.is_floating(kind):
        text = pc.if_else(pc.is_nan(column), None, column).cast(pa.string())
        return pc.replace_substring_regex(text, r"\.0$", "")  # a whole number, as ids with gaps come
    return column.cast(pa.string())


def _no_rows(columns: Sequence[str]) -> pa.Table:
    return pa.table({**{name: pa.array([], pa.string()) for name in columns}, LINE_COLUMN: pa.array([], pa.int64())})


def _unparsed_within(pieces: Sequence[_Piece], is_within: pa.ChunkedArray | None) -> pa.Table:
    """The lines that go with rows of the days: each with the row before it in its file, at the top with the first."""
    kept = [UNPARSED_SCHEMA.empty_table()]
    offset = 0
    for piece in pieces:
        lines = piece.unparsed
        if lines.num_rows and is_within is not None and piece.rows.num_rows:
            own = is_within.slice(offset, piece.rows.num_rows)
            before = np.searchsorted(piece.rows.column(LINE_COLUMN).to_numpy(), lines.column("line").to_numpy()) - 1
            lines = lines.filter(own.take(pa.array(np.maximum(before, 0))))
        kept.append(lines)
        offset += piece.rows.num_rows
    return pa.concat_tables(kept)
