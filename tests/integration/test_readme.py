"""The README's sections for the hands, followed to the letter, but for the folders that the shop is put in."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from ml.embedded.layout import Layout, api_key_grant
from ml.embedded.stack import shopwright_arguments
from ml.settings import PREFIX, PROJECT_DIR
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


@pytest.fixture
def serving(tmp_path):
    """The address of a real server of an empty shop, and where its state lies; its deadline stands a busy machine."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = tmp_path / "var"
    layout = Layout(state / "completejourney")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    own = {"STATE_DIR": str(state), "SERVING_PORT": str(port), "API_KEYS": json.dumps(api_key_grant(layout))}
    own["DEADLINE_MS"] = "5000"
    log = tmp_path / "serving.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            shopwright_arguments("serve"),
            cwd=PROJECT_DIR,
            env=inherited | {f"{PREFIX}{name}": value for name, value in own.items()},
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await_health(server, url, log)
        yield url, state
    finally:
        server.terminate()
        server.wait(timeout=30)


def _await_health(server, url, log):
    deadline = time.monotonic() + 90
    while True:
        assert server.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)


def test_asking_goes_as_the_readme_says_even_of_a_shop_that_knows_nothing_yet(serving, tmp_path):
    """Every command is answered: without model, lists and features, by the last steps of the ladders."""
    url, state = serving
    script = (
        commands_of("ask it")
        .replace("http://127.0.0.1:8400", url)
        .replace("var/completejourney", f"{state}/completejourney")
    )
    done = subprocess.run(["sh", "-ec", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    first, decided, again, viewed, objected, after = [json.loads(line) for line in done.stdout.splitlines() if line]
    assert (first["step"], first["degraded"], first["profiling"]) == ("static", True, True)
    assert (decided["payment_id"], decided["step"], decided["degraded"]) == ("try-1", "standin", True)
    assert (again["decision_id"], again["action"]) == (decided["decision_id"], decided["action"])
    assert again["replay"]["reproduced"] is True
    assert (viewed["taken"], objected["taken"]) == (1, 1)
    assert after["profiling"] is False
