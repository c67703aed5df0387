"""docs/add_a_feature.md, followed to the letter in a copy of the repository."""

import os
import re
import shutil
import subprocess
from datetime import date, timedelta
from pathlib import Path

import pytest

from ml.settings import PROJECT_DIR
from ml.shop.generated import small_shop
from ml.stores.feature_versions import record_feature_versions
from ml.stores.operations import Operations
from ml.stores.warehouse import mark_judged, open_marts, publish_staged, stage_marts
from tests.raw_shop import publish_raw, shop_settings

FIRST_DAY = date(2024, 1, 1)
DAYS = 20
FEATURE = "count_weekend_orders_28d"


def commands_of(name: str) -> str:
    """The shell block that the page marks with `<!-- test: name -->`."""
    page = (PROJECT_DIR / "docs" / "add_a_feature.md").read_text()
    found = re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", page, re.S)
    assert found, f"the page has no block marked {name!r}"
    return found.group(1)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The repository's files as they are, with the installed environment beside them."""
    folder = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT_DIR,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT_DIR / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT_DIR / name, folder / name)
    (folder / ".venv").symlink_to(PROJECT_DIR / ".venv")
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    subprocess.run(["git", "add", "-A", "."], cwd=folder, check=True)
    return folder


def test_a_feature_is_added_as_the_page_says(checkout: Path, tmp_path: Path) -> None:
    settings = shop_settings(tmp_path / "state", small_shop(tmp_path / "shop", FIRST_DAY, DAYS, customers=40))
    last_day = FIRST_DAY + timedelta(days=DAYS - 1)
    publish_raw(settings, [(FIRST_DAY, last_day)])
    mark_judged(settings, stage_marts(settings, last_day))
    before = publish_staged(settings, last_day)
    record_feature_versions(Operations.from_settings(settings), before)
    (settings.shop_dir / "dbt").mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(checkout),  # the copy's own code, not that which the environment was installed from
        "SHOPWRIGHT_STATE_DIR": str(settings.shop_dir.parent),
        "SHOPWRIGHT_SHOP_ID": settings.shop_id,
    }

    def follow(name: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", commands_of(name)], cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stdout[-3000:]}{done.stderr[-2000:]}"
        return done.stdout

    assert "4 files changed" in follow("write")
    linted = subprocess.run(
        [PROJECT_DIR / ".venv/bin/sqlfluff", "lint", "dbt_project/models/marts/features"], cwd=checkout, check=False
    )
    assert linted.returncode == 0
    built = follow("build")
    assert f"PASS feat_customer::{FEATURE}_of_an_example_worked_out_by_hand" in built
    counts = [int(count) for count in re.findall(r"^\|\s*\d+ \|\s*(\d+) \|", built, re.M)]
    assert len(counts) > 1, "every customer has the same number of weekend orders"
    difference = follow("diff")
    assert FEATURE in difference
    assert open_marts(settings).version.id == before.id
    listed = follow("publish")
    marts = open_marts(settings)
    assert marts.version.id != before.id
    assert FEATURE in marts.connect().table("feat_customer").columns
    assert re.search(r"feat_customer.*\b2\b", listed)
