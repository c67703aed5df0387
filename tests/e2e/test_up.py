"""`shopwright up` killed in the middle, started again, and ended by Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml.embedded.layout import Layout
from ml.embedded.processes import members, read_leaders
from ml.embedded.stack import shopwright_arguments
from ml.settings import PROJECT_DIR
from ml.stores.landing import Landing
from tests.e2e.conftest import FIRST_DAY, LAST_HISTORY_DAY, await_it, shop_settings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STARTING_SECONDS = 300


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def up(shop: Path, state: Path, tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen, Path]]]:
    """Starts `shopwright up` with its output in a file."""
    started: list[subprocess.Popen] = []

    def start() -> tuple[subprocess.Popen, Path]:
        output = tmp_path / f"up-{len(started)}.txt"
        with output.open("w") as file:
            started.append(
                subprocess.Popen(
                    shopwright_arguments("up"),
                    env={**os.environ, **shop_settings(shop, state), "PYTHONUNBUFFERED": "1"},
                    cwd=PROJECT_DIR,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
        return started[-1], output

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)


def _await_line(process: subprocess.Popen, output: Path, words: str, seconds: float = STARTING_SECONDS) -> None:
    def said() -> bool:
        assert process.poll() is None, output.read_text()[-3000:]
        return any(words in " ".join(line.split()) for line in output.read_text().splitlines())

    await_it(said, seconds, f"{words!r} in the output")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ties lives together on Linux only")
def test_up_survives_a_kill_and_ends_clean(up, state):
    layout = Layout(state / "small")
    process, output = up()
    _await_line(process, output, "shop_ingest land_days")
    leaders = read_leaders(layout.processes)
    assert {leader.name for leader in leaders} >= {
        *("scheduler", "api-server", "dag-processor", "mlflow", "watch", "serving", "follow")
    }
    process.send_signal(signal.SIGKILL)
    process.wait()
    await_it(lambda: not members(leaders), 60, "every process to end with its killed owner")

    process, output = up()
    _await_line(process, output, "shop_ingest gate_arrivals")
    batches = Landing(layout.shop_dir / "landing").batches("orders")
    assert [(batch.first_day, batch.last_day) for batch in batches] == [(FIRST_DAY, LAST_HISTORY_DAY)]
    leaders = read_leaders(layout.processes)
    assert members(leaders)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    time.sleep(0.5)
    assert members(leaders) == []
    assert "run the same command again" in output.read_text()
