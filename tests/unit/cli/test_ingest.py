"""Landing a run's days, telling what cannot be read, and scrubbing what is stored."""

import sys
from datetime import date, timedelta
from types import SimpleNamespace

import pyarrow as pa
import pytest
from click.testing import CliRunner

import expectations
from ml.cli import ingest
from ml.lineage import impact
from ml.outcomes import DataFailed
from ml.shop.breakages import break_shop
from ml.shop.generated import day_file, small_shop
from ml.stores.landing import Landing
from ml.stores.operations import Operations, alerts, gate_verdicts, incidents, monitor_states
from ml.stores.versions import VersionStore

MONDAY = date(2024, 1, 1)
SUNDAY = date(2024, 1, 7)
DAYS = 14
REQUIRED = ["customers", "products", "orders", "order_lines"]


@pytest.fixture
def folder(tmp_path):
    return small_shop(tmp_path / "shop", MONDAY, DAYS, customers=4, products=5)


@pytest.fixture
def settings(configure, folder):
    return configure(
        source="files", files_dir=folder, shop_id="tiny", first_day=MONDAY, bootstrap_day=SUNDAY, last_day="2024-01-14"
    )


@pytest.fixture
def operations(settings):
    return Operations.from_settings(settings)


@pytest.fixture
def landing(settings):
    return Landing(settings.shop_dir / "landing")


def day(number):
    return date(2024, 1, number)


def test_every_table_of_the_source_is_landed_for_the_days(settings, landing):
    summary = ingest.land_days(MONDAY, SUNDAY)
    assert list(summary) == [*REQUIRED, "demographics", "promotions"], "in contract order"
    batches = {batch.table: batch for batch in landing.batches()}
    for table, entry in summary.items():
        assert entry["batches"] == [batches[table].id]
        assert entry["batch_id"] == batches[table].id
        assert entry["rows"] == landing.read(batches[table]).num_rows > 0
        assert (batches[table].first_day, batches[table].last_day) == (MONDAY, SUNDAY)
        assert batches[table].source == "files"


def test_the_same_days_twice_change_nothing(settings, landing):
    first = ingest.land_days(MONDAY, SUNDAY)
    landed = landing.batches()
    assert ingest.land_days(MONDAY, SUNDAY) == first
    assert landing.batches() == landed


def test_an_unchanged_snapshot_is_told(settings):
    ingest.land_days(MONDAY, SUNDAY)
    summary = ingest.land_days(day(8), day(8))
    assert summary["products"]["same_as"].startswith("2024-01-07.7d.")
    assert summary["orders"]["same_as"] is None


def test_a_table_that_is_absent_is_not_landed_and_one_without_rows_is(settings, folder, landing):
    (folder / "demographics.parquet").unlink()
    summary = ingest.land_days(day(2), day(2))
    assert "demographics" not in summary
    assert summary["promotions"]["rows"] == 0
    assert [batch.rows for batch in landing.batches("promotions")] == [0]


def pieces(settings, first_day, last_day, table="promotions"):
    return ingest._pieces(settings, table, first_day, last_day)


def test_a_large_table_is_landed_week_by_week(settings):
    assert pieces(settings, day(3), day(16)) == (
        [(day(3), day(7)), (day(8), day(14)), (day(15), day(16))],
        None,
    )
    assert pieces(settings, day(8), day(8)) == ([(day(8), day(8))], None)
    assert pieces(settings, day(7), day(8)) == ([(day(7), day(7)), (day(8), day(8))], None)


def test_other_tables_are_landed_in_one_batch(settings):
    assert pieces(settings, day(3), day(16), "order_lines") == ([(day(3), day(16))], None)


def test_a_bootstrap_lands_the_last_weeks_and_says_what_it_left_out(configure, folder):
    settings = configure(
        source="files",
        files_dir=folder,
        first_day="2024-01-03",
        bootstrap_day="2024-01-21",
        last_day="",
        promotions_weeks=2,
    )
    assert pieces(settings, day(3), day(21)) == ([(day(8), day(14)), (day(15), day(21))], "2024-01-03..2024-01-07")
    assert pieces(settings, day(3), day(14)) == ([(day(3), day(7)), (day(8), day(14))], None)
    assert pieces(settings, day(4), day(21))[1] is None, "only a bootstrap leaves anything out"


def test_a_bootstrap_may_leave_out_all_weeks(configure, folder):
    settings = configure(
        source="files",
        files_dir=folder,
        first_day="2024-01-03",
        bootstrap_day="2024-01-21",
        last_day="",
        promotions_weeks=0,
    )
    assert pieces(settings, day(3), day(21)) == ([], "2024-01-03..2024-01-21")


