"""Models, policy and lists change while two processes answer: no request fails, no refused version is served."""

import http.client
import itertools
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.cli import fraud
from ml.embedded.layout import Layout, api_key_grant
from ml.embedded.stack import shopwright_arguments
from ml.fraud.policy_file import DEFAULT_POLICY, read_policy
from ml.outcomes import DataFailed
from ml.serving.golden_check import check_in_child
from ml.settings import PREFIX, PROJECT_DIR, Settings, get_settings
from ml.stores import registry
from ml.stores.bundles import load_bundle, save_bundle
from ml.stores.operations import Operations, incidents
from ml.stores.policies import change_state, submit_policy
from tests import fraud_marts

FIRST_DAY = date(2024, 1, 1)
LAST_DAY = date(2024, 4, 7)
STEPS = ("settle_labels", "build_training_set", "gate_training_set", "train_challenger", "decide_promotion")
CLIENTS = 3
PAUSE = 0.02
PATIENCE = 180.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A shop with a champion of fraud and one before it."""
    state = tmp_path_factory.mktemp("switch") / "var"
    values = {
        "state_dir": state,
        "shop_id": "smallshop",
        "source": "files",
        "files_dir": state,
        "timezone": "UTC",
        "first_day": FIRST_DAY,
        "bootstrap_day": LAST_DAY,
        "last_day": LAST_DAY + timedelta(days=60),
        "simulate_payments": True,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(f"{PREFIX}{name.upper()}", str(value))
        get_settings.cache_clear()
        settings = get_settings()
        fraud_marts.publish(settings, fraud_marts.orders(FIRST_DAY, 105, 40, 0.04), LAST_DAY)
        for name in STEPS:
            getattr(fraud, name)(LAST_DAY)
        yield settings
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def port(shop: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where `shopwright serve` answers for the shop, with two workers."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        found = int(probe.getsockname()[1])
    # A generous deadline: this is about switches, and other tests run on the same cores.
    own = {"SERVING_WORKERS": 2, "DEADLINE_MS": 5000, "API_KEYS": json.dumps(api_key_grant(Layout(shop.shop_dir)))}
    log = tmp_path_factory.mktemp("log") / "serving.log"
    with log.open("w") as output:
        processes = [
            subprocess.Popen(
                shopwright_arguments(*command),
                env={**os.environ, **{f"{PREFIX}{name}": str(value) for name, value in own.items()}},
                cwd=PROJECT_DIR,
                stdout=output,
                stderr=output,
            )
            # The follower keeps the state of counted features fit, so that the model scores.
            for command in (("serve", "--port", str(found)), ("fraud", "follow"))
        ]
    try:
        _await(lambda: _health(found), "the server")
        assert [process.poll() for process in processes] == [None, None]
        yield found
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=30)
        print(log.read_text()[-3000:])


def _health(port: int) -> bool:
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
    except OSError:
        return False


def _await(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@dataclass
class _Load:
    """Clients that ask for decisions all the time, each over its own connections, and keep every answer."""

    port: int
    key: str
    label: str
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stops: threading.Event = field(default_factory=threading.Event)

    def run(self, client: int) -> None:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        for number in itertools.count():
            if self.stops.is_set():
                return
            if number % 50 == 49:  # a new connection may reach the other process
                connection.close()
            payment = f"{self.label}-{client}-{number}"
            body = {
                "payment_id": payment,
                "order_id": payment,
                "attempted_at": "2024-04-09T10:00:00+00:00",
                "amount_cents": 1500,
                "currency": "USD",
                "customer_id": f"{self.label}-{client}-{number}",
            }
            try:
                connection.request("POST", "/v1/fraud/decisions", json.dumps(body), headers)
                response = connection.getresponse()
                self.answers.append((response.status, json.loads(response.read())))
                time.sleep(PAUSE)
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection.close()

    def newest(self) -> list[dict[str, Any]]:
        return [answer for _status, answer in self.answers[-40:]]


@pytest.fixture
def load(shop: Settings, port: int, request: pytest.FixtureRequest) -> Iterator[_Load]:
    made = _Load(port, Layout(shop.shop_dir).api_key.read_text().strip(), request.node.name[:60])
    clients = [threading.Thread(target=made.run, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        _await(lambda: len(made.answers) > 50, "the first answers")
        yield made
    finally:
        made.stops.set()
        for client in clients:
            client.join(60)


def _all_say(load: _Load, name: str, value: str | None) -> bool:
    """Whether both processes have switched: every one of the newest answers says so."""
    newest = load.newest()
    return len(newest) == 40 and all(answer.get(name) == value for answer in newest)


def _champion(shop: Settings) -> str:
    current = registry.champion(shop, "fraud")
    assert current is not None
    return current.version


def _assert_none_failed(load: _Load) -> None:
    assert load.errors == []
    assert {status for status, _answer in load.answers} == {200}


def test_no_request_fails_while_models_change(shop: Settings, load: _Load) -> None:
    first = _champion(shop)
    _await(lambda: _all_say(load, "model_version", first), "the champion")
    bundle = load_bundle(shop, "fraud", first)
    again = save_bundle(shop, "fraud", {**_own(bundle.manifest), "number": 2}, bundle.contents)
    registry.promote(shop, "fraud", again.version, LAST_DAY)
    _await(lambda: _all_say(load, "model_version", again.version), "the promoted version")
    registry.rollback(shop, "fraud")
    _await(lambda: _all_say(load, "model_version", first), "the version before it")
    _assert_none_failed(load)
    assert {answer["model_version"] for _status, answer in load.answers} <= {first, again.version, None}


def _own(manifest: Any) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name not in ("product", "shop_id", "files")}


def test_no_request_fails_while_the_policy_changes(shop: Settings, load: _Load) -> None:
    operations = Operations.from_settings(shop)
    body = DEFAULT_POLICY.read_text().replace("name: default", "name: other")
    version = read_policy(body, "other").version
    submit_policy(operations, version=version, body=body, by="test")
    for state in ("shadow", "active"):
        change_state(operations, version=version, to=state, reason="trial", by="test")
    _await(lambda: _all_say(load, "policy_version", version), "the active policy")
    _assert_none_failed(load)


def test_a_damaged_new_champion_is_not_served_and_told(shop: Settings, load: _Load) -> None:
    operations, first = Operations.from_settings(shop), _champion(shop)
    bundle = load_bundle(shop, "fraud", first)
    bad = save_bundle(shop, "fraud", {**_own(bundle.manifest), "number": 3}, bundle.contents)
    registry.promote(shop, "fraud", bad.version, LAST_DAY)
    _flip_a_bit(next(path for path in sorted(bad.folder.iterdir()) if path.name != "manifest.json"))
    try:
        _await(lambda: operations.rows(incidents, kind="serving_refused", state="open"), "the incident")
        assert _all_say(load, "model_version", first)
    finally:
        registry.rollback(shop, "fraud")
    _await(lambda: not operations.rows(incidents, kind="serving_refused", state="open"), "the incident's end")
    _assert_none_failed(load)
    assert bad.version not in {answer["model_version"] for _status, answer in load.answers}


def test_another_model_under_right_checksums_is_refused_by_its_golden_rows(shop: Settings) -> None:
    """Every file matches its sha256; only what the trees say is not what they said at training."""
    folders = (shop.shop_dir / "models" / "fraud").glob("*/manifest.json")
    # Another test has left a damaged bundle here.
    of_trees = [path.parent.name for path in folders if json.loads(path.read_bytes())["kind"] == "trees"]
    trees = load_bundle(shop, "fraud", next(name for name in of_trees if _is_whole(shop, name)))
    check_in_child(shop, "fraud", trees.version)
    model = json.loads(trees.contents["model.json"])
    first = model["learner"]["gradient_booster"]["model"]["trees"][0]
    first["split_conditions"] = [condition + 0.5 for condition in first["split_conditions"]]
    files = {**trees.contents, "model.json": json.dumps(model).encode()}
    swapped = save_bundle(shop, "fraud", {**_own(trees.manifest), "number": 4}, files)
    with pytest.raises(DataFailed, match="golden rows"):
        check_in_child(shop, "fraud", swapped.version)


def _is_whole(shop: Settings, version: str) -> bool:
    try:
        load_bundle(shop, "fraud", version)
    except DataFailed:
        return False
    return True


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
