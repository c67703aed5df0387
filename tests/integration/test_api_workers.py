"""Several processes on one port: one that dies is replaced, nothing acknowledged is lost, none outlives its head."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ml.outcomes import ToolFailed
from ml.serving.supervisor import reserved_port
from ml.settings import Settings
from ml.stores.serving_log import ServingLog
from tests.serving_process import ServingProcess, receive, serving_process
from tests.serving_stubs import VIEW, signed

_SECONDS = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.fixture
def api(folder: Path) -> Iterator[ServingProcess]:
    with serving_process(folder, workers=2) as process:
        yield process


def until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def post(api: ServingProcess, interaction_id: str) -> int | None:
    """Status of an event that is posted, None when there was no answer."""
    event = VIEW | {"interaction_id": interaction_id}
    try:
        return httpx.post(f"{api.address}/v1/events", json=event, headers=signed(), timeout=10).status_code
    except httpx.TransportError:
        return None


def test_who_dies_is_replaced_and_nothing_acknowledged_is_lost(api, configure, folder):
    first = api.workers()
    assert len(first) == 2
    acknowledged = []
    for place in range(200):
        if place == 50:
            os.kill(first[0], signal.SIGKILL)
        if post(api, f"i{place}") == 200:
            acknowledged.append(f"i{place}")
    assert len(acknowledged) > 100
    until(lambda: len(api.workers()) == 2 and first[0] not in api.workers())
    settings: Settings = configure(state_dir=folder)
    kept = [logged.key for logged in ServingLog.from_settings(settings).read_after(0, 1000)]
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))


def test_figures_of_all_processes_are_told_by_each(api):
    for _ in range(20):  # a connection each: some to one process, some to the other
        assert httpx.get(f"{api.address}/v1/recommendations/c1", headers=signed()).status_code == 200
    wanted = 'shopwright_requests_total{method="GET",route="/v1/recommendations/{customer_id}",status="200"} 20.0'
    for _ in range(4):
        assert wanted in httpx.get(f"{api.address}/metrics", headers=signed()).text


def test_who_is_being_answered_is_answered_at_the_end(api):
    """SIGTERM while a request is half sent: it is answered, and then nobody listens."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as connection:
        head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        head += f"Authorization: {signed()['Authorization']}\r\nContent-Length: 2\r\n\r\n".encode()
        connection.sendall(head + b"{")
        time.sleep(0.5)
        workers = api.workers()
        api.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.sendall(b"}")
        assert receive(connection).startswith(b"HTTP/1.1 422 ")
    assert api.process.wait(30) == 0
    assert not any(is_alive(pid) for pid in workers)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", api.port), timeout=5)


def test_they_end_when_their_head_is_killed(api):
    workers = api.workers()
    api.process.kill()
    api.process.wait()
    until(lambda: not any(is_alive(pid) for pid in workers))


def test_a_port_that_is_taken_is_not_shared_with_strangers(api):
    with pytest.raises(ToolFailed, match=f"port {api.port} is taken"), reserved_port(api.port):
        pass


def test_wrong_settings_are_told_once_and_end_it(folder):
    with pytest.raises(AssertionError, match="SHOPWRIGHT_API_KEYS"), serving_process(folder, api_keys="{}"):
        pass
