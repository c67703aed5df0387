"""What is told about a delivery in another form: the exact difference, and never a value."""

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from expectations.arrivals import judge_batch, with_form
from expectations.forms import Change, record_form
from expectations.suites.arrivals.from_contract import History
from expectations.verdicts import Status
from ml.shop.contract import CONTRACT
from ml.shop.delivery import UNPARSED_SCHEMA
from ml.stores.operations import Operations, delivered_schemas
from tests.unit.expectations.arriving import KNOWN, batch_of, judged_settings, line, lines_of

BEFORE = lines_of([line(number, amount_cents=200 + number) for number in range(30)])


@pytest.fixture
def settings(tmp_path):
    return judged_settings(tmp_path)


def today(**changes):
    rows = [line(100 + number, amount_cents=201 + number) | changes for number in range(30)]
    return lines_of(rows)


def renamed(rows, **names):
    return rows.rename_columns([names.get(name, name) for name in rows.column_names])


def compare(settings, rows, before=BEFORE, history=KNOWN, table="order_lines"):
    batch = batch_of(table, rows)
    judged = judge_batch(settings, batch, rows, UNPARSED_SCHEMA.empty_table(), history)
    previous = replace(batch_of(table, before), id="2024-01-04.1d.11111111") if before is not None else None
    recent = before.column if before is not None else lambda _name: None
    return with_form(judged, previous, recent)


def test_the_same_form_is_no_change(settings):
    judged = compare(settings, today())
    assert (judged.form.change, judged.form.differences) == (Change.SAME, ())
    assert judged.sample is None, "a verdict does not hold on to rows"


def test_the_first_delivery_has_nothing_to_differ_from(settings):
    assert compare(settings, today(), before=None).form.change is Change.FIRST


@pytest.mark.parametrize(
    ("rows", "change", "differences", "columns"),
    [
        (
            renamed(today(), amount_cents="amount"),
            Change.BREAKING,
            ("amount_cents is missing; new column amount (int64) has values like it: renamed?",),
            ("amount_cents",),
        ),
        (today().drop_columns(["amount_cents"]), Change.BREAKING, ("amount_cents is missing",), ("amount_cents",)),
        (
            today().append_column("colour", pa.array(["red"] * 30)),
            Change.ADDITIVE,
            ("new column colour (string), not stored",),
            (),
        ),
        (
            today().set_column(4, "quantity", pa.array(["1"] * 30)),
            Change.BREAKING,
            ("quantity was retyped: double -> string",),
            ("quantity",),
        ),
        (
            today().set_column(5, "amount_cents", pa.array([2.5] * 30)),
            Change.BREAKING,
            ("amount_cents (cents) was retyped: int64 -> double",),
            ("amount_cents",),
        ),
        (
            today().set_column(5, "amount_cents", pa.array([250] * 30, pa.int32())),
            Change.ADDITIVE,
            ("amount_cents came as int32 where it was int64",),
            ("amount_cents",),
        ),
    ],
)
def test_each_difference_is_told_exactly(settings, rows, change, differences, columns):
    judged = compare(settings, rows)
    assert (judged.form.change, judged.form.differences, judged.form.columns) == (change, differences, columns)
    assert (judged.verdict.status is Status.FAILED) == (change is Change.BREAKING)
    if change is Change.BREAKING:
        assert judged.form.rules == {rule.rule for rule in judged.verdict.bad_rules}, "one cause is told once"


def test_a_new_column_of_the_right_type_but_other_values_is_no_rename(settings):
    rows = renamed(today(), amount_cents="points").set_column(5, "points", pa.array([1_000_000] * 30))
    assert compare(settings, rows).form.differences == (
        "amount_cents is missing",
        "new column points (int64), not stored",
    )


def test_the_new_column_whose_values_are_most_alike_is_named(settings):
    rows = renamed(today(), amount_cents="net")
    rows = rows.append_column("weight_grams", pa.array([90_000] * 30))
    assert compare(settings, rows).form.differences[0] == (
        "amount_cents is missing; new column net (int64) has values like it: renamed?"
    )


def test_ids_are_known_by_how_they_are_made(settings):
    """No id of today was there before, but all are a letter and a number."""
    judged = compare(settings, renamed(today(), order_line_id="line_no"))
    assert judged.form.differences == (
        "order_line_id is missing; new column line_no (string) has values like it: renamed?",
    )


