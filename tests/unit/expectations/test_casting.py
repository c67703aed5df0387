"""Reading contract types out of text, and casting typed columns."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from expectations.casting import conform_text, conform_typed
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Column, ColumnType, Table, TableKind

ANYTHING = Table(
    "anything",
    TableKind.ENTITY,
    "One row per thing.",
    key=("name",),
    columns=(
        Column("name", ColumnType.STRING, ""),
        Column("whole", ColumnType.INT64, "", nullable=True),
        Column("number", ColumnType.FLOAT64, "", nullable=True),
        Column("flag", ColumnType.BOOL, "", nullable=True),
        Column("day", ColumnType.DATE, "", nullable=True),
        Column("moment", ColumnType.TIMESTAMP, "", nullable=True),
    ),
)
NOON = datetime(2024, 1, 5, 12, 0, tzinfo=UTC)


def read(column, *texts):
    conformed = conform_text(ANYTHING, pa.table({"name": ["n"] * len(texts), column: pa.array(texts, pa.string())}))
    return conformed.rows.column(column).to_pylist(), conformed.unreadable[column].to_pylist()


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("whole", "249", 249),
        ("whole", " -7 ", -7),
        ("number", "2.5", 2.5),
        ("number", "1e3", 1000.0),
        ("flag", "TRUE", True),
        ("flag", "0", False),
        ("day", "2024-02-29", date(2024, 2, 29)),
        ("moment", "2024-01-05 12:00", NOON),
        ("moment", "2024-01-05T12:00:00Z", NOON),
        ("moment", "2024-01-05 07:00:00.000-05:00", NOON),
        ("moment", "2024-01-05", datetime(2024, 1, 5, tzinfo=UTC)),
    ],
)
def test_a_readable_text_becomes_its_value(column, text, value):
    assert read(column, text) == ([value], [False])


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("whole", "2.49"),
        ("whole", "1e3"),
        ("whole", "9999999999999999999999"),
        ("number", "1,5"),
        ("number", "nan"),
        ("number", "infinity"),
        ("flag", "maybe"),
        ("day", "2024-02-30"),
        ("day", "05.01.2024"),
        ("moment", "yesterday"),
        ("moment", "2024-01-05 25:00"),
    ],
)
def test_an_unreadable_text_is_marked_and_not_guessed(column, text):
    assert read(column, text) == ([None], [True])


def test_an_empty_field_is_null_and_not_unreadable():
    assert read("whole", "", None, "  ") == ([None, None, None], [False, False, False])


def test_an_empty_text_is_null():
    conformed = conform_text(ANYTHING, pa.table({"name": ["", "a"]}))
    assert conformed.rows.column("name").to_pylist() == [None, "a"]


def test_absent_columns_are_null_and_unknown_ones_are_left_out():
    conformed = conform_typed(ANYTHING, pa.table({"name": ["a"], "surplus": [1]}))
    assert conformed.rows.column_names == ["name", "whole", "number", "flag", "day", "moment", "updated_at", "_op"]
    assert conformed.rows.column("whole").to_pylist() == [None]
    assert conformed.rows.schema.field("moment").type == pa.timestamp("us", tz="UTC")


def test_nanoseconds_are_cut_and_naive_stamps_are_utc():
    stamps = pa.array([1704456000_000000_999], pa.int64()).cast(pa.timestamp("ns"))
    conformed = conform_typed(ANYTHING, pa.table({"name": ["a"], "moment": stamps}))
    assert conformed.rows.column("moment").to_pylist() == [NOON]


def test_nan_is_null_and_whole_floats_become_integers():
    rows = pa.table({"name": ["a", "b"], "whole": [249.0, float("nan")], "number": [float("nan"), 1.0]})
    conformed = conform_typed(ANYTHING, rows)
    assert conformed.rows.column("whole").to_pylist() == [249, None]
    assert conformed.rows.column("number").to_pylist() == [None, 1.0]


def test_every_contract_table_can_be_read_from_text():
    judged = []
    for table in CONTRACT.values():
        rows = pa.table({column.name: pa.array([""], pa.string()) for column in table.columns})
        conformed = conform_text(table, rows)
        assert conformed.rows.num_rows == 1
        assert not any(mask.to_pylist()[0] for mask in conformed.unreadable.values())
        judged.append(table.name)
    assert {"orders", "payments", "fraud_reviews"} <= set(judged)