def test_what_a_bootstrap_left_out_is_in_the_summary(configure, folder, landing):
    configure(promotions_weeks=1)
    entry = ingest.land_days(MONDAY, day(14))["promotions"]
    assert entry["left_out"] == "2024-01-01..2024-01-07"
    assert [(batch.first_day, batch.last_day) for batch in landing.batches("promotions")] == [(day(8), day(14))]
    assert entry["rows"] == landing.batches("promotions")[0].rows


@pytest.mark.parametrize(
    "breakage", ["dropped_required_file", "truncated_parquet", "zero_byte_parquet", "csv_wrong_delimiter"]
)
def test_what_cannot_be_read_fails_with_a_verdict_and_an_alert(settings, folder, operations, breakage):
    table = "orders" if breakage == "dropped_required_file" else "order_lines"
    break_shop(folder, breakage, day(3))
    with pytest.raises(DataFailed, match=rf"{table}[:/].*expected") as failure:
        ingest.land_days(day(3), day(3))
    [verdict] = operations.rows(gate_verdicts)
    assert (verdict["object"], verdict["status"], verdict["partition"]) == (table, "failed", "2024-01-03")
    assert verdict["rules"][0]["observed"] == str(failure.value)
    [incident] = operations.rows(incidents)
    assert (incident["kind"], incident["object"], incident["rule"]) == ("gate_failed", table, "source_readable")
    assert (incident["state"], incident["severity"]) == ("open", "alert")
    assert [alert["purpose"] for alert in operations.rows(alerts)] == ["opened"]


def test_a_failed_table_does_not_keep_the_others_from_being_landed(settings, folder, landing):
    break_shop(folder, "zero_byte_parquet", day(3))
    with pytest.raises(DataFailed):
        ingest.land_days(day(3), day(3))
    assert {batch.table for batch in landing.batches()} == {*REQUIRED, "demographics", "promotions"} - {"order_lines"}


def test_every_table_that_cannot_be_read_is_named(settings, folder):
    for table in ("orders", "order_lines"):
        day_file(folder, table, day(3)).write_bytes(b"")
    with pytest.raises(DataFailed, match=r"orders/2024-01-03\.parquet.*; order_lines/2024-01-03\.parquet"):
        ingest.land_days(day(3), day(3))


def test_a_repaired_file_closes_the_incident_and_takes_the_verdict_back(settings, folder, operations):
    path = day_file(folder, "order_lines", day(3))
    good = path.read_bytes()
    break_shop(folder, "truncated_parquet", day(3))
    for _attempt in range(2):
        with pytest.raises(DataFailed):
            ingest.land_days(day(3), day(3))
    assert len(operations.rows(alerts)) == 1, "the same day again alerts nobody twice"
    path.write_bytes(good)
    ingest.land_days(day(3), day(3))
    assert [incident["state"] for incident in operations.rows(incidents)] == ["closed"]
    assert [verdict["status"] for verdict in operations.rows(gate_verdicts)] == ["passed"]


def test_a_day_that_can_be_read_leaves_no_verdict_of_its_own(settings, operations):
    ingest.land_days(day(3), day(3))
    assert operations.rows(gate_verdicts) == []


def test_a_wrong_folder_fails_as_a_whole(configure, settings, operations, tmp_path):
    configure(files_dir=tmp_path / "nowhere")
    with pytest.raises(DataFailed, match="no such folder"):
        ingest.land_days(day(3), day(3))
    assert [(incident["object"], incident["state"]) for incident in operations.rows(incidents)] == [("source", "open")]
    configure(files_dir=tmp_path / "shop")
    ingest.land_days(day(3), day(3))
    assert [incident["state"] for incident in operations.rows(incidents)] == ["closed"]


def test_days_that_the_source_does_not_have_are_refused(settings, landing):
    with pytest.raises(DataFailed, match=r"the source ends on 2024-01-14 .*before 2024-01-15"):
        ingest.land_days(day(15), day(15))
    with pytest.raises(DataFailed, match="2024-01-04 is after the last day 2024-01-03"):
        ingest.land_days(day(4), day(3))
    assert landing.batches() == []


def test_the_gate_is_asked_about_the_partition(settings, monkeypatch):
    asked = []
    gates = SimpleNamespace(judge_arrivals=lambda *arguments: asked.append(arguments) or {"tables": {}})
    monkeypatch.setitem(sys.modules, "expectations.gates", gates)
    monkeypatch.setattr(expectations, "gates", gates, raising=False)
    assert ingest.gate_arrivals(SUNDAY) == {"tables": {}}
    [(asked_settings, partition, affected)] = asked
    assert (asked_settings, partition) == (settings, SUNDAY)
    monkeypatch.setattr(impact, "affected_by", lambda told, table, columns: [told.shop_id, table, *columns])
    assert affected("orders", ["order_id"]) == [settings.shop_id, "orders", "order_id"]


