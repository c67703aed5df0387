"""Every bad input against the real gate: what is refused publishes nothing, what is set aside is only the bad rows."""

import shutil
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import expectations.arrivals as arrivals
from ml.cli.ingest import gate_arrivals, land_days
from ml.lineage import impact
from ml.outcomes import EXIT_DATA_FAILED, EXIT_OK, EXIT_TOOL_FAILED, EXIT_USAGE, DataFailed, ToolFailed
from ml.settings import PREFIX, get_settings
from ml.shop.breakages import BREAKAGES, break_shop
from ml.shop.generated import day_file, small_shop
from ml.stores.operations import gate_verdicts, quarantine_entries
from ml.stores.quarantine import Quarantine
from ml.stores.raw import BATCHES, SET_ASIDE_ORDER_LINES, RawStore
from tests.command_line import shopwright
from tests.gate_records import (
    assert_conserved,
    count_alerts,
    newest_verdict,
    open_incidents,
    operations,
    raw_rows,
    raw_version,
)

FIRST = date(2024, 1, 1)
HISTORY_END = FIRST + timedelta(days=13)
DAY = HISTORY_END + timedelta(days=1)


def set_to(patch, **settings):
    for name, value in settings.items():
        patch.setenv(f"{PREFIX}{name.upper()}", str(value))
    get_settings.cache_clear()


def use(folder, patch):
    """Let the environment be that of the shop in a folder."""
    days = {"first_day": FIRST, "bootstrap_day": HISTORY_END, "last_day": ""}
    set_to(patch, source="files", shop_id="tiny", files_dir=folder / "shop", state_dir=folder / "var", **days)


