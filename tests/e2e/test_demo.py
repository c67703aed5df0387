"""`shopwright demo` on a generated shop: history, both trainings, two replayed days, and two questions over HTTP."""

import os
import re
import subprocess
from datetime import date, timedelta

import pytest

from ml.embedded.layout import Layout
from ml.embedded.processes import read_leaders
from ml.embedded.stack import shopwright_arguments
from ml.settings import PREFIX, PROJECT_DIR
from ml.shop.generated import small_shop
from tests.e2e.conftest import shop_settings

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(1500)]

FIRST_DAY = date(2024, 1, 1)
HISTORY_DAYS = 154
"""Enough for fraud to be learnt: its labels take about 60 days, the first 28 are left out."""


def test_a_demo_ends_with_a_decision_by_the_model_and_personal_recommendations_over_http(tmp_path):
    shop = small_shop(tmp_path / "shop", FIRST_DAY, HISTORY_DAYS + 3)
    state = tmp_path / "state"
    last_day = FIRST_DAY + timedelta(days=HISTORY_DAYS - 1)
    dates = {"FIRST_DAY": FIRST_DAY, "BOOTSTRAP_DAY": last_day, "LAST_DAY": last_day + timedelta(days=2)}
    own = {f"{PREFIX}{name}": str(value) for name, value in dates.items()}
    done = subprocess.run(
        shopwright_arguments("demo"),
        env={**os.environ, **shop_settings(shop, state), **own, f"{PREFIX}SIMULATED_FRAUD_RATE": "0.08"},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = done.stdout
    assert re.search(r"^  decision +(approve|challenge|review|decline) \(step model; ", told, re.M), told[-3000:]
    assert re.search(r"^  recommendations +p\d+.* \(step (personal|batch); ", told, re.M), told[-3000:]
    layout = Layout(state / "small")
    assert layout.api_key.read_text().strip() not in told
    assert read_leaders(layout.processes) == []
