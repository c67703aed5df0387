"""One Airflow for all end-to-end tests, over a small generated shop with some dirt in it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from ml.embedded.airflow_api import Run
from ml.embedded.stack import Stack, running_stack
from ml.settings import PREFIX, PROJECT_DIR, Settings
from ml.shop.breakages import duplicated_rows, late_lines, unknown_product, zero_quantity
from ml.shop.generated import small_shop
from ml.stores.operations import Operations

FIRST_DAY = date(2024, 4, 1)
HISTORY_DAYS = 8
"""A week, Monday to Sunday, and a day."""
LAST_HISTORY_DAY = FIRST_DAY + timedelta(days=HISTORY_DAYS - 1)


@dataclass(frozen=True)
class Platform:
    """The running platform with its shop."""

    stack: Stack
    operations: Operations
    shop: Path

    @property
    def settings(self) -> Settings:
        return self.stack.settings

    def await_run(self, dag_id: str, key: str, seconds: float = 240) -> Run:
        """The newest run of a key, when it is over."""

        def over() -> Run | None:
            runs = self.stack.airflow.runs(dag_id, key)
            return runs[0] if runs and runs[0].is_over else None

        return await_it(over, seconds, f"a finished run of {dag_id} for {key}")


def await_it(condition: Callable[[], object], seconds: float, what: str) -> object:
    """Poll until a condition is true; returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(0.5)
    return found


def shop_settings(shop: Path, state: Path) -> dict[str, str]:
    """The environment of an installation that serves the shop."""
    values = {
        "shop_id": "small",
        "state_dir": state,
        "source": "files",
        "files_dir": shop,
        "first_day": FIRST_DAY,
        "bootstrap_day": LAST_HISTORY_DAY,
        "last_day": FIRST_DAY + timedelta(days=40),
        "airflow_port": 0,
        "mlflow_port": 0,
        "serving_port": 0,
        "simulate_payments": True,
    }
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}


def run_python(code: str, environment: dict[str, str]) -> str:
    """Run code in a process of its own, with an installation's settings; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_shop(tmp_path_factory.mktemp("shop"), FIRST_DAY, HISTORY_DAYS + 4)
    planted = [
        zero_quantity(folder, FIRST_DAY + timedelta(days=2)),
        duplicated_rows(folder, FIRST_DAY + timedelta(days=3)),
        unknown_product(folder, FIRST_DAY + timedelta(days=4)),
        late_lines(folder, FIRST_DAY + timedelta(days=7), days_late=2),
    ]
    assert min(planted) > 0
    return folder


@pytest.fixture(scope="session")
def platform(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    environment = shop_settings(shop, tmp_path_factory.mktemp("state"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = Settings()  # type: ignore[call-arg]
        starting = running_stack(settings, print)
        stack = starting.__enter__()
    try:
        yield Platform(stack, Operations.from_settings(settings), shop)
    finally:
        starting.__exit__(None, None, None)
