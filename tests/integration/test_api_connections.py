"""Connections end now and then, so that the processes that share a port share the work, too."""

import http.client
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from ml.serving import http_protocol
from ml.serving.app import create_app
from ml.settings import Settings
from tests.serving_stubs import grants, signed
from tests.serving_thread import served

PATH = "/v1/recommendations/c1"


@pytest.fixture
def address(configure: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(http_protocol, "CONNECTION_SECONDS", (0.5, 0.5))
    with served(
        create_app(configure(api_keys=grants(), deadline_ms=5000, customer_requests_per_minute=100_000))
    ) as address:
        yield address


def test_the_last_answer_on_a_connection_says_so(address: str) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    told = []
    for pause in (0.0, 0.6):
        time.sleep(pause)
        connection.request("GET", PATH, headers=signed())
        assert connection.sock is not None
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        told.append(answer.getheader("connection"))
    assert told == [None, "close"]
    assert connection.sock is None


def test_who_asks_on_and_on_is_always_answered(address: str) -> None:
    opened, ends_at = 0, time.monotonic() + 2.2

    def count(event: str, _details: object) -> None:
        nonlocal opened
        opened += event == "connection.connect_tcp.complete"

    with httpx.Client(base_url=address, headers=signed(), timeout=20) as client:
        while time.monotonic() < ends_at:
            assert client.get(PATH, extensions={"trace": count}).status_code == 200
    assert 3 <= opened <= 5