@pytest.fixture(autouse=True)
def _known_effect(monkeypatch):
    """What depends on a column is told at once: finding out means parsing the warehouse's project."""
    monkeypatch.setattr(impact, "affected_by", lambda _settings, table, columns: [f"{table}.{columns[0]}"])


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A shop whose first fourteen days have passed the gate, made once."""
    folder = tmp_path_factory.mktemp("history")
    small_shop(folder / "shop", FIRST, 17)
    with pytest.MonkeyPatch.context() as patch:
        use(folder, patch)
        land_days(FIRST, HISTORY_END)
        gate_arrivals(HISTORY_END)
    return folder


@pytest.fixture
def shop(history, tmp_path, monkeypatch):
    """A copy of that shop; returns the folder of its files."""
    shutil.copytree(history, tmp_path / "copy")
    use(tmp_path / "copy", monkeypatch)
    return tmp_path / "copy" / "shop"


def ingest(*arguments):
    return shopwright("ingest", *arguments)


def verdict(table):
    return newest_verdict(table, DAY)


def bad_rules(table):
    return {rule["rule"] for rule in verdict(table)["rules"] if rule["status"] in ("failed", "unknown")}


def delivered_rows(shop, table="order_lines"):
    return pq.read_table(day_file(shop, table, DAY))


# Breakage -> the rules that must name it, per table.
REFUSED = {
    "renamed_column": {"order_lines": {"columns_present"}},
    "empty_batch": {"orders": {"row_count", "freshness"}, "order_lines": {"row_count", "freshness", "rows_per_day"}},
    "all_null_column": {"order_lines": {"amount_cents_null_share", "quarantined_share", "row_count"}},
    "euros_instead_of_cents": {"order_lines": {"amount_cents_scale"}},
}
# What is told as one change of the delivery's form, and not rule by rule.
CHANGES_OF_FORM = {
    "renamed_column": {"columns_present"},
    "euros_instead_of_cents": {"amount_cents_scale", "discount_cents_scale"},
}
UNREADABLE = ("truncated_parquet", "zero_byte_parquet", "csv_wrong_delimiter")
SET_ASIDE = {
    "future_timestamps": "event_time_in_future",
    "zero_quantity": "quantity_not_positive",
    "negative_quantity": "quantity_not_positive",
    "csv_ragged_row": "line_unparsed",
}
LET_THROUGH = ("duplicated_rows", "late_lines", "unknown_product")
MISSING = ("dropped_required_file",)


def test_every_breakage_is_tried():
    assert {*REFUSED, *UNREADABLE, *SET_ASIDE, *LET_THROUGH, *MISSING} == set(BREAKAGES)


def test_a_good_day_passes_and_alerts_nobody(shop):
    before = raw_version()
    assert ingest("--day", str(DAY)) == EXIT_OK
    assert raw_version() != before
    assert verdict("order_lines")["status"] == "passed"
    assert verdict("order_lines")["rows_published"] == delivered_rows(shop).num_rows
    assert open_incidents() == {}
    assert_conserved()


@pytest.mark.parametrize("breakage", REFUSED)
def test_a_bad_batch_is_refused_and_nothing_of_the_day_is_published(shop, breakage, capsys):
    break_shop(shop, breakage, DAY)
    before = raw_version()
    assert ingest("--day", str(DAY)) == EXIT_DATA_FAILED
    message = capsys.readouterr().err
    assert raw_version() == before, "raw moved, so a build would see the bad batch"
    for table, rules in REFUSED[breakage].items():
        assert verdict(table)["status"] == "failed"
        assert verdict(table)["rows_published"] == 0
        assert rules - {"row_count"} <= bad_rules(table)
        named = {rule for kind, object_, rule in open_incidents() if (kind, object_) == ("gate_failed", table)}
        told_by_form = CHANGES_OF_FORM.get(breakage, set()) if table == "order_lines" else set()
        assert named == bad_rules(table) - told_by_form
        assert (("schema_changed", table, "form") in open_incidents()) == bool(told_by_form)
        assert table in message
    assert operations().rows(quarantine_entries, batch_id=verdict("order_lines")["batch_id"]) == []
    assert_conserved()


@pytest.mark.parametrize("breakage", UNREADABLE)
def test_an_unreadable_file_stops_the_run_before_the_gate(shop, breakage, capsys):
    break_shop(shop, breakage, DAY)
    before = raw_version()
    assert ingest("--day", str(DAY)) == EXIT_DATA_FAILED
    assert f"order_lines/{DAY}." in capsys.readouterr().err
    assert raw_version() == before
    assert ("gate_failed", "order_lines", "source_readable") in open_incidents()
    with pytest.raises(DataFailed, match="order_lines"):
        gate_arrivals(DAY)
    assert raw_version() == before, "the gate published a day whose lines are missing"


def test_a_required_table_that_is_missing_stops_the_day(shop):
    break_shop(shop, "dropped_required_file", DAY)
    before = raw_version()
    assert ingest("--day", str(DAY)) == EXIT_DATA_FAILED
    assert raw_version() == before
    assert any(kind == "gate_failed" and object_ == "orders" for kind, object_, _ in open_incidents())


@pytest.mark.parametrize("breakage", SET_ASIDE)
def test_only_the_bad_rows_are_set_aside(shop, breakage):
    rule, delivered = SET_ASIDE[breakage], delivered_rows(shop).num_rows
    planted = break_shop(shop, breakage, DAY)
    assert ingest("--day", str(DAY)) == EXIT_OK
    found = verdict("order_lines")
    assert (found["status"], found["rows_in"], found["rows_quarantined"]) == ("passed", delivered, planted)
    assert found["rows_published"] == len(raw_rows("order_lines", _batch_id=found["batch_id"])) == delivered - planted
    kept = Quarantine(get_settings(), operations()).read("order_lines", found["batch_id"], rule).to_pylist()
    assert len(kept) == planted
    assert {row["_rule"] for row in kept} == {rule}
    assert ("rows_set_aside", "order_lines", rule) in open_incidents()
    assert_conserved()
    if breakage != "csv_ragged_row":  # an unparsed line names no order
        marked = raw_rows(SET_ASIDE_ORDER_LINES, _batch_id=found["batch_id"])
        assert [row["order_id"] for row in marked] == [row["order_id"] for row in kept]


def test_duplicates_collapse_into_one_row_each(shop):
    delivered = delivered_rows(shop).num_rows
    planted = break_shop(shop, "duplicated_rows", DAY)
    assert ingest("--day", str(DAY)) == EXIT_OK
    found = verdict("order_lines")
    assert (found["rows_in"], found["rows_published"]) == (delivered + planted, delivered)
    assert (found["rows_collapsed"], found["rows_quarantined"]) == (planted, 0)
    assert open_incidents() == {}
    assert_conserved()


def test_late_lines_are_accepted_counted_and_put_into_their_own_day(shop):
    planted = break_shop(shop, "late_lines", DAY)
    assert ingest("--day", str(DAY)) == EXIT_OK
    batch = verdict("order_lines")["batch_id"]
    counts = raw_rows(BATCHES, table_name="order_lines", batch_id=batch)
    assert [row["rows_late"] for row in counts] == [planted]
    event_dates = [row["_event_date"] for row in raw_rows("order_lines", _batch_id=batch)]
    assert event_dates.count(DAY - timedelta(days=3)) == planted
    assert event_dates.count(DAY) == len(event_dates) - planted


def test_a_line_of_an_unknown_product_is_not_judged_on_arrival(shop):
    break_shop(shop, "unknown_product", DAY)
    assert ingest("--day", str(DAY)) == EXIT_OK
    assert verdict("order_lines")["rows_quarantined"] == 0


def test_the_same_day_twice_changes_nothing_and_alerts_nobody_twice(shop):
    break_shop(shop, "zero_quantity", DAY)
    assert ingest("--day", str(DAY)) == EXIT_OK
    before = raw_version(), operations().rows(gate_verdicts), operations().rows(quarantine_entries), count_alerts()
    assert ingest("--day", str(DAY)) == EXIT_OK
    after = raw_version(), operations().rows(gate_verdicts), operations().rows(quarantine_entries), count_alerts()
    assert after == before


def test_a_failing_day_twice_alerts_once(shop):
    break_shop(shop, "renamed_column", DAY)
    assert ingest("--day", str(DAY)) == EXIT_DATA_FAILED
    told = count_alerts()
    assert told > 0
    assert ingest("--day", str(DAY)) == EXIT_DATA_FAILED
    assert count_alerts() == told


def test_a_corrected_file_passes_and_closes_the_incident(shop):
    good = delivered_rows(shop)
    break_shop(shop, "renamed_column", DAY)
    assert ingest("--day", str(DAY)) == EXIT_DATA_FAILED
    pq.write_table(good, day_file(shop, "order_lines", DAY))
    assert ingest("--day", str(DAY)) == EXIT_OK
    assert verdict("order_lines")["status"] == "passed"
    assert open_incidents() == {}
    assert_conserved()


def test_breaking_a_day_that_had_passed_fails_until_the_file_is_back(shop):
    good = delivered_rows(shop)
    assert ingest("--day", str(DAY)) == EXIT_OK
    published = raw_version()
    break_shop(shop, "renamed_column", DAY)
    assert ingest("--day", str(DAY)) == EXIT_DATA_FAILED
    assert raw_version() == published
    pq.write_table(good, day_file(shop, "order_lines", DAY))
    assert ingest("--day", str(DAY)) == EXIT_OK
    assert raw_version() == published


def test_a_batch_that_fails_an_optional_table_is_held_and_the_rest_goes_on(shop):
    monday = DAY  # promotions arrive on Mondays
    assert monday.weekday() == 0
    path = day_file(shop, "promotions", monday)
    pq.write_table(pq.read_table(path).drop_columns(["ends_at"]), path)
    assert ingest("--day", str(monday)) == EXIT_OK
    assert bad_rules("promotions") == {"columns_present"}
    assert verdict("orders")["status"] == "passed"
    assert raw_rows("orders", _batch_id=verdict("orders")["batch_id"])
    assert raw_rows("promotions", _batch_id=verdict("promotions")["batch_id"]) == []
    assert ("schema_changed", "promotions", "form") in open_incidents()


def test_a_check_that_raises_is_unknown_and_not_a_verdict_on_the_data(shop, monkeypatch):
    suite = arrivals.ARRIVAL_SUITES["order_lines"]

    def broken(arrival):
        rules = suite(arrival)
        rules[0].column = "no_such_column"
        return rules

    monkeypatch.setitem(arrivals.ARRIVAL_SUITES, "order_lines", broken)
    before = raw_version()
    assert ingest("--day", str(DAY)) == EXIT_TOOL_FAILED
    assert verdict("order_lines")["status"] == "unknown"
    assert raw_version() == before
    assert {kind for kind, _, _ in open_incidents()} == {"gate_unknown"}
    monkeypatch.undo()


def test_a_batch_whose_bytes_changed_is_refused(shop):
    land_days(DAY, DAY)
    (path,) = (get_settings().shop_dir / "landing" / "order_lines").glob(f"{DAY}.1d.*/rows.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    before = raw_version()
    with pytest.raises(DataFailed, match="do not match"):
        gate_arrivals(DAY)
    assert raw_version() == before
    assert bad_rules("order_lines") == {"bytes_match_manifest"}


def test_floats_for_cents_fail_by_their_type(shop):
    path = day_file(shop, "order_lines", DAY)
    rows = pq.read_table(path)
    position = rows.schema.get_field_index("amount_cents")
    euros = pa.array([cents / 100 for cents in rows.column("amount_cents").to_pylist()])
    pq.write_table(rows.set_column(position, "amount_cents", euros), path)
    with pytest.raises(DataFailed, match="amount_cents: expected int64 cents, got double"):
        land_days(DAY, DAY)
        gate_arrivals(DAY)


def test_over_a_rule_s_own_budget_the_batch_is_held_whole(shop, monkeypatch):
    planted = break_shop(shop, "zero_quantity", DAY)
    before = raw_version()
    set_to(monkeypatch, quarantine_budgets='{"order_lines.quantity_not_positive": 0.001}')
    assert ingest("--day", str(DAY)) == EXIT_DATA_FAILED
    assert raw_version() == before
    assert bad_rules("order_lines") == {"quarantined_share.quantity_not_positive"}
    assert operations().rows(quarantine_entries, batch_id=verdict("order_lines")["batch_id"]) == []
    set_to(monkeypatch, quarantine_budgets="{}")
    assert ingest("--day", str(DAY)) == EXIT_OK, "without that budget the batch goes on"
    assert verdict("order_lines")["rows_quarantined"] == planted


def test_a_table_s_budget_can_be_set(shop, monkeypatch):
    path = day_file(shop, "order_lines", DAY)
    rows = pq.read_table(path)
    position = rows.schema.get_field_index("quantity")
    tenth = pa.array([0.0 if number % 10 == 0 else 1.0 for number in range(rows.num_rows)])
    pq.write_table(rows.set_column(position, "quantity", tenth), path)
    assert ingest("--day", str(DAY)) == EXIT_DATA_FAILED
    assert bad_rules("order_lines") == {"quarantined_share"}
    set_to(monkeypatch, quarantine_budgets='{"order_lines": 0.2}', owners='{"order_lines": "till team"}')
    assert ingest("--day", str(DAY)) == EXIT_OK
    [entry] = operations().rows(quarantine_entries, batch_id=verdict("order_lines")["batch_id"])
    assert (entry["owner"], entry["rows"]) == ("till team", (rows.num_rows + 9) // 10)


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("QUARANTINE_BUDGETS", '{"order_line": 0.5}', "its tables are customers, products, orders"),
        ("QUARANTINE_BUDGETS", '{"order_lines.quantity": 0.5}', "its rules are order_line_id_is_null"),
        ("OWNERS", '{"order_line": "till team"}', "its tables are customers, products, orders"),
    ],
)
def test_a_budget_or_owner_of_nothing_is_refused_with_what_there_is(shop, monkeypatch, capsys, setting, value, told):
    before = raw_version()
    set_to(monkeypatch, **{setting: value})
    assert ingest("--day", str(DAY)) == EXIT_USAGE
    message = capsys.readouterr().err
    assert f"{PREFIX}{setting}" in message
    assert told in message
    assert raw_version() == before


# The protection removed: breakage -> rules without which it goes through.
GUARDS = {
    "empty_batch": {"row_count", "freshness", "rows_per_day"},
    "euros_instead_of_cents": {"amount_cents_scale", "discount_cents_scale"},
    "future_timestamps": {"event_time_in_future"},
    "zero_quantity": {"quantity_not_positive"},
    "negative_quantity": {"quantity_not_positive"},
}


@pytest.mark.parametrize("breakage", GUARDS)
def test_without_its_rule_the_bad_input_goes_through(shop, breakage, monkeypatch):
    def without(suite):
        return lambda arrival: [rule for rule in suite(arrival) if rule.meta["rule"] not in GUARDS[breakage]]

    for table in ("orders", "order_lines"):
        monkeypatch.setitem(arrivals.ARRIVAL_SUITES, table, without(arrivals.ARRIVAL_SUITES[table]))
    break_shop(shop, breakage, DAY)
    assert ingest("--day", str(DAY)) == EXIT_OK
    assert verdict("order_lines")["rows_published"] == delivered_rows(shop).num_rows


def test_an_unknown_check_is_told_apart_from_a_failed_one(shop, monkeypatch):
    def broken(*_):
        raise ToolFailed("the tool stumbled")

    monkeypatch.setattr(arrivals, "assert_conserved", broken)
    before = raw_version()
    assert ingest("--day", str(DAY)) == EXIT_TOOL_FAILED
    assert raw_version() == before


def test_a_crash_between_verdict_and_publication_is_mended_by_running_again(shop, monkeypatch):
    def killed(*_):
        raise ToolFailed("the process was killed")

    before = raw_version()
    monkeypatch.setattr(RawStore, "append", killed)
    assert ingest("--day", str(DAY)) == EXIT_TOOL_FAILED
    assert raw_version() == before
    monkeypatch.undo()  # the environment too
    use(shop.parent, monkeypatch)
    assert ingest("--day", str(DAY)) == EXIT_OK
    assert raw_version() != before
    assert verdict("orders")["rows_published"] == len(raw_rows("orders", _batch_id=verdict("orders")["batch_id"]))
    assert_conserved()
