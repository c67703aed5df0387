"""What every test gets: an empty state folder of its own, and an environment without the developer's settings."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml.settings import PREFIX, Settings, get_settings

for _name in [name for name in os.environ if name.startswith(PREFIX)]:
    del os.environ[_name]
REQUIRE_SERVERS = os.environ.pop("TESTS_REQUIRE_SERVERS", "") == "1"

os.environ.update(
    DO_NOT_TRACK="1",
    GX_ANALYTICS_ENABLED="false",
    DBT_SEND_ANONYMOUS_USAGE_STATS="False",
    FEAST_USAGE="False",
    MLFLOW_DISABLE_TELEMETRY="true",
    MPLBACKEND="Agg",
)


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Settings]]:
    """A function that sets settings as environment variables and returns them; state lies in a temporary folder."""

    def apply(**settings: object) -> Settings:
        for name, value in {"state_dir": tmp_path / "var", **settings}.items():
            monkeypatch.setenv(f"{PREFIX}{name.upper()}", str(value))
        get_settings.cache_clear()
        return get_settings()

    yield apply
    get_settings.cache_clear()


@pytest.fixture(autouse=True)
def _settings_are_read_anew() -> Iterator[None]:
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def find_binary(name: str) -> Path:
    """An installed server binary; skips the test with a reason where it is missing, fails it in CI."""
    candidates = [shutil.which(name), *sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)]
    for candidate in candidates:
        if candidate and Path(candidate).exists():
            return Path(candidate)
    reason = f"{name} is not installed"
    if REQUIRE_SERVERS:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def server_binary() -> Callable[[str], Path]:
    return find_binary
