"""The README's sections for the hands, followed to the letter, but for the folders that the shop is put in."""

import os
import re
import subprocess
from datetime import date, timedelta
from pathlib import Path

import duckdb

from ml.shop.generated import small_shop
from ml.stores.dbt_run import scratch_path
from tests.dbt_projects import copy_project
from tests.raw_shop import publish_raw, shop_settings

ROOT = Path(__file__).resolve().parents[2]
FIRST_DAY = date(2024, 1, 1)


def commands_of(name: str) -> str:
    """The shell block that the README marks with `<!-- test: name -->`."""
    found = re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert found, f"the README has no block marked {name!r}"
    return found.group(1)


def test_breaking_it_goes_as_the_readme_says(tmp_path):
    script = commands_of("break it").replace("var/tryout_shop", str(tmp_path / "tryout_shop"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOPWRIGHT_")}
    environment["SHOPWRIGHT_STATE_DIR"] = str(tmp_path / "var")
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert re.findall(r"exit code (\d)", done.stdout) == ["0", "3", "0"], said
    assert "amount_cents is missing" in said
    assert "1 open incident" in said


def test_editing_a_model_goes_as_the_readme_says_while_the_platform_builds(tmp_path):
    settings = shop_settings(tmp_path / "state", small_shop(tmp_path / "shop", FIRST_DAY, 20, customers=40))
    last_day = FIRST_DAY + timedelta(days=19)
    publish_raw(settings, [(FIRST_DAY, last_day)])
    (settings.shop_dir / "dbt").mkdir(parents=True, exist_ok=True)
    scratch_path(settings).parent.mkdir(parents=True, exist_ok=True)
    checkout = tmp_path / "checkout"
    copy_project(checkout)
    (checkout / ".venv").symlink_to(ROOT / ".venv")
    environment = {
        "PATH": os.environ["PATH"],
        "SHOPWRIGHT_STATE_DIR": str(settings.shop_dir.parent),
        "SHOPWRIGHT_SHOP_ID": settings.shop_id,
    }
    edit, build = commands_of("edit a model").split("cd dbt_project\n")
    shares = []
    with duckdb.connect(str(scratch_path(settings))):  # the platform's writer holds its file
        for script in (build, f"{edit}\ncd dbt_project\n{build}"):
            place = checkout / "dbt_project" if script == build else checkout
            done = subprocess.run(["sh", "-ec", script], cwd=place, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
            shares.append(float(re.findall(r"\|\s*([0-9.]+)\s*\|", done.stdout)[-1]))
    assert shares[1] > shares[0]
