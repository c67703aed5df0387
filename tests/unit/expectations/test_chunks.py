"""A batch judged in chunks gets the verdict that it gets in one piece."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from expectations.arrivals import judge_batch, judge_chunks
from expectations.suites.arrivals.from_contract import History
from expectations.verdicts import Status
from ml.shop.contract import CONTRACT
from ml.shop.delivery import UNPARSED_SCHEMA
from ml.stores.raw import RawStore
from tests.unit.expectations.arriving import DAY, KNOWN, batch_of, judged_settings, line, lines_of

NOTHING_UNPARSED = UNPARSED_SCHEMA.empty_table()
FIRST = DAY - timedelta(days=29)


@pytest.fixture
def settings(tmp_path):
    return judged_settings(tmp_path)


def month_of_lines(**changes):
    """Three lines on each of thirty days; `changes` are made to every tenth line."""
    rows = []
    for number in range(90):
        day = FIRST + timedelta(days=number // 3)
        at = datetime(day.year, day.month, day.day, 15, tzinfo=UTC)
        row = line(number, ordered_at=at, amount_cents=200 + number, discount_cents=number % 4 or None)
        rows.append(row | (changes if number % 10 == 5 else {}))
    return rows


def chunks_of(rows, size):
    return [rows.slice(start, size) for start in range(0, max(rows.num_rows, 1), size)]


def summary(judged):
    """Everything that a verdict says and everything that it lets through."""
    accepted = judged.accepted
    return (
        judged.verdict,
        accepted and accepted.rows.to_pylist(),
        accepted and accepted.set_aside_lines.to_pylist(),
        accepted and accepted.counts().to_pylist(),
        [(entry.rule, entry.reason, entry.rows.to_pylist()) for entry in judged.set_aside],
    )


SCALE = History(has_rows=True, medians={"amount_cents": 5.0}, rows_per_day=90.0, null_shares={"discount_cents": 0.1})
BATCHES = {
    "first": (month_of_lines(), History()),
    "rows set aside": ([*month_of_lines()[9:], line(97, quantity=0.0), line(98, amount_cents=None)], KNOWN),
    "over budget": (month_of_lines(quantity=0.0), KNOWN),
    "another scale": (month_of_lines(), SCALE),
    "deletions": (month_of_lines(_op="delete", amount_cents=None, quantity=None, ordered_at=None), KNOWN),
    "empty": ([], KNOWN),
}


@pytest.mark.parametrize("name", BATCHES)
def test_chunks_make_no_difference(settings, name):
    rows, history = BATCHES[name]
    table = lines_of(rows)
    batch = batch_of("order_lines", table, first_day=FIRST)
    whole = judge_batch(settings, batch, table, NOTHING_UNPARSED, history)
    parted = judge_chunks(settings, batch, chunks_of(table, 32), NOTHING_UNPARSED, history)
    assert summary(parted) == summary(whole)
    expected = {"over budget", "another scale", "empty"}
    assert (whole.verdict.status is Status.FAILED) == (name in expected), whole.verdict.sentences()


def test_chunks_of_one_row_make_no_difference(settings):
    table = lines_of([line(0), line(1, quantity=0.0), line(2), line(3)])
    batch = batch_of("order_lines", table)
    generous = settings.model_copy(update={"quarantine_budgets": {"order_lines": 0.5}})
    whole = judge_batch(generous, batch, table, NOTHING_UNPARSED, KNOWN)
    assert whole.verdict.rows_quarantined == 1
    assert summary(judge_chunks(generous, batch, chunks_of(table, 1), NOTHING_UNPARSED, KNOWN)) == summary(whole)


def test_a_long_first_batch_in_chunks_is_compared_with_its_own_first_half(settings):
    rows = month_of_lines()
    rows = [row | {"amount_cents": 2} if number >= 45 else row for number, row in enumerate(rows)]
    table = lines_of(rows)
    batch = batch_of("order_lines", table, first_day=FIRST)
    judged = judge_chunks(settings, batch, chunks_of(table, 30), NOTHING_UNPARSED, History())
    assert {rule.rule for rule in judged.verdict.bad_rules} == {"amount_cents_scale"}


def test_a_wrong_type_in_a_later_chunk_fails_the_batch_by_its_structure(settings):
    """Whole numbers as floats pass; the third chunk shows that they are euros."""
    table = lines_of(month_of_lines())
    position = table.schema.get_field_index("amount_cents")
    euros = pa.array([number + (0.5 if number == 85 else 0.0) for number in range(90)])
    table = table.set_column(position, "amount_cents", euros)
    batch = batch_of("order_lines", table, first_day=FIRST)
    judged = judge_chunks(settings, batch, chunks_of(table, 30), NOTHING_UNPARSED, KNOWN)
    whole = judge_batch(settings, batch, table, NOTHING_UNPARSED, KNOWN)
    assert judged.verdict == whole.verdict
    assert {rule.rule for rule in judged.verdict.bad_rules} == {"column_types"}


def test_text_in_chunks_is_read_like_text_in_one_piece(settings):
    names = CONTRACT["order_lines"].schema.names
    rows = [{name: None if row[name] is None else str(row[name]) for name in names} for row in month_of_lines()]
    rows[17]["quantity"] = "two"
    table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})
    batch = batch_of("order_lines", table, first_day=FIRST, is_text=True)
    whole = judge_batch(settings, batch, table, NOTHING_UNPARSED, KNOWN)
    assert [entry.rule for entry in whole.set_aside] == ["quantity_unreadable"]
    assert summary(judge_chunks(settings, batch, chunks_of(table, 32), NOTHING_UNPARSED, KNOWN)) == summary(whole)


def test_duplicates_collapse_within_a_chunk_and_every_row_is_accounted_for(settings):
    rows = [line(0), line(0), line(1), line(1), line(0), *(line(number) for number in range(2, 9))]
    table = lines_of(rows)
    judged = judge_chunks(settings, batch_of("order_lines", table), chunks_of(table, 4), NOTHING_UNPARSED, KNOWN)
    ids = judged.accepted.rows.column("order_line_id").to_pylist()
    assert ids == ["l0", "l1", "l0", *(f"l{number}" for number in range(2, 9))]
    assert (judged.verdict.rows_published, judged.verdict.rows_collapsed) == (10, 2)


def test_chunks_are_written_while_judging_and_published_as_one_batch(settings):
    raw = RawStore(settings)
    table = lines_of(month_of_lines())
    batch = batch_of("order_lines", table, first_day=FIRST)

    def keep(number, rows):
        return raw.write_chunk(batch.table, batch.id, number, rows)

    judged = judge_chunks(settings, batch, chunks_of(table, 40), NOTHING_UNPARSED, KNOWN, keep)
    assert raw.versions.current() is None, "nothing is seen before the verdict"
    assert judged.accepted.rows.num_rows == 0
    version = raw.append([judged.accepted])
    parts = version.parts_of("order_lines")
    assert [part.partition for part in parts] == [f"{batch.id}/00{number}" for number in range(3)]
    assert raw.accepted() == {("order_lines", batch.id)}
    whole = judge_batch(settings, batch, table, NOTHING_UNPARSED, KNOWN)
    assert raw.versions.read(version, "order_lines").to_pylist() == whole.accepted.rows.to_pylist()
    assert raw.versions.read(version, "batches").to_pylist() == whole.accepted.counts().to_pylist()
    found = raw.recent_rows("order_lines", ["order_line_id"], FIRST, DAY + timedelta(days=1))
    assert found.num_rows == 90
    assert raw.append([judged.accepted]) == version
    assert [len(paths) for table, paths in raw.select_batches(DAY).paths.items() if table == "order_lines"] == [3]
    assert raw.select_batches(date(2023, 1, 1)).paths["order_lines"] == ()


def test_rows_of_a_batch_that_will_be_held_take_no_memory(settings):
    table = lines_of([line(number, quantity=0.0) for number in range(40)])
    seen = []

    def keep(number, rows):
        seen.append(rows.num_rows)

    judged = judge_chunks(settings, batch_of("order_lines", table), chunks_of(table, 20), NOTHING_UNPARSED, KNOWN, keep)
    assert judged.verdict.status is Status.FAILED
    assert seen == []
    assert judged.set_aside == ()
    assert {rule.rule: rule.rows for rule in judged.verdict.rules if rule.rows} == {"quantity_not_positive": 40}
