"""A folder of Parquet or CSV files, in contract form.

Each table is one of

    <table>.parquet | <table>.csv                        the whole table
    <table>/<YYYY-MM-DD>.parquet | .csv                  one file per day
    <table>/date=<YYYY-MM-DD>/<any name>.parquet | .csv  one folder per day

A day's file holds what *arrived* on that shop day, late rows included. A whole file of an event table is cut
into days by event time, in the shop's time zone; a whole file of an entity table is a snapshot for any day.
Parquet columns are delivered as they are. CSV (UTF-8, comma, header line) is delivered as text.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ml.outcomes import DataFailed
from ml.settings import PROJECT_DIR, Settings
from ml.shop.contract import CONTRACT, REQUIRED_TABLES
from ml.shop.contract.table import Table, TableKind
from ml.shop.day_cut import cut_to_days, days_of
from ml.shop.delimited import read_delimited
from ml.shop.delivery import UNPARSED_SCHEMA, Delivery

_SUFFIXES = (".parquet", ".csv")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SHOWN_DAYS = 5


@dataclass(frozen=True)
class _Content:
    """What one file holds; `name` is its path within the shop's folder."""

    name: str
    rows: pa.Table
    unparsed: pa.Table


class FilesSource:
    """The folder that `SHOPWRIGHT_FILES_DIR` names."""

    name = "files"

    def __init__(self, settings: Settings) -> None:
        assert settings.files_dir is not None, "the settings require files_dir for this source"
        self._settings = settings
        self._folder = (PROJECT_DIR / settings.files_dir).resolve()

    def tables(self) -> tuple[str, ...]:
        if not self._folder.is_dir():
            raise DataFailed(
                f"{self._folder}: no such folder; SHOPWRIGHT_FILES_DIR must name the folder with the tables"
            )
        found = self.found()
        missing = [table for table in REQUIRED_TABLES if table not in found]
        if missing:
            raise DataFailed(
                f"{self._folder}: required table {', '.join(missing)} is missing; expected for each "
                f"{_expected(missing[0])}; found {', '.join(found) or 'no table of the contract'}"
            )
        return found

    def found(self) -> tuple[str, ...]:
        """The contract tables that are there, required ones or not."""
        return tuple(table for table in CONTRACT if self._forms_of(table))

    def days(self, table: str) -> tuple[date, date]:
        """First and last day of an event table.

        Raises:
            DataFailed: It cannot be read, or has none.
        """
        form = self._form_of(table)
        if not form.is_file():
            by_day = self._days_in(form)
            if not by_day:
                raise DataFailed(f"{self._named(form)}: has no file of any day")
            return min(by_day), max(by_day)
        content = self._content(form)
        event_time = CONTRACT[table].event_time
        assert event_time is not None, "an event table has an event time"
        return days_of(content.name, content.rows, event_time, self._settings.zone)

    def read(self, table: str, first_day: date, end_day: date) -> Delivery:
        contract = CONTRACT[table]
        form = self._form_of(table)
        if form.is_file():
            contents = [self._content(form)]
            if contract.kind is TableKind.EVENT:
                contents = [self._cut(contract, contents[0], first_day, end_day)]
            paths = [form]
        else:
            paths = self._files_of_days(contract, form, first_day, end_day)
            contents = [self._content(path) for path in paths]
        if not contents:
            return Delivery(table, contract.schema.empty_table(), "typed")
        kind = _format_of(table, paths)
        unparsed = pa.concat_tables([content.unparsed for content in contents])
        return Delivery(table, _joined(contract, contents), kind, unparsed if unparsed.num_rows else None)

    def _forms_of(self, table: str) -> list[Path]:
        files = [self._folder / f"{table}{suffix}" for suffix in _SUFFIXES]
        folder = self._folder / table
        return [path for path in files if path.is_file()] + ([folder] if folder.is_dir() else [])

    def _form_of(self, table: str) -> Path:
        forms = self._forms_of(table)
        if not forms:
            raise DataFailed(f"{self._folder}: table {table} is missing; expected {_expected(table)}")
        if len(forms) > 1:
            names = ", ".join(path.name for path in forms)
            raise DataFailed(f"{self._folder}: table {table} is there more than once ({names}); keep one")
        return forms[0]

    def _files_of_days(self, table: Table, folder: Path, first_day: date, end_day: date) -> list[Path]:
        by_day = self._days_in(folder)
        if table.required and not table.may_be_empty:
            days = [first_day + timedelta(days=number) for number in range((end_day - first_day).days)]
            missing = [day for day in days if day not in by_day and not self._settings.is_closed(day)]
            if missing:
                shown = ", ".join(map(str, missing[:_SHOWN_DAYS])) + (" ..." if len(missing) > _SHOWN_DAYS else "")
                raise DataFailed(
                    f"{table.name}: no file for {len(missing)} of {len(days)} days ({shown}); "
                    f"expected {table.name}/{missing[0]}.parquet or .csv"
                )
        return [path for day in sorted(by_day) if first_day <= day < end_day for path in by_day[day]]

    def _days_in(self, folder: Path) -> dict[date, list[Path]]:
        by_day: dict[date, list[Path]] = {}
        for path in sorted(folder.iterdir()):
            if path.name.startswith((".", "_")):
                continue
            day = _day_of(path)
            if day is None:
                raise DataFailed(
                    f"{self._named(path)}: not a day's file; expected names such as 2024-01-31.parquet, "
                    "2024-01-31.csv or date=2024-01-31/"
                )
            if day in by_day:
                raise DataFailed(
                    f"{self._named(path)}: a second file for the day, beside {self._named(by_day[day][0])}"
                )
            by_day[day] = [path] if path.is_file() else self._files_in(path)
        return by_day

    def _files_in(self, folder: Path) -> list[Path]:
        files = [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "_"))]
        for path in files:
            if not path.is_file() or path.suffix not in _SUFFIXES:
                raise DataFailed(f"{self._named(path)}: expected a .parquet or .csv file")
        if not files:
            raise DataFailed(f"{self._named(folder)}: the day's folder is empty; expected a .parquet or .csv file")
        return files

    def _named(self, path: Path) -> str:
        return str(path.relative_to(self._folder))

    def _content(self, path: Path) -> _Content:
        name = self._named(path)
        if path.suffix == ".csv":
            text = read_delimited(path, name)
            return _Content(name, text.rows, text.unparsed)
        return _Content(name, read_parquet(path, name), UNPARSED_SCHEMA.empty_table())

    def _cut(self, table: Table, content: _Content, first_day: date, end_day: date) -> _Content:
        assert table.event_time is not None, "an event table has an event time"
        bounds = (self._settings.day_start(first_day), self._settings.day_start(end_day))
        rows, unparsed = cut_to_days(content.name, content.rows, content.unparsed, table.event_time, *bounds)
        return _Content(content.name, rows, unparsed)


