"""What a newcomer is told of a folder before anything runs; and the newcomer's page, followed to the letter."""

import os
import re
import subprocess
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ml.cli.shop import shop
from ml.outcomes import DataFailed
from ml.settings import SettingsError
from ml.shop.breakages import zero_quantity
from ml.shop.generated import day_file, small_shop
from ml.shop.second_shop import second_shop

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs/examples/gift_wholesaler.yml"
MONDAY = date(2024, 3, 4)


def check(*arguments: object) -> tuple[str, Exception | None]:
    """What the command prints, and what it raised."""
    done = CliRunner().invoke(shop, ["check", *map(str, arguments)])
    error = done.exception
    assert error is None or isinstance(error, DataFailed | SettingsError), error
    return done.output, error if isinstance(error, Exception) else None


def test_a_shop_in_contract_form_is_enough_for_recommendations(configure, tmp_path):
    state = configure(timezone="UTC").shop_dir
    said, error = check(small_shop(tmp_path / "shop", MONDAY, 35))
    assert error is None, said
    assert "history: 2024-03-04 to 2024-04-07, 5.0 weeks" in said
    assert re.search(r"order_lines +required +recommendations +yes +\d+ +\d+ +0 +0 +passes", said)
    assert re.search(r"payments +optional +fraud +no", said)
    assert "recommendations: enough\n    3 label weeks" in said
    assert "fraud: not enough\n    there are no payments and no chargebacks" in said
    assert "there are no consents: nobody may be written to" in said
    assert not state.exists(), "nothing is kept"


def test_rows_that_would_be_set_aside_are_told_by_rule(configure, tmp_path):
    configure(timezone="UTC")
    folder = small_shop(tmp_path / "shop", MONDAY, 28)
    planted = zero_quantity(folder, MONDAY + timedelta(days=27), rows=3)
    said, error = check(folder)
    assert error is None, said
    assert planted == 3
    assert re.search(rf"order_lines: quantity_not_positive \(set aside\): .* {planted} ", said), said


def test_a_batch_that_would_be_held_back_is_no_start(configure, tmp_path):
    configure(timezone="UTC")
    folder = small_shop(tmp_path / "shop", MONDAY, 28)
    for offset in range(28):
        zero_quantity(folder, MONDAY + timedelta(days=offset), rows=20)
    said, error = check(folder)
    assert "order_lines: quarantined_share (failed)" in said
    assert "recommendations cannot run: " in str(error)
    assert "order_lines would be held back" in str(error)


def test_what_is_missing_is_told_table_by_table(configure, tmp_path):
    configure(timezone="UTC")
    folder = small_shop(tmp_path / "shop", MONDAY, 14)
    (folder / "products.parquet").unlink()
    day_file(folder, "order_lines", MONDAY).unlink()
    said, error = check(folder)
    assert re.search(r"products +required +recommendations +no", said)
    assert "order_lines: no file for 1 of 14 days (2024-03-04)" in said
    assert str(error).startswith("recommendations cannot run: products is missing; order_lines: no file for 1")


def test_too_short_a_history_is_the_reason(configure, tmp_path):
    configure(timezone="UTC")
    said, error = check(small_shop(tmp_path / "shop", MONDAY, 22))
    assert "recommendations: not enough" in said
    assert "1 whole weeks (Monday to Sunday) after the first 14 days; 2 are needed" in str(error)


def test_a_mapped_folder_is_judged_by_what_the_mapping_says(configure, tmp_path):
    configure(closed_days='["saturday"]')
    said, error = check(second_shop(tmp_path / "shop", MONDAY, 35), "--mapping", EXAMPLE)
    assert error is None, said
    assert "judged by time zone Europe/London, currency GBP" in said
    assert re.search(r"order_lines: \d+ by 'cancelled invoice'", said)
    assert "customers: email; optional" in said
    assert re.search(r"\d+% of [\d,]+ orders by guests", said)


def test_a_wrong_mapping_is_told_by_its_line(configure, tmp_path):
    configure()
    mapping = tmp_path / "shop.yml"
    mapping.write_text(EXAMPLE.read_text().replace("factor: 100", "faktor: 100", 1))
    _said, error = check(second_shop(tmp_path / "shop", MONDAY, 2), "--mapping", mapping)
    assert isinstance(error, SettingsError)
    assert re.match(
        r"shop\.yml:\d+: tables\.orders\.columns\.total_amount_cents\.faktor: unknown key; allowed are", str(error)
    )


@pytest.mark.full  # five processes, most of it imports
@pytest.mark.timeout(900)
def test_the_page_for_newcomers_goes_as_it_says(tmp_path):
    text = (ROOT / "docs/your_shop.md").read_text()
    blocks = [
        re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", text, re.S).group(1)
        for name in ("check a shop", "first run")
    ]
    script = "".join(blocks).replace("var/wholesaler", str(tmp_path / "wholesaler"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOPWRIGHT_")}
    environment["SHOPWRIGHT_STATE_DIR"] = str(tmp_path / "var")
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert re.findall(r"exit code (\d)", done.stdout) == ["3", "0", "0", "0"], said
    assert 'set SHOPWRIGHT_CLOSED_DAYS=["saturday"]' in said
    assert "rows of the source left out by 'returned goods'" in said
