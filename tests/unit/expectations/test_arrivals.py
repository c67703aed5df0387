"""One batch against its suite, on hand-made rows."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from expectations.arrivals import BadStructure, judge_batch, judge_rows, unchanged
from expectations.suites.arrivals import ARRIVAL_SUITES
from expectations.suites.arrivals.from_contract import History
from expectations.verdicts import Status
from ml.shop.contract import CONTRACT
from ml.shop.delivery import UNPARSED_SCHEMA
from ml.stores.raw import raw_schema
from tests.unit.expectations.arriving import DAY, KNOWN, batch_of, judged_settings, line, lines_of

# The shop closes the day at midnight in New York.
END_OF_DAY = datetime(2024, 1, 6, 5, 0, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path):
    return judged_settings(tmp_path)


def judge(settings, rows, history=KNOWN, unparsed=(), **days):
    """The verdict on order lines; a big enough budget lets single rows be looked at."""
    table = lines_of(rows)
    left_over = pa.Table.from_pylist(list(unparsed), schema=UNPARSED_SCHEMA)
    return judge_batch(
        settings, batch_of("order_lines", table, unparsed=len(unparsed), **days), table, left_over, history
    )


def good(count=19):
    return [line(number) for number in range(count)]


def quarantined(judged):
    """rule -> order line ids."""
    return {entry.rule: entry.rows.column("order_line_id").to_pylist() for entry in judged.set_aside}


def failed(judged):
    return {rule.rule for rule in judged.verdict.rules if rule.status is Status.FAILED}


def test_every_contract_table_has_a_suite_and_a_row_count():
    assert set(ARRIVAL_SUITES) == set(CONTRACT)


def test_good_rows_pass_whole(settings):
    judged = judge(settings, good())
    assert judged.verdict.status is Status.PASSED
    assert judged.accepted.rows.num_rows == judged.verdict.rows_published == 19
    assert judged.set_aside == ()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"quantity": 0.0}, "quantity_not_positive"),
        ({"quantity": -1.0}, "quantity_not_positive"),
        ({"quantity": None}, "quantity_is_null"),
        ({"quantity": float("inf")}, "quantity_not_finite"),
        ({"amount_cents": -1}, "amount_cents_negative"),
        ({"amount_cents": None}, "amount_cents_is_null"),
        ({"discount_cents": -5}, "discount_cents_negative"),
        ({"order_id": ""}, "order_id_is_blank"),
        ({"product_id": None}, "product_id_is_null"),
        ({"currency": "EUR"}, "currency_not_settlement"),
        ({"ordered_at": END_OF_DAY}, "event_time_in_future"),
        ({"ordered_at": datetime(1999, 12, 31, tzinfo=UTC)}, "event_time_out_of_range"),
        ({"ordered_at": None}, "ordered_at_is_null"),
    ],
)
def test_a_bad_row_is_set_aside_under_its_rule_and_the_rest_goes_on(settings, change, rule):
    judged = judge(settings, [*good(), line(99, **change)])
    assert judged.verdict.status is Status.PASSED
    assert quarantined(judged) == {rule: ["l99"]}
    assert judged.accepted.set_aside_lines.column("rule").to_pylist() == [rule]
    assert (judged.verdict.rows_in, judged.verdict.rows_published, judged.verdict.rows_quarantined) == (20, 19, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"ordered_at": END_OF_DAY - timedelta(microseconds=1)},
        {"discount_cents": None},
        {"amount_cents": 0},
        {"quantity": 0.001},
    ],
)
def test_what_the_contract_allows_passes(settings, change):
    judged = judge(settings, [*good(), line(99, **change)])
    assert judged.verdict.rows_published == 20


def test_a_row_that_breaks_two_rules_is_counted_once_under_the_first(settings):
    judged = judge(settings, [*good(), line(99, quantity=0.0, amount_cents=-1)])
    assert quarantined(judged) == {"quantity_not_positive": ["l99"]}
    counts = {rule.rule: rule.rows for rule in judged.verdict.rules if rule.rows}
    assert counts == {"quantity_not_positive": 1}


def test_a_deletion_needs_its_key_only(settings):
    deletion = dict.fromkeys(line()) | {"order_line_id": "l99", "_op": "delete"}
    assert judge(settings, [*good(), deletion]).verdict.rows_published == 20
    nameless = deletion | {"order_line_id": None}
    assert judge(settings, [*good(), nameless]).verdict.rows_quarantined == 1


def test_too_many_bad_rows_hold_the_whole_batch(settings):
    judged = judge(settings, [*good(17), line(98, quantity=0.0), line(99, quantity=0.0)])
    assert failed(judged) == {"quarantined_share"}
    assert judged.accepted is None
    assert judged.set_aside == ()
    assert (judged.verdict.rows_published, judged.verdict.rows_quarantined) == (0, 0)


def test_lines_that_could_not_be_split_are_rows_in(settings):
    unparsed = {"source_file": "f.csv", "line": 7, "text": "a,b", "reason": "two fields"}
    judged = judge(settings, good(), unparsed=[unparsed])
    assert (judged.verdict.rows_in, judged.verdict.rows_published, judged.verdict.rows_quarantined) == (20, 19, 1)
    assert [entry.rule for entry in judged.set_aside] == ["line_unparsed"]


def test_duplicates_collapse_and_are_counted(settings):
    judged = judge(settings, [*good(), line(3), line(4, amount_cents=251)])
    assert (judged.verdict.rows_in, judged.verdict.rows_published, judged.verdict.rows_collapsed) == (21, 19, 2)


def test_an_empty_batch_fails_unless_the_shop_was_closed(settings):
    assert failed(judge(settings, [])) == {"row_count", "freshness"}
    christmas = date(2023, 12, 25)
    judged = judge(settings, [], first_day=christmas, last_day=christmas)
    assert judged.verdict.status is Status.PASSED


def test_old_rows_alone_are_not_fresh(settings):
    late = [line(90 + number, ordered_at=datetime(2024, 1, 2, 15, tzinfo=UTC)) for number in range(3)]
    judged = judge(settings, late)
    assert failed(judged) == {"freshness"}
    assert judge(settings, [*late, *good()]).accepted.rows_late == 3


def test_an_all_null_column_fails_by_its_name(settings):
    judged = judge(settings, [line(number, amount_cents=None) for number in range(20)])
    assert "amount_cents_null_share" in failed(judged)


def test_an_optional_column_that_turned_empty_fails_only_if_it_used_to_be_filled(settings):
    empty = [line(number, discount_cents=None) for number in range(20)]
    assert failed(judge(settings, empty, History(has_rows=True, null_shares={"discount_cents": 0.1}))) == {
        "discount_cents_null_share"
    }
    assert failed(judge(settings, empty, History(has_rows=True, null_shares={"discount_cents": 0.9}))) == set()


@pytest.mark.parametrize(("cents", "fails"), [(250, False), (13, False), (12, True), (5000, False), (5001, True)])
def test_amounts_of_another_scale_fail(settings, cents, fails):
    history = History(has_rows=True, medians={"amount_cents": 250.0})
    judged = judge(settings, [line(number, amount_cents=cents) for number in range(20)], history)
    assert failed(judged) == ({"amount_cents_scale"} if fails else set())


def test_a_scale_is_not_judged_by_a_handful_of_values(settings):
    history = History(has_rows=True, medians={"amount_cents": 250.0})
    assert failed(judge(settings, [line(number, amount_cents=1) for number in range(19)], history)) == set()


@pytest.mark.parametrize(("rows_before", "fails"), [(190.0, False), (191.0, True), (1.9, False), (1.8, True)])
def test_days_with_far_more_or_fewer_rows_than_usual_fail(settings, rows_before, fails):
    judged = judge(settings, good(19), History(has_rows=True, rows_per_day=rows_before))
    assert failed(judged) == ({"rows_per_day"} if fails else set())


def test_a_long_first_batch_is_compared_with_its_own_first_half(settings):
    """Twenty lines in the first half of sixteen days at 5 dollars, twenty in the second at 5 cents."""
    first_day = DAY - timedelta(days=15)

    def at(day):
        return datetime(day.year, day.month, day.day, 15, tzinfo=UTC)

    rows = [line(number, amount_cents=500, ordered_at=at(first_day)) for number in range(20)]
    rows += [line(20 + number, amount_cents=5, ordered_at=at(DAY)) for number in range(20)]
    judged = judge(settings, rows, History(), first_day=first_day)
    assert failed(judged) == {"amount_cents_scale"}


def test_text_that_is_no_number_is_set_aside(settings):
    rows = [{name: str(value) for name, value in line(number).items()} for number in range(20)]
    rows[7]["amount_cents"] = "2.50"
    names = CONTRACT["order_lines"].schema.names
    table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})
    batch = batch_of("order_lines", table, is_text=True)
    judged = judge_batch(settings, batch, table, UNPARSED_SCHEMA.empty_table(), KNOWN)
    assert judged.verdict.status is Status.PASSED
    assert quarantined(judged) == {"amount_cents_unreadable": ["l7"]}
    assert judged.set_aside[0].rows.column("amount_cents").to_pylist() == ["2.50"], "the row is kept as delivered"


def test_a_promotion_that_ends_before_it_starts_is_set_aside(settings):
    start = datetime(2024, 1, 5, 5, tzinfo=UTC)
    rows = [
        {"product_id": f"p{number}", "store_id": "s", "starts_at": start, "ends_at": start + timedelta(days=7)}
        for number in range(19)
    ]
    rows.append({"product_id": "p99", "store_id": "s", "starts_at": start, "ends_at": start})
    table = pa.Table.from_pylist(rows, schema=CONTRACT["promotions"].schema)
    judged = judge_batch(settings, batch_of("promotions", table), table, UNPARSED_SCHEMA.empty_table(), KNOWN)
    assert [(entry.rule, entry.rows.column("product_id").to_pylist()) for entry in judged.set_aside] == [
        ("ends_before_start", ["p99"])
    ]


def test_a_first_catalogue_without_anything_to_recommend_fails(settings):
    rows = [{"product_id": "p1", "is_merchandise": False}]
    table = pa.Table.from_pylist(rows, schema=CONTRACT["products"].schema)
    batch = batch_of("products", table)
    first = judge_batch(settings, batch, table, UNPARSED_SCHEMA.empty_table(), History())
    assert failed(first) == {"some_merchandise"}
    later = judge_batch(settings, batch, table, UNPARSED_SCHEMA.empty_table(), KNOWN)
    assert failed(later) == set()


def test_every_suite_judges_an_empty_and_a_one_row_batch_without_raising(settings):
    for name, table in CONTRACT.items():
        for rows in (0, 1):
            content = pa.table({field.name: pa.nulls(rows, field.type) for field in table.schema})
            judged = judge_batch(settings, batch_of(name, content), content, UNPARSED_SCHEMA.empty_table(), KNOWN)
            assert judged.verdict.status is not Status.UNKNOWN, f"{name}: {judged.verdict.sentences()}"
            must_fail = rows == 1 or not table.may_be_empty
            assert (judged.verdict.status is Status.FAILED) == must_fail, f"{name} with {rows} rows"


def test_an_unchanged_snapshot_collapses_into_what_is_there():
    table = pa.table({"product_id": ["p1", "p2"]})
    judged = unchanged(batch_of("products", table))
    assert (judged.verdict.rows_in, judged.verdict.rows_collapsed, judged.accepted.rows.num_rows) == (2, 2, 0)


def test_no_value_of_a_row_reaches_a_verdict(settings):
    secret = "secret-4711"
    rows = [line(number, order_id=secret, currency=secret) for number in range(20)]
    judged = judge(settings, rows)
    assert judged.verdict.status is Status.FAILED
    assert secret not in str(judged.verdict.as_row())


def test_rows_alone_are_judged_without_the_rules_about_batches(settings):
    rows = lines_of([line(1), line(1), line(2, quantity=0.0), line(3, amount_cents=-1, quantity=-1.0)])
    judged = judge_rows(settings, batch_of("order_lines", rows), rows)
    assert judged.accepted.column("order_line_id").to_pylist() == ["l1", "l1"]
    assert judged.accepted.schema.equals(raw_schema(CONTRACT["order_lines"]))
    claimed = {finding.rule: finding.positions.tolist() for finding in judged.findings if len(finding.positions)}
    assert claimed == {"quantity_not_positive": [2, 3]}


def test_a_waived_rule_is_left_out_and_all_others_still_apply(settings):
    rows = lines_of([line(1, quantity=0.0), line(2, quantity=0.0, amount_cents=-1), line(3, order_id=None)])
    batch = batch_of("order_lines", rows)
    judged = judge_rows(settings, batch, rows, waived=frozenset({"quantity_not_positive", "order_id_is_null"}))
    assert judged.accepted.column("order_line_id").to_pylist() == ["l1"]
    claimed = {finding.rule: finding.positions.tolist() for finding in judged.findings if len(finding.positions)}
    assert claimed == {"order_id_is_null": [2], "amount_cents_negative": [1]}, "a key's column cannot be vouched for"


def test_rows_of_a_wrong_structure_are_refused_by_name(settings):
    rows = lines_of([line(1)]).drop_columns(["amount_cents"])
    with pytest.raises(BadStructure, match=r"order_lines: columns_present: .*amount_cents is missing"):
        judge_rows(settings, batch_of("order_lines", rows), rows)
