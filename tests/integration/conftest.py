"""Servers of their own for tests; tests that ask for `settings` run on each kind of online store, in an empty shop."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml.settings import Settings
from tests.conftest import REQUIRE_SERVERS, find_binary
from tests.posted_events import of_shop
from tests.private_postgres import private_postgres
from tests.private_redis import PrivateRedis, private_redis


@pytest.fixture(scope="module")
def redis() -> Iterator[PrivateRedis]:
    with private_redis(find_binary) as server:
        yield server


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    """Of a PostgreSQL server for the operational record."""
    if REQUIRE_SERVERS:
        import psycopg  # noqa: F401 - in CI a missing driver is a failure
    else:
        pytest.importorskip("psycopg", reason="the PostgreSQL driver psycopg is not installed")
    with private_postgres(find_binary) as url:
        yield url


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite":
        return of_shop(tmp_path)
    server: PrivateRedis = request.getfixturevalue("redis")
    server.client().flushall()
    return of_shop(tmp_path, server.url)
