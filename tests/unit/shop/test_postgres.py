"""What needs no server: reading COPY's text, and what is kept when a conversation breaks off."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from ml.outcomes import DataFailed
from ml.shop.contract.table import ColumnType
from ml.shop.postgres import go_on_from
from ml.shop.postgres_copy import SourceColumn, as_arrow

CURSOR = SourceColumn("updated_at", "timestamptz", ColumnType.TIMESTAMP)
NAME = SourceColumn("name", "text", ColumnType.STRING)
SECOND = 1_000_000


def piece(*seconds: int) -> pa.Table:
    return pa.table({"updated_at": pa.array([second * SECOND for second in seconds], pa.timestamp("us", "UTC"))})


def seconds_of(pieces: list[pa.Table]) -> list[int]:
    return [int(moment.timestamp()) for one in pieces for moment in one["updated_at"].to_pylist()]


def test_the_newest_moment_is_read_again_as_a_whole():
    kept, since = go_on_from([piece(1, 2), piece(2, 3, 3)], CURSOR, None)
    assert seconds_of(kept) == [1, 2, 2]
    assert since == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)


def test_a_moment_that_fills_several_pieces_is_dropped_from_all_of_them():
    kept, since = go_on_from([piece(1, 3), piece(3, 3), piece(3)], CURSOR, None)
    assert seconds_of(kept) == [1]
    assert since == datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)


def test_nothing_that_came_and_a_snapshot_begin_anew():
    before = datetime(2024, 1, 1, tzinfo=UTC)
    assert go_on_from([], CURSOR, before) == ([], before)
    assert go_on_from([piece()], CURSOR, before) == ([], before)
    assert go_on_from([piece(1, 2)], None, None) == ([], None)


def test_null_is_not_the_empty_text():
    columns = [NAME, SourceColumn("day", "date", ColumnType.DATE), SourceColumn("is_gift", "bool", ColumnType.BOOL)]
    rows = as_arrow([b'"",19782,t\n', b",,\n", b'"a ""b"",\nc",-1,f\n', b"NULL,0,t\n", "ä,1,f\n".encode()], columns)
    assert rows.to_pylist() == [
        {"name": "", "day": date(2024, 2, 29), "is_gift": True},
        {"name": None, "day": None, "is_gift": None},
        {"name": 'a "b",\nc', "day": date(1969, 12, 31), "is_gift": False},
        {"name": "NULL", "day": date(1970, 1, 1), "is_gift": True},
        {"name": "ä", "day": date(1970, 1, 2), "is_gift": False},
    ]


def test_numbers_are_read_to_the_last_digit():
    columns = [SourceColumn("cents", "int8", ColumnType.INT64), SourceColumn("rate", "float8", ColumnType.FLOAT64)]
    rows = as_arrow([b"9223372036854775807,0.1\n", b"-1,1e-300\n", b",Infinity\n"], columns)
    assert rows["cents"].to_pylist() == [9223372036854775807, -1, None]
    assert rows["rate"].to_pylist() == [0.1, 1e-300, float("inf")]


def test_text_that_is_not_utf8_is_refused_without_its_value():
    with pytest.raises(DataFailed, match="not valid UTF-8") as failed:
        as_arrow([b"secret\xff\n"], [NAME])
    assert "secret" not in str(failed.value)


def test_no_rows_have_the_columns_too():
    assert as_arrow([], [NAME, CURSOR]).schema.names == ["name", "updated_at"]
