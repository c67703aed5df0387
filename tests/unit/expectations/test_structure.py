"""Columns and types of a batch, told without quoting what it holds."""

import pyarrow as pa
import pytest

from expectations.structure import check_structure
from expectations.verdicts import Status
from ml.shop.contract import CONTRACT

LINES = CONTRACT["order_lines"]


def good_rows(**other):
    columns = {field.name: pa.nulls(1, field.type) for field in LINES.schema}
    return pa.table({name: value for name, value in (columns | other).items() if value is not None})


def problem(rows, is_text=False):
    """(rule, observed) of what failed."""
    return [
        (rule.rule, rule.observed) for rule in check_structure(LINES, rows, is_text) if rule.status is Status.FAILED
    ]


def test_the_contract_s_own_columns_pass():
    assert problem(good_rows()) == []


def test_optional_columns_may_be_absent():
    assert problem(good_rows(discount_cents=None)) == []


def test_a_missing_column_is_named_with_what_stands_there_instead():
    rows = good_rows().rename_columns(
        ["amount" if name == "amount_cents" else name for name in good_rows().column_names]
    )
    assert problem(rows) == [("columns_present", "amount_cents is missing; unknown column amount")]


def test_a_row_in_the_place_of_the_header_is_not_quoted():
    ((rule, observed),) = problem(pa.table({"Alice": ["x"], "alice@example.com": ["y"]}), is_text=True)
    assert rule == "columns_present"
    assert "lice" not in observed
    assert "header" in observed


def test_a_column_that_comes_twice_is_named():
    rows = pa.Table.from_arrays(
        [*good_rows().columns, pa.chunked_array([pa.nulls(1, pa.string())])], [*good_rows().column_names, "order_id"]
    )
    assert problem(rows) == [("columns_present", "order_id comes twice")]


@pytest.mark.parametrize(
    ("column", "values", "observed"),
    [
        ("amount_cents", pa.array([2.49]), "amount_cents: expected int64 cents, got double"),
        ("amount_cents", pa.array([float("inf")]), "amount_cents: expected int64 cents, got double"),
        ("quantity", pa.array(["two"]), "quantity: expected float64, got string"),
        ("order_id", pa.array([7]), "order_id: expected string, got int64"),
        ("ordered_at", pa.array(["2024-01-01"]), "ordered_at: expected timestamp, got string"),
    ],
)
def test_a_wrong_type_is_named_with_what_was_expected(column, values, observed):
    assert problem(good_rows(**{column: values})) == [("column_types", observed)]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("amount_cents", pa.array([249.0])),
        ("amount_cents", pa.array([float("nan")])),
        ("amount_cents", pa.array([1], pa.int32())),
        ("amount_cents", pa.nulls(1)),
        ("quantity", pa.array([2])),
        ("order_id", pa.array(["a"]).dictionary_encode()),
        ("order_id", pa.array(["a"], pa.large_string())),
        ("ordered_at", pa.array([0], pa.timestamp("s"))),
    ],
)
def test_a_type_that_loses_nothing_passes(column, values):
    assert problem(good_rows(**{column: values})) == []


def test_unknown_columns_are_a_warning():
    results = check_structure(LINES, good_rows(colour=pa.array(["red"])), is_text=False)
    assert [(rule.rule, rule.status) for rule in results if rule.status is Status.WARNED] == [
        ("unknown_columns", Status.WARNED)
    ]
    assert results[1].observed == "1 more, not stored: colour"


def test_text_has_no_types_but_line_numbers():
    rows = pa.table({**{name: ["x"] for name in LINES.schema.names}, "_line": pa.array([2])})
    assert [rule.status for rule in check_structure(LINES, rows, is_text=True)] == [Status.PASSED]
