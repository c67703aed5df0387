"""The isolated shop of the self-test: nothing of the real one reaches it, and proofs begin with the same state."""

import os

from ml.cli.selftest.bench import Bench, environment
from ml.cli.selftest.run import _environment
from ml.settings import PREFIX, Settings, get_settings


def _use(monkeypatch, variables):
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        if name.startswith(PREFIX):
            monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return get_settings()


def test_no_setting_of_the_real_shop_reaches_a_bench(monkeypatch, tmp_path):
    monkeypatch.setenv(f"{PREFIX}ALERT_URLS", '["mailto://real"]')
    monkeypatch.setenv(f"{PREFIX}OPERATIONS_URL", "postgresql://real")
    monkeypatch.setenv(f"{PREFIX}MLFLOW_TRACKING_URI", "http://real")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite://real")
    child = _environment(tmp_path, tmp_path / "home")
    assert [name for name, value in child.items() if "//real" in value] == []
    # A `.env` file would fill what is not named.
    assert {name for name in child if name.startswith(PREFIX)} == {
        f"{PREFIX}{name.upper()}" for name in Settings.model_fields
    }
    settings = _use(monkeypatch, child)
    assert settings.shop_dir.is_relative_to(tmp_path)
    assert (settings.alert_urls, settings.operations_url, settings.mlflow_tracking_uri) == ((), None, None)


def test_every_proof_begins_with_the_state_that_was_kept(monkeypatch, tmp_path):
    settings = _use(monkeypatch, environment(tmp_path / "bench"))
    bench = Bench(settings, tmp_path / "bench", tmp_path / "kept")
    settings.shop_dir.mkdir(parents=True)
    state = settings.shop_dir / "state"
    state.write_text("good")
    bench.keep()
    state.write_text("spoiled")
    (settings.shop_dir / "more").write_text("x")
    bench.reset()
    assert state.read_text() == "good"
    assert not (settings.shop_dir / "more").exists()
    assert set(bench.published().values()) == {None}
