"""Measures of parts add up to those of the table, and are taken once."""

import json
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from expectations import part_measures
from expectations.part_measures import PartMeasures
from expectations.profile import ColumnMeasures, add_up, as_profile, profile_columns
from ml.outcomes import DataFailed
from ml.stores.versions import Version, VersionStore

NAN, INFINITE = float("nan"), float("inf")
FIRST = {"day": [date(2024, 1, 1), None], "share": [0.5, NAN], "count_lines": [3, None], "name": ["a", None]}
SECOND = {"day": [date(2024, 1, 9)], "share": [INFINITE], "count_lines": [-7], "name": ["b"]}
EMPTY = {"day": [], "share": [], "count_lines": [], "name": []}
SCHEMA = pa.schema([("day", pa.date32()), ("share", pa.float64()), ("count_lines", pa.int64()), ("name", pa.string())])


def rows_of(columns: dict) -> pa.Table:
    return pa.table(columns, schema=SCHEMA)


def version_of(store: VersionStore, *tables: dict) -> Version:
    parts = tuple(store.write_part("t", str(number), rows_of(table)) for number, table in enumerate(tables))
    return Version("staged", 0, None, parts)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "marts")


def test_counts_and_extremes_of_parts_are_those_of_the_table(store: VersionStore) -> None:
    measured = PartMeasures(store, {"t": "day"}).of_table(version_of(store, FIRST, SECOND, EMPTY), "t")
    assert (measured.rows, measured.newest_day) == (3, date(2024, 1, 9))
    assert measured.columns == {
        "day": ColumnMeasures(3, 1, 0, None, None),
        "share": ColumnMeasures(3, 0, 2, 0.5, 0.5),
        "count_lines": ColumnMeasures(3, 1, 0, -7.0, 3.0),
        "name": ColumnMeasures(3, 1, 0, None, None),
    }


def test_the_profile_of_parts_is_the_profile_of_the_whole(store: VersionStore) -> None:
    measured = PartMeasures(store, {}).of_table(version_of(store, FIRST, SECOND), "t")
    whole = pa.concat_tables([rows_of(FIRST), rows_of(SECOND)])
    with duckdb.connect() as connection:
        connection.register("whole", whole)
        expected = profile_columns(connection, "whole", nan_is_missing=False)
    pd.testing.assert_frame_equal(as_profile(measured.columns), expected)


def test_nothing_adds_up_to_nothing() -> None:
    assert add_up([]) == {}


def test_a_part_is_measured_once_and_anew_when_its_measures_cannot_be_read(
    store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = version_of(store, FIRST, SECOND)
    expected = PartMeasures(store, {"t": "day"}).of_table(version, "t")
    measured = []
    measure = part_measures._measure
    monkeypatch.setattr(part_measures, "_measure", lambda *given: measured.append(given) or measure(*given))
    assert PartMeasures(store, {"t": "day"}).of_table(version, "t") == expected
    assert measured == []
    (one, other) = sorted((store.root / "measures").glob("*.json"))
    one.write_text("{")
    other.write_text(json.dumps(json.loads(other.read_text()) | {"form": 0}))
    assert PartMeasures(store, {"t": "day"}).of_table(version, "t") == expected
    assert len(measured) == 2


def test_a_damaged_part_is_found_though_it_was_measured_before(store: VersionStore) -> None:
    version = version_of(store, FIRST)
    PartMeasures(store, {}).of_table(version, "t")
    store.path_of(version.parts[0]).write_bytes(b"damaged")
    fresh = VersionStore(store.root)
    with pytest.raises(DataFailed, match="do not match"):
        PartMeasures(fresh, {}).of_table(version, "t")


def test_measures_go_with_their_part(store: VersionStore) -> None:
    version = version_of(store, FIRST, SECOND)
    measures = PartMeasures(store, {})
    measures.of_table(version, "t")
    store.path_of(version.parts[0]).unlink()
    measures.forget_gone()
    assert [path.stem for path in (store.root / "measures").iterdir()] == [version.parts[1].sha256]
