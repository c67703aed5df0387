"""The two kinds of online store: tests that ask for `settings` run on each, in an empty shop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.settings import Settings
from tests.conftest import find_binary
from tests.posted_events import of_shop
from tests.private_redis import PrivateRedis, private_redis


@pytest.fixture(scope="module")
def redis() -> Iterator[PrivateRedis]:
    with private_redis(find_binary) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite":
        return of_shop(tmp_path)
    server: PrivateRedis = request.getfixturevalue("redis")
    server.client().flushall()
    return of_shop(tmp_path, server.url)
