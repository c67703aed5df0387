"""A whole table is cut into days so that over all days each row and line is delivered once."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from ml.outcomes import DataFailed
from ml.shop.day_cut import cut_to_days
from ml.shop.delivery import UNPARSED_SCHEMA

# New York's 5 January 2024 begins at 05:00 UTC.
START = datetime(2024, 1, 5, 5, tzinfo=UTC)
END = START + timedelta(days=1)
NOTHING = UNPARSED_SCHEMA.empty_table()


def text_rows(*times):
    return pa.table(
        {
            "id": [f"r{n}" for n in range(len(times))],
            "at": pa.array(times, pa.string()),
            "_line": range(2, 2 + len(times)),
        }
    )


def unparsed_at(*lines):
    return pa.Table.from_pylist(
        [{"source_file": "orders.csv", "line": line, "text": "?", "reason": "?"} for line in lines],
        schema=UNPARSED_SCHEMA,
    )


def ids(rows, unparsed=NOTHING, start=START, end=END):
    kept, lines = cut_to_days("orders.csv", rows, unparsed, "at", start, end)
    return kept.column("id").to_pylist(), lines.column("line").to_pylist()


def test_the_first_moment_is_within_and_the_last_is_not():
    times = [START - timedelta(microseconds=1), START, END - timedelta(microseconds=1), END]
    rows = pa.table({"id": list("abcd"), "at": pa.array(times, pa.timestamp("us", tz="UTC"))})
    assert ids(rows) == (["b", "c"], [])


@pytest.mark.parametrize(
    "kind", [pa.timestamp("ns", tz="UTC"), pa.timestamp("ms", tz="America/New_York"), pa.timestamp("s")]
)
def test_timestamps_of_any_unit_and_zone_are_moments(kind):
    moments = pa.array([START, END], pa.timestamp("us", tz="UTC")).cast(kind)
    assert ids(pa.table({"id": ["a", "b"], "at": moments})) == (["a"], [])


def test_text_without_an_offset_is_utc():
    rows = text_rows("2024-01-05 04:59:59", "2024-01-05T05:00:00Z", "2024-01-05 23:59:59-05:00", "2024-01-06 05:00:00")
    assert ids(rows) == (["r1", "r2"], [])


def test_a_row_without_a_readable_time_goes_with_the_row_before_it():
    rows = text_rows("2024-01-04 12:00", None, "2024-01-05 12:00", "soon", "2024-01-06 12:00", "")
    assert ids(rows) == (["r2", "r3"], [])


def test_at_the_top_it_goes_with_the_row_after_it():
    assert ids(text_rows("soon", "2024-01-05 12:00")) == (["r0", "r1"], [])


def test_an_unparsed_line_goes_with_the_row_before_it():
    rows = text_rows("2024-01-04 12:00", "2024-01-05 12:00", "2024-01-06 12:00")
    rows = rows.set_column(2, "_line", pa.array([3, 5, 7]))
    assert ids(rows, unparsed_at(2, 4, 6, 8)) == (["r1"], [6])


def test_over_all_days_everything_is_delivered_once():
    rows = text_rows("2024-01-04 12:00", "?", "2024-01-05 12:00", "2024-01-06 04:00", "2024-01-06 12:00")
    found, lines = [], []
    for day in range(-1, 2):
        kept, left = ids(rows, unparsed_at(1, 9), START + timedelta(days=day), END + timedelta(days=day))
        found += kept
        lines += left
    assert sorted(found) == ["r0", "r1", "r2", "r3", "r4"]
    assert sorted(lines) == [1, 9]


def test_a_table_without_rows_stays_one():
    assert ids(text_rows()) == ([], [])


def test_a_missing_time_column_is_named_with_those_found():
    with pytest.raises(DataFailed, match=r"orders\.csv: column at is missing; .* found id, when$"):
        cut_to_days("orders.csv", pa.table({"id": [1], "when": [2], "_line": [2]}), NOTHING, "at", START, END)


def test_a_time_column_of_another_type_is_named():
    with pytest.raises(DataFailed, match=r"column at is int64; expected UTC timestamps"):
        ids(pa.table({"id": [1], "at": [1704445200]}))


def test_a_time_column_without_any_time_is_named():
    with pytest.raises(DataFailed, match="column at has no readable time in any row"):
        ids(text_rows("soon", None))


def test_a_file_of_unparsed_lines_only_is_not_silently_dropped():
    with pytest.raises(DataFailed, match="no readable time"):
        ids(text_rows(), unparsed_at(2, 3))
