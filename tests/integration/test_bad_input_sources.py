"""Bad files, from the folder to the exit code: what is told, and that nothing downstream sees them."""

import os
import shutil
import subprocess
import sys
from datetime import date

import pytest

from ml.cli import ingest
from ml.outcomes import EXIT_DATA_FAILED, DataFailed
from ml.settings import PREFIX
from ml.shop.breakages import break_shop, csv_ragged_row
from ml.shop.generated import small_shop
from ml.stores.landing import Landing
from ml.stores.operations import Operations, alerts, gate_verdicts, incidents
from ml.stores.raw import RawStore

MONDAY, HISTORY_END, DAY = date(2024, 1, 1), date(2024, 1, 21), date(2024, 1, 22)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Where the first test leaves its landed history for the others."""
    return tmp_path_factory.mktemp("landed")


@pytest.fixture
def landed(configure, tmp_path, template):
    """An installation whose history was landed and published; DAY is still to come."""
    folder = small_shop(tmp_path / "shop", MONDAY, 22)
    settings = configure(
        source="files",
        files_dir=folder,
        shop_id="tiny",
        first_day=MONDAY,
        bootstrap_day=HISTORY_END,
        last_day=DAY,
    )
    if (template / "tiny").exists():
        shutil.copytree(template / "tiny", settings.shop_dir)
    else:
        ingest.land_days(MONDAY, HISTORY_END)
        ingest.gate_arrivals(HISTORY_END)
        shutil.copytree(settings.shop_dir, template / "tiny")
    return settings, folder


def shopwright(*arguments):
    """The command in a process of its own, as a person would run it."""
    code = "from ml.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=os.environ.copy(), timeout=300
    )


@pytest.mark.parametrize(
    ("breakage", "table", "told"),
    [
        ("dropped_required_file", "orders", "orders: no file for 1 of 1 days (2024-01-22)"),
        ("truncated_parquet", "order_lines", "order_lines/2024-01-22.parquet: not a readable Parquet file"),
        ("zero_byte_parquet", "order_lines", "order_lines/2024-01-22.parquet: not a readable Parquet file (0 bytes)"),
        ("csv_wrong_delimiter", "order_lines", "order_lines/2024-01-22.csv: expected columns separated by commas"),
    ],
)
def test_a_file_that_cannot_be_read_stops_the_run(landed, breakage, table, told):
    settings, folder = landed
    operations, raw = Operations.from_settings(settings), RawStore(settings)
    published = raw.versions.current()
    alerts_before = len(operations.rows(alerts))
    break_shop(folder, breakage, DAY)

    result = shopwright("ingest", "--day", str(DAY))

    assert result.returncode == EXIT_DATA_FAILED
    assert result.stderr.startswith("the data failed: ")
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert "judging the arrivals" not in result.stdout, "the next step did not run"
    verdict = operations.rows(gate_verdicts, object=table)[-1]
    assert (verdict["partition"], verdict["status"]) == (str(DAY), "failed")
    [incident] = operations.rows(incidents, object=table, rule="source_readable")
    assert (incident["state"], incident["opened_partition"]) == ("open", str(DAY))
    assert len(operations.rows(alerts)) == alerts_before + 1
    assert raw.versions.current() == published

    with pytest.raises(DataFailed):
        ingest.land_days(DAY, DAY)
    assert len(operations.rows(alerts)) == alerts_before + 1, "the same day again alerts nobody twice"


def test_a_wrong_folder_is_one_clear_line(landed, monkeypatch):
    settings, folder = landed
    published = RawStore(settings).versions.current()
    monkeypatch.setenv(f"{PREFIX}FILES_DIR", str(folder / "nowhere"))
    result = shopwright("ingest", "--day", str(DAY))
    assert result.returncode == EXIT_DATA_FAILED
    assert result.stderr.count("\n") == 1
    assert "no such folder; SHOPWRIGHT_FILES_DIR must name the folder with the tables" in result.stderr
    assert RawStore(settings).versions.current() == published


def test_a_ragged_row_is_set_aside_and_the_rest_goes_on(landed):
    settings, folder = landed
    planted = csv_ragged_row(folder, DAY)
    summary = ingest.land_days(DAY, DAY)["order_lines"]
    ingest.gate_arrivals(DAY)
    assert planted == summary["unparsed"] == 1
    [verdict] = Operations.from_settings(settings).rows(
        gate_verdicts, batch_id=summary["batch_id"], object="order_lines"
    )
    assert verdict["status"] == "passed"
    assert verdict["rows_quarantined"] == 1
    assert verdict["rows_in"] == summary["rows"]
    assert verdict["rows_in"] == verdict["rows_published"] + verdict["rows_quarantined"] + verdict["rows_collapsed"]
    rows = RawStore(settings).recent_rows("order_lines", ["order_line_id"], DAY, date(2024, 1, 23))
    assert rows.num_rows == summary["rows"] - 1


def test_the_same_batch_twice_changes_nothing(landed):
    settings, _folder = landed
    operations, raw, landing = (
        Operations.from_settings(settings),
        RawStore(settings),
        Landing(settings.shop_dir / "landing"),
    )
    ingest.land_days(DAY, DAY)
    ingest.gate_arrivals(DAY)
    before = (raw.versions.current(), landing.batches(), operations.rows(gate_verdicts), operations.rows(alerts))
    ingest.land_days(DAY, DAY)
    ingest.gate_arrivals(DAY)
    assert (
        raw.versions.current(),
        landing.batches(),
        operations.rows(gate_verdicts),
        operations.rows(alerts),
    ) == before


@pytest.fixture
def damaged(landed):
    """The landed lines of DAY, with one bit turned."""
    settings, _folder = landed
    ingest.land_days(DAY, DAY)
    [batch] = Landing(settings.shop_dir / "landing").batches("order_lines", on=DAY)
    path = settings.shop_dir / "landing" / "order_lines" / batch.id / "rows.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return settings, path


def test_landed_bytes_that_changed_stop_the_gate(damaged):
    settings, _path = damaged
    published = RawStore(settings).versions.current()
    with pytest.raises(DataFailed, match="do not match the manifest"):
        ingest.gate_arrivals(DAY)
    assert RawStore(settings).versions.current() == published


def test_a_scrub_names_changed_bytes_until_the_days_are_landed_again(damaged):
    _settings, path = damaged
    found = shopwright("scrub")
    assert found.returncode == EXIT_DATA_FAILED
    assert str(path) in found.stdout
    ingest.land_days(DAY, DAY)
    assert shopwright("scrub").returncode == 0
