"""The API's app around services that answer at once."""

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from ml.serving.app import create_app
from ml.serving.services import Services
from ml.settings import Settings
from tests.serving_stubs import grants, stub_services


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure(api_keys=grants())


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    made = stub_services(settings)
    yield made
    made.stop()


@pytest.fixture
def client(settings: Settings, services: Services) -> TestClient:
    return TestClient(create_app(settings, services=services), raise_server_exceptions=False)
