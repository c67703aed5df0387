"""Measures of a version's parts, each taken once: a part's content never changes, so neither do its measures.

They are kept beside the marts under the part's sha256 (counts and extremes of our own marts; parts that are gone take
theirs along). A file that cannot be read is as good as none.
"""

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import duckdb

from expectations.profile import ColumnMeasures, add_up, measure_columns
from ml.stores.durable import write_durably
from ml.stores.versions import Part, Version, VersionStore

_FORM = 1
"""Goes up when something else is measured."""


@dataclass(frozen=True)
class Measures:
    """What was measured of a table or of one part of it."""

    rows: int
    newest_day: date | None
    columns: dict[str, ColumnMeasures]


class PartMeasures:
    """The measures of one store's parts.

    Args:
        day_columns: Column per table whose newest value is kept.
    """

    def __init__(self, store: VersionStore, day_columns: dict[str, str]) -> None:
        self._store = store
        self._day_columns = day_columns
        self._folder = store.root / "measures"

    def of_table(self, version: Version, table: str) -> Measures | None:
        """A table's measures, added up over its parts; None when the version has no such table.

        Raises:
            DataFailed: A part is missing or its bytes changed, measured before or not.
        """
        parts = [self._of_part(part) for part in version.parts_of(table)]
        if not parts:
            return None
        days = [part.newest_day for part in parts if part.newest_day is not None]
        rows = sum(part.rows for part in parts)
        return Measures(rows, max(days, default=None), add_up([part.columns for part in parts]))

    def forget_gone(self) -> None:
        """Remove the measures of parts that the store no longer has."""
        for path in self._folder.glob("*.json"):
            if not (self._store.root / "parts" / f"{path.stem}.parquet").exists():
                path.unlink(missing_ok=True)

    def _of_part(self, part: Part) -> Measures:
        file = self._store.open_part(part)
        path = self._folder / f"{part.sha256}.json"
        day_column = self._day_columns.get(part.table)
        measures = _read(path, day_column)
        if measures is None:
            measures = _measure(file, day_column)
            content = {"form": _FORM, "day_column": day_column, **asdict(measures)}
            write_durably(path, json.dumps(content, default=str).encode())
        return measures


def _measure(file: Path, day_column: str | None) -> Measures:
    with duckdb.connect(config={"threads": 2, "memory_limit": "2GB"}) as connection:
        connection.execute("set TimeZone = 'UTC'")
        connection.read_parquet(str(file)).create_view("part")
        day = f'max("{day_column}")' if day_column else "null::date"
        ((rows, newest),) = connection.execute(f"select count(*), {day} from part").fetchall()  # noqa: S608 - our names
        return Measures(rows, newest, measure_columns(connection, "part", nan_is_missing=False))


def _read(path: Path, day_column: str | None) -> Measures | None:
    try:
        content = json.loads(path.read_bytes())
        if content["form"] != _FORM or content["day_column"] != day_column:
            return None
        newest = content["newest_day"]
        columns = {name: ColumnMeasures(**measures) for name, measures in content["columns"].items()}
        return Measures(content["rows"], date.fromisoformat(newest) if newest else None, columns)
    except (OSError, ValueError, KeyError, TypeError):
        return None