def test_a_scrub_of_sound_stores_finds_nothing(settings, operations):
    ingest.land_days(MONDAY, SUNDAY)
    found = ingest.scrub_stores()
    assert found == {
        store: {"problems": []}
        for store in (
            "landing",
            "raw",
            "warehouse/marts",
            "training",
            "recommendations",
            "fraud_training",
            "fraud_scores",
        )
    }
    states = operations.rows(monitor_states, monitor="scrub")
    assert {state["object"] for state in states} == set(found)
    assert {(state["state"], state["partition"]) for state in states} == {("ok", "2024-01-07")}
    assert operations.rows(incidents) == []


def test_a_scrub_of_an_empty_installation_finds_nothing(settings):
    assert not any(entry["problems"] for entry in ingest.scrub_stores().values())


@pytest.mark.parametrize("store", ["landing", "raw", "warehouse/marts", "training", "recommendations"])
def test_damage_in_any_store_opens_an_incident_until_it_is_mended(settings, operations, store):
    ingest.land_days(MONDAY, SUNDAY)
    if store != "landing":
        versions = VersionStore(settings.shop_dir / store)
        versions.publish([versions.write_part("orders", "d", pa.table({"n": [1]}))], {}, expected_parent=None)
    path = sorted((settings.shop_dir / store).rglob("*.parquet"))[0]
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    [problem] = ingest.scrub_stores()[store]["problems"]
    assert str(path) in problem
    [incident] = operations.rows(incidents)
    assert (incident["kind"], incident["object"], incident["state"]) == ("scrub_failed", store, "open")
    assert [state["state"] for state in operations.rows(monitor_states, object=store)] == ["alert"]
    path.write_bytes(good)
    ingest.scrub_stores()
    assert [incident["state"] for incident in operations.rows(incidents)] == ["closed"]
    assert [state["state"] for state in operations.rows(monitor_states, object=store)] == ["ok"]


def run(command, *arguments):
    return CliRunner().invoke(command, arguments)


def test_the_command_begins_with_the_history_and_goes_on_day_by_day(settings, landing):
    first = run(ingest.ingest, "--no-gate")
    assert "landing 2024-01-01 to 2024-01-07 from files" in first.output
    second = run(ingest.ingest, "--no-gate")
    assert "landing 2024-01-08 to 2024-01-08 from files" in second.output
    assert {batch.last_day for batch in landing.batches("orders")} == {SUNDAY, SUNDAY + timedelta(days=1)}


def test_the_command_tries_a_day_again_that_was_landed_in_part(settings, folder):
    run(ingest.ingest, "--no-gate")
    break_shop(folder, "zero_byte_parquet", day(8))
    assert isinstance(run(ingest.ingest, "--no-gate").exception, DataFailed)
    assert "landing 2024-01-08 to 2024-01-08" in run(ingest.ingest, "--no-gate").output


def test_the_command_tries_a_history_again_that_was_landed_in_part(settings, folder):
    break_shop(folder, "zero_byte_parquet", day(3))
    assert isinstance(run(ingest.ingest, "--no-gate").exception, DataFailed)
    assert "landing 2024-01-01 to 2024-01-07" in run(ingest.ingest, "--no-gate").output


def test_the_command_takes_days(settings):
    assert (
        "landing 2024-01-03 to 2024-01-05"
        in run(ingest.ingest, "--no-gate", "--first-day", "2024-01-03", "--day", "2024-01-05").output
    )
    assert "landing 2024-01-05 to 2024-01-05" in run(ingest.ingest, "--no-gate", "--day", "2024-01-05").output
    assert run(ingest.ingest, "--day", "5 January").exit_code == 2


def test_the_command_prints_the_gates_counts(settings, monkeypatch):
    counts = {"status": "passed", "rows_in": 9, "rows_published": 6, "rows_quarantined": 2, "rows_collapsed": 1}
    monkeypatch.setattr(ingest, "gate_arrivals", lambda partition: {"tables": {f"orders of {partition}": counts}})
    output = run(ingest.ingest, "--day", "2024-01-05").output.split("judging the arrivals")[1]
    assert "orders of 2024-01-05  passed   9        6          2            1" in output


def test_the_scrub_command_fails_on_damage(settings):
    ingest.land_days(MONDAY, SUNDAY)
    assert run(ingest.scrub).exit_code == 0
    path = sorted((settings.shop_dir / "landing").rglob("*.parquet"))[0]
    path.unlink()
    result = run(ingest.scrub)
    assert isinstance(result.exception, DataFailed)
    assert str(path) in result.output