def _expected(table: str) -> str:
    return f"{table}.parquet, {table}.csv or a folder {table}/ with a file per day"


def _day_of(path: Path) -> date | None:
    """The day that a file or folder is named for."""
    text = path.name.removeprefix("date=") if path.is_dir() else path.stem
    is_named_so = path.name == f"date={text}" if path.is_dir() else path.suffix in _SUFFIXES
    if not is_named_so or not _DAY.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _format_of(table: str, paths: list[Path]) -> Literal["typed", "text"]:
    suffixes = {path.suffix for path in paths}
    if len(suffixes) > 1:
        raise DataFailed(f"{table}: some of the days are Parquet files and some CSV files; land them apart")
    return "text" if suffixes == {".csv"} else "typed"


def read_parquet(path: Path, name: str) -> pa.Table:
    """The rows of a Parquet file, text in Arrow's plain encoding.

    Raises:
        DataFailed: It is no complete Parquet file, or names a column twice.
    """
    try:
        with pq.ParquetFile(path) as file:  # not read_table: that adds a column for the folder's name
            rows = file.read()
    except (pa.ArrowException, OSError) as error:
        size = path.stat().st_size
        raise DataFailed(f"{name}: not a readable Parquet file ({size} bytes); expected a complete one") from error
    repeated = sorted({column for column in rows.column_names if rows.column_names.count(column) > 1})
    if repeated:
        raise DataFailed(f"{name}: has the column {', '.join(repeated)} more than once")
    return _with_plain_text(rows)


def _with_plain_text(rows: pa.Table) -> pa.Table:
    """The same rows with text in Arrow's plain encoding: writers differ in it (dictionaries, 64-bit offsets)."""
    fields = []
    for column in rows.schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        fields.append(pa.field(column.name, pa.string() if is_text else kind))
    return rows.cast(pa.schema(fields))


def _joined(table: Table, contents: list[_Content]) -> pa.Table:
    """The rows of all files; a column may be missing in some of them only if the contract lets it be absent."""
    required = {column.name for column in table.columns if not column.may_be_absent}
    first = contents[0]
    for content in contents[1:]:
        for holder, other in ((first, content), (content, first)):
            lost = sorted(required & set(holder.rows.column_names) - set(other.rows.column_names))
            if lost:
                raise DataFailed(f"{other.name}: column {', '.join(lost)} is missing; {holder.name} has it")
        for name in set(first.rows.column_names) & set(content.rows.column_names):
            types = first.rows.schema.field(name).type, content.rows.schema.field(name).type
            if types[0] != types[1] and pa.null() not in types:
                raise DataFailed(f"{content.name}: column {name} is {types[1]}; in {first.name} it is {types[0]}")
    return pa.concat_tables([content.rows for content in contents], promote_options="default")
