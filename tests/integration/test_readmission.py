"""The way back from quarantine against the real gate: what passes is published once, what does not stays."""

import shutil
import stat
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.outcomes import EXIT_DATA_FAILED, EXIT_OK, EXIT_USAGE
from ml.shop.breakages import break_shop
from ml.shop.generated import day_file
from ml.stores.operations import (
    gate_verdicts,
    incidents,
    quarantine_decisions,
    quarantine_entries,
    quarantine_reveals,
)
from tests.gate_records import operations, raw_rows
from tests.quarantine_commands import counts, entry, export, readmit, run
from tests.readmission_shop import (
    DAY,
    NOT_POSITIVE,
    PLANTED,
    assert_conserved,
    edit,
    make_history,
    make_quarantined,
    missing_lines,
    newest_batch,
    state,
    use,
    with_quantity,
)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A shop whose first days passed the gate, made once."""
    folder = tmp_path_factory.mktemp("history") / "made"
    with pytest.MonkeyPatch.context() as patch:
        use(folder, patch)
        make_history(folder)
    return folder


@pytest.fixture(scope="module")
def quarantined(history, tmp_path_factory):
    """The same with a day more, some of whose lines were set aside; made once."""
    folder = tmp_path_factory.mktemp("quarantined") / "made"
    with pytest.MonkeyPatch.context() as patch:
        use(folder, patch)
        return folder, make_quarantined(history, folder)


@pytest.fixture
def shop(history, tmp_path, monkeypatch):
    """A copy of the first; returns the folder of its files."""
    shutil.copytree(history, tmp_path / "copy")
    use(tmp_path / "copy", monkeypatch)
    return tmp_path / "copy" / "shop"


@pytest.fixture
def batch(quarantined, tmp_path, monkeypatch):
    """The batch whose rows are in quarantine, in a copy of the second."""
    folder, name = quarantined
    shutil.copytree(folder, tmp_path / "copy")
    use(tmp_path / "copy", monkeypatch)
    return name


def test_repaired_rows_come_back_and_their_orders_are_complete_again(batch, tmp_path, capsys):
    assert entry(batch)["owner"] == "till-team"
    assert sum(missing_lines().values()) == PLANTED
    file = tmp_path / "rows.csv"
    code, told = export(batch, file, capsys=capsys)
    assert code == EXIT_OK
    assert f"readmit order_lines --batch {batch}" in told
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [row["rows"] for row in operations().rows(quarantine_reveals)] == [PLANTED]
    edit(file, with_quantity)
    code, told = readmit(batch, "--file", file, "--by", "ada", capsys=capsys)
    assert code == EXIT_OK
    assert f"{PLANTED} of {PLANTED} rows are back" in told
    assert counts(batch) == (PLANTED, PLANTED, 0, "readmitted")
    assert missing_lines() == {}
    [back] = assert_conserved(batch)
    assert {row["quantity"] for row in raw_rows("order_lines", _batch_id=back["batch_id"])} == {2.0}
    assert ("rows_set_aside", "closed") in {(row["kind"], row["state"]) for row in operations().rows(incidents)}
    [decision] = operations().rows(quarantine_decisions)
    assert (decision["action"], decision["decided_by"], decision["reason"]) == (
        "readmit_repaired",
        "ada",
        "till 3 was repaired",
    )
    code, told = run("quarantine", "history", capsys=capsys)
    assert (code, "ada" in told, "reveal" in told) == (EXIT_OK, True, True)


def test_the_same_file_twice_changes_nothing(batch, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    export(batch, file)
    edit(file, lambda rows: with_quantity(rows[:2]) + rows[2:])
    assert readmit(batch, "--file", file)[0] == EXIT_OK
    before = state()
    code, told = readmit(batch, "--file", file, capsys=capsys)
    assert code == EXIT_OK
    assert "nothing to readmit" in told
    assert state() == before


def test_half_of_the_rows_repaired_leaves_the_other_half_open(batch, tmp_path, capsys):
    first, second = tmp_path / "first.csv", tmp_path / "second.parquet"
    export(batch, first)
    edit(first, lambda rows: with_quantity(rows[:3]) + rows[3:])
    code, told = readmit(batch, "--file", first, capsys=capsys)
    assert code == EXIT_OK
    assert f"3 are still refused by {NOT_POSITIVE}" in told
    assert counts(batch) == (PLANTED, 3, 0, "open")
    assert sum(missing_lines().values()) == 3
    assert_conserved(batch)
    assert export(batch, second)[0] == EXIT_OK
    rows = pq.read_table(second)
    assert rows.column("_row").to_pylist() == [3, 4, 5]
    quantity = pa.array([1.0] * 3)
    pq.write_table(rows.set_column(rows.schema.get_field_index("quantity"), "quantity", quantity), second)
    assert readmit(batch, "--file", second)[0] == EXIT_OK
    assert counts(batch) == (PLANTED, PLANTED, 0, "readmitted")
    assert missing_lines() == {}
    assert len(assert_conserved(batch)) == 2


def test_a_file_that_holds_rows_that_are_back_already_leaves_those_alone(batch, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    export(batch, file)
    edit(file, lambda rows: with_quantity(rows[:3], "2") + rows[3:])
    readmit(batch, "--file", file)
    edit(file, lambda rows: with_quantity(rows, "5"))
    code, told = readmit(batch, "--file", file, capsys=capsys)
    assert code == EXIT_OK
    assert "3 had come back before and are as they were" in told
    back = [row["batch_id"] for row in assert_conserved(batch)]
    quantities = sorted(row["quantity"] for row in raw_rows("order_lines") if row["_batch_id"] in back)
    assert quantities == [2, 2, 2, 5, 5, 5]
    assert missing_lines() == {}


def test_rows_are_accepted_as_they_are_when_the_rule_may_be_waived(batch, capsys):
    code, told = readmit(batch, "--as-is", "--by", "ada", capsys=capsys)
    assert code == EXIT_OK
    assert f"{PLANTED} of {PLANTED} rows are back" in told
    [back] = assert_conserved(batch)
    assert {row["quantity"] for row in raw_rows("order_lines", _batch_id=back["batch_id"])} == {0.0}
    assert [row["action"] for row in operations().rows(quarantine_decisions)] == ["readmit_as_is"]
    [verdict] = operations().rows(gate_verdicts, batch_id=back["batch_id"])
    assert [rule["observed"] for rule in verdict["rules"] if rule["rule"] == NOT_POSITIVE] == ["waived for 6 rows"]
    before = state()
    assert readmit(batch, "--as-is")[0] == EXIT_OK
    assert state() == before


def test_a_rule_that_later_steps_rely_on_is_not_waived(shop, capsys):
    path = day_file(shop, "orders", DAY)
    rows = pq.read_table(path)
    index = rows.schema.get_field_index("currency")
    foreign = pa.array(["EUR", *rows.column("currency").to_pylist()[1:]])
    pq.write_table(rows.set_column(index, "currency", foreign), path)
    assert run("ingest", "--day", DAY)[0] == EXIT_OK
    batch, before = newest_batch("orders"), state()
    code, told = readmit(batch, "--as-is", rule="currency_not_settlement", table="orders", capsys=capsys)
    assert code == EXIT_DATA_FAILED
    assert "cannot be waived" in told
    assert state() == before


def test_rows_that_break_another_rule_stay_though_theirs_is_waived(shop, tmp_path, capsys):
    path = day_file(shop, "order_lines", DAY)
    rows = pq.read_table(path).to_pylist()
    for row in rows[:3]:
        row["quantity"] = 0.0
    rows[0]["currency"] = "EUR"
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)
    assert run("ingest", "--day", DAY)[0] == EXIT_OK
    batch = newest_batch()
    code, told = readmit(batch, "--as-is", capsys=capsys)
    assert code == EXIT_OK
    assert "1 are still refused by currency_not_settlement" in told
    assert counts(batch) == (3, 2, 0, "open")
    assert_conserved(batch)


def test_nothing_passes_nothing_changes(batch, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    export(batch, file)
    before = state()
    code, told = readmit(batch, "--file", file, capsys=capsys)
    assert code == EXIT_DATA_FAILED
    assert "no row passed" in told
    assert f"{NOT_POSITIVE}: expected quantity above 0, found 6 rows that do not" in told
    assert state() == before


def _without(column):
    return lambda rows: [{name: value for name, value in row.items() if name != column} for row in rows]


MISFITS = {
    "position_missing": (_without("_row"), "column _row is missing"),
    "position_empty": (lambda rows: [{**rows[0], "_row": ""}, *rows[1:]], "_row is empty or no whole number in line 2"),
    "position_no_number": (lambda rows: [*rows[:2], {**rows[2], "_row": "2b"}], "no whole number in line 4"),
    "position_twice": (lambda rows: [*rows, rows[4]], "_row 4 comes more than once"),
    "not_in_the_entry": (
        lambda rows: [*rows, {**rows[0], "_row": "6"}],
        "_row 6 is not in the entry",
    ),
    "negative": (lambda rows: [{**rows[0], "_row": "-1"}], "no whole number in line 2"),
    "column_missing": (_without("amount_cents"), "column amount_cents is missing"),
    "other_entry": (lambda rows: [{**row, "_rule": "amount_cents_negative"} for row in rows], "another entry"),
    "other_batch": (lambda rows: [{**row, "_batch_id": "2024-01-09.1d.00000000"} for row in rows], "another entry"),
}


def test_a_file_that_does_not_fit_the_entry_is_refused_by_what_is_wrong_with_it(batch, tmp_path, capsys):
    export(batch, tmp_path / "rows.csv")
    before = state()
    for misfit, (change, told_so) in MISFITS.items():
        file = tmp_path / f"{misfit}.csv"
        shutil.copy(tmp_path / "rows.csv", file)
        edit(file, lambda rows, change=change: change(with_quantity(rows)))
        code, told = readmit(batch, "--file", file, capsys=capsys)
        assert code == EXIT_DATA_FAILED, misfit
        assert told_so in told
        assert state() == before


def test_a_batch_that_was_delivered_again_meanwhile_is_given_up_for_the_newer_one(batch, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    export(batch, file)
    edit(file, with_quantity)
    path = day_file(tmp_path / "copy" / "shop", "order_lines", DAY)
    rows = pq.read_table(path)
    quantities = [quantity or 3.0 for quantity in rows.column("quantity").to_pylist()]
    quantities[0] = 0.0  # the source forgot one
    index = rows.schema.get_field_index("quantity")
    pq.write_table(rows.set_column(index, rows.schema.field(index), pa.array(quantities)), path)
    assert run("ingest", "--day", DAY)[0] == EXIT_OK
    newer = newest_batch()
    assert newer != batch
    assert sum(missing_lines().values()) == PLANTED + 1
    before = state()
    code, told = readmit(batch, "--file", file, capsys=capsys)
    assert code == EXIT_DATA_FAILED
    assert f"again as batch {newer}" in told
    assert "quarantine discard order_lines" in told
    assert state() == before
    discarding = ("quarantine", "discard", "order_lines", "--batch", batch, "--rule", NOT_POSITIVE)
    assert run(*discarding, "--reason", "delivered again", "--no-rebuild")[0] == EXIT_OK
    assert counts(batch) == (PLANTED, 0, PLANTED, "discarded")
    assert sum(missing_lines().values()) == 1
    assert readmit(newer, "--as-is")[0] == EXIT_OK
    assert missing_lines() == {}
    assert_conserved(newer)


def test_discarded_rows_stay_and_do_not_come_back(batch, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    export(batch, file)
    edit(file, lambda rows: with_quantity(rows[:2]))
    assert readmit(batch, "--file", file)[0] == EXIT_OK
    discarding = ("quarantine", "discard", "order_lines", "--batch", batch, "--rule", NOT_POSITIVE)
    assert run(*discarding, "--reason", "a test of the till")[0] == EXIT_OK
    assert counts(batch) == (PLANTED, 2, 4, "discarded")
    assert sum(missing_lines().values()) == 4, "what was given up is still missing"
    before = state()
    assert "no row was open" in run(*discarding, "--reason", "again", capsys=capsys)[1]
    code, told = readmit(batch, "--file", file, capsys=capsys)
    assert (code, "nothing to readmit" in told) == (EXIT_OK, True)
    edit(file, lambda rows: [{**rows[0], "_row": "5"}])
    code, told = readmit(batch, "--file", file, capsys=capsys)
    assert code == EXIT_DATA_FAILED
    assert "4 rows were discarded, and do not come back" in told
    assert state() == before
    assert export(batch, tmp_path / "more.csv", capsys=capsys)[0] == EXIT_DATA_FAILED
    told = run("quarantine", "show", "order_lines", "--batch", batch, capsys=capsys)[1]
    assert told.count("readmitted") == 2
    assert told.count("discarded") == 4


def test_lines_that_did_not_split_are_repaired_in_the_tables_columns(shop, tmp_path, capsys):
    break_shop(shop, "csv_ragged_row", DAY)
    assert run("ingest", "--day", DAY)[0] == EXIT_OK
    batch, file = newest_batch(), tmp_path / "lines.csv"
    code, told = readmit(batch, "--as-is", rule="line_unparsed", capsys=capsys)
    assert code == EXIT_DATA_FAILED
    assert "cannot be accepted as it is" in told
    assert export(batch, file, rule="line_unparsed")[0] == EXIT_OK

    def split(rows):
        names = pq.read_schema(day_file(shop, "order_lines", DAY - timedelta(days=1))).names
        return [{**row, **dict(zip(names, row["_text"].split(","), strict=False))} for row in rows]

    code, told = readmit(batch, "--file", file, rule="line_unparsed", capsys=capsys)
    assert code == EXIT_DATA_FAILED, "the columns are not filled in yet"
    edit(file, split)
    assert readmit(batch, "--file", file, rule="line_unparsed")[0] == EXIT_OK
    assert counts(batch, rule="line_unparsed") == (1, 1, 0, "readmitted")
    [back] = assert_conserved(batch)
    assert len(raw_rows("order_lines", _batch_id=back["batch_id"])) == 1


def test_a_repaired_row_with_a_key_that_is_there_is_counted_and_the_newest_counts(batch, tmp_path, capsys):
    other = raw_rows("order_lines", _batch_id=batch)[0]["order_line_id"]
    file = tmp_path / "rows.csv"
    export(batch, file)

    def doubled(rows):
        rows = with_quantity(rows)
        rows[0]["order_line_id"] = other
        rows[1]["order_line_id"] = rows[2]["order_line_id"]
        return rows

    edit(file, doubled)
    code, told = readmit(batch, "--file", file, capsys=capsys)
    assert code == EXIT_OK
    assert "1 collapsed into another" in told
    assert "1 have a key that raw had already" in told
    [back] = assert_conserved(batch)
    assert (back["rows_in"], back["rows_accepted"], back["rows_collapsed"]) == (PLANTED, PLANTED - 1, 1)
    assert missing_lines() == {}


def test_no_value_is_told_when_personal_rows_come_back(shop, tmp_path, capsys, caplog):
    secret = "c0001"
    path = day_file(shop, "orders", DAY)
    rows = pq.read_table(path).to_pylist()
    rows[0].update(customer_id="top-secret-customer", total_amount_cents=-7)
    schema = pq.read_schema(path)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    assert run("ingest", "--day", DAY)[0] == EXIT_OK
    batch, rule, file = newest_batch("orders"), "total_amount_cents_negative", tmp_path / "rows.csv"
    told = export(batch, file, rule=rule, table="orders", capsys=capsys)[1]
    assert "top-secret-customer" in file.read_text()
    told += readmit(batch, "--file", file, rule=rule, table="orders", capsys=capsys)[1]
    edit(file, lambda rows: [{**row, "ordered_at": "top-secret-customer"} for row in rows])
    told += readmit(batch, "--file", file, rule=rule, table="orders", capsys=capsys)[1]
    broken = tmp_path / "broken.csv"
    broken.write_text(file.read_text().rstrip("\n") + ",top-secret-customer\n")
    told += readmit(batch, "--file", broken, rule=rule, table="orders", capsys=capsys)[1]
    told += run("quarantine", "show", "orders", "--batch", batch, capsys=capsys)[1]
    told += run("quarantine", "list", capsys=capsys)[1]
    told += run("quarantine", "history", capsys=capsys)[1]
    assert "no row passed" in told
    assert "line 2 cannot be split" in told
    assert "top-secret-customer" not in told + caplog.text
    assert secret not in told
    recorded = str([operations().rows(table) for table in (quarantine_entries, quarantine_decisions, gate_verdicts)])
    assert "top-secret-customer" not in recorded
    assert [row["reason"] for row in operations().rows(quarantine_reveals)] == ["to repair them"]


def test_wrong_use_is_told(batch, tmp_path, capsys):
    file = tmp_path / "rows.csv"
    assert export(batch, file)[0] == EXIT_OK
    assert export(batch, file, capsys=capsys)[0] == EXIT_USAGE, "a file that is there is left as it is"
    assert export(batch, tmp_path / "rows.xlsx")[0] == EXIT_USAGE
    assert readmit(batch)[0] == EXIT_USAGE
    assert readmit(batch, "--as-is", "--file", file)[0] == EXIT_USAGE
    assert readmit(batch, "--as-is", "--reason", " ")[0] == EXIT_USAGE
    assert readmit(batch, "--as-is", rule="no_such_rule")[0] == EXIT_DATA_FAILED
    assert readmit(batch, "--as-is", table="no_such_table")[0] == EXIT_DATA_FAILED
    assert readmit("2024-01-01.1d.00000000", "--as-is")[0] == EXIT_DATA_FAILED


def test_the_list_shows_owner_share_and_budget(batch, capsys):
    code, told = run("quarantine", "list", "--open", capsys=capsys)
    assert code == EXIT_OK
    [line] = [line for line in told.splitlines() if NOT_POSITIVE in line]
    assert "till-team" in line
    assert "of at most 5%" in line


def test_a_day_that_is_judged_again_leaves_what_came_back(batch, capsys):
    assert readmit(batch, "--as-is")[0] == EXIT_OK
    before = state()
    assert run("ingest", "--day", DAY)[0] == EXIT_OK
    assert state() == before