def test_without_history_only_the_type_speaks(settings):
    judged = compare(settings, renamed(today(), amount_cents="amount"), before=None)
    assert judged.form.differences == ("amount_cents is missing; new column amount (int64) has its type: renamed?",)


def test_an_optional_column_that_goes_by_another_name_is_held_even_where_nulls_tell_nothing(settings):
    judged = compare(settings, renamed(today(), discount_cents="discount"))
    assert judged.form.change is Change.BREAKING
    assert {rule.rule for rule in judged.verdict.bad_rules} == {"form"}
    assert judged.accepted is None
    assert judged.set_aside == ()


def test_an_optional_column_that_merely_stops_is_a_warning(settings):
    judged = compare(settings, today().drop_columns(["discount_cents"]))
    assert (judged.form.change, judged.form.differences) == (Change.ADDITIVE, ("discount_cents is missing",))
    assert judged.accepted is not None


@pytest.mark.parametrize(
    ("cents", "told"),
    [
        (2, "the median of amount_cents fell from 250 to 2: whole units (such as euros) for cents?"),
        (25_000, "the median of amount_cents rose from 250 to 25,000: hundredths of a cent for cents?"),
        (10_000_000, "the median of amount_cents rose from 250 to 1e+07: another unit?"),
    ],
)
def test_another_unit_is_told_with_both_medians(settings, cents, told):
    history = History(has_rows=True, medians={"amount_cents": 250.0})
    judged = compare(settings, today(amount_cents=cents), history=history)
    assert (judged.form.change, judged.form.differences) == (Change.BREAKING, (told,))
    assert judged.form.rules == {"amount_cents_scale"}
    assert judged.form.columns == ("amount_cents",)


def interactions(kinds):
    rows = [
        {
            "interaction_id": f"i{number}",
            "customer_id": "c1",
            "product_id": "p1",
            "occurred_at": datetime(2024, 1, 5, 15, tzinfo=UTC),
            "interaction_type": kind,
        }
        for number, kind in enumerate(kinds)
    ]
    return pa.Table.from_pylist(rows, schema=CONTRACT["interactions"].schema)


@pytest.mark.parametrize(("count", "change"), [(1, Change.ADDITIVE), (10, Change.BREAKING)])
def test_a_new_kind_is_set_aside_and_holds_the_batch_when_there_are_many(settings, count, change):
    before = interactions(["view"] * 40)
    judged = compare(settings, interactions(["view"] * 30 + ["hover"] * count), before, table="interactions")
    assert judged.form.change is change
    assert judged.form.differences == (
        f"interaction_type has values that the contract does not name, in {count} rows: a new kind?",
    )
    assert "hover" not in str(judged.form)


def test_a_header_that_is_a_row_is_not_quoted(settings):
    rows = pa.table({"Alice": ["x"], "alice@example.com": ["y"]})
    batch = batch_of("order_lines", rows, is_text=True)
    judged = with_form(
        judge_batch(settings, batch, rows, UNPARSED_SCHEMA.empty_table(), KNOWN), None, lambda _name: None
    )
    assert "lice" not in " ".join(judged.form.differences)
    assert "2 new columns, names withheld" in judged.form.differences


def test_each_form_is_recorded_once_with_its_difference(settings):
    operations = Operations.from_settings(settings)
    for rows in (today(), today().append_column("colour", pa.array(["red"] * 30)), today()):
        judged = compare(settings, rows)
        record_form(operations, judged.batch, judged.form)
    found = [(row["change"], row["difference"], len(row["columns"])) for row in operations.rows(delivered_schemas)]
    assert found == [("first", [], 10), ("additive", ["new column colour (string), not stored"], 11)]


def test_a_form_that_was_breaking_and_is_accepted_later_is_known_as_accepted(settings):
    operations = Operations.from_settings(settings)
    judged = compare(settings, today().drop_columns(["amount_cents"]))
    record_form(operations, judged.batch, judged.form)
    assert [row["change"] for row in operations.rows(delivered_schemas)] == ["breaking"]
    record_form(operations, judged.batch, replace(judged.form, change=Change.ADDITIVE))
    assert [row["change"] for row in operations.rows(delivered_schemas)] == ["additive"]
