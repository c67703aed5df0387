"""The real server, asked by a program that knows only its description: every answer has to be as described.

A few requests to each route in the default suite; ten thousand, with each field's edges and with chains of requests, in
the full one: about 60 a second, most of the time spent in making them up.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml.serving.app import create_app
from ml.serving.keys import FailedAttempts
from ml.serving.services import Services
from ml.settings import PROJECT_DIR, Settings
from tests.serving_stubs import KEYS, grants
from tests.serving_thread import served

_SEED = 20261122
_LONGEST_SECONDS = 1200
_CONFIG = """
[checks.positive_data_acceptance]
# What the description cannot say: the shop's currency, moments until now, ids that are taken or unknown.
expected-statuses = [200, 404, 409, 422]

[checks.negative_data_rejection]
# A list that is too long may be too large before it is counted.
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422, 431]
"""


@pytest.fixture
def address(configure: Callable[..., Settings]) -> Iterator[str]:
    """The server in a thread: it alone lets wrong keys be tried without end."""
    settings = configure(
        api_keys=grants(), key_requests_per_second=1_000_000, customer_requests_per_minute=100_000, deadline_ms=2000
    )
    services = Services.from_settings(settings)
    services.access._failed = FailedAttempts(limit=10**9)
    with served(create_app(settings, services=services)) as address:
        yield address


def run(address: str, folder: Path, *arguments: str) -> int:
    """Let it ask; the number of its requests."""
    config = folder / "schemathesis.toml"
    config.write_text(_CONFIG)
    program = str(Path(sys.executable).parent / "schemathesis")
    description = str(PROJECT_DIR / "docs" / "openapi.json")
    command = [program, "--config-file", str(config), "run", description, "--url", address, "--checks", "all"]
    command += ["-H", f"Authorization: Bearer {KEYS['all']}", "--seed", str(_SEED), "--no-color"]
    command += ["--continue-on-failure", "--suppress-health-check", "all", "--warnings", "off"]
    # A failure is told as it was found: making it smaller takes longer than all the rest.
    command += ["--no-shrink", "--generation-database", "none", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_LONGEST_SECONDS)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    told = re.search(r"(\d+) generated", done.stdout)
    assert told, done.stdout[-2000:]
    return int(told[1])


def test_every_answer_is_as_described(address, tmp_path):
    assert run(address, tmp_path, "--phases", "fuzzing", "--max-examples", "4") >= 50


@pytest.mark.full
@pytest.mark.timeout(_LONGEST_SECONDS + 100)
def test_every_answer_of_ten_thousand_is_as_described(address, tmp_path):
    requests = run(address, tmp_path, "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "500")
    print(f"{requests} requests")
    assert requests >= 10_000
