import importlib.metadata
import platform

import pytest

from ml.embedded import doctor
from ml.embedded.doctor import (
    check_lock,
    check_packages,
    check_python,
    check_settings,
    check_space,
    check_state,
    sole_owner,
)
from ml.embedded.layout import Layout
from ml.outcomes import ToolFailed


def test_this_environment_is_as_locked():
    assert check_packages().is_ok, check_packages().line()
    assert check_python().is_ok


def test_a_python_outside_the_lock_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setattr(platform, "python_version", lambda: "3.14.1")
    line = check_python().line()
    assert line.startswith("FAIL python")
    assert "3.14.1" in line
    assert "make clean" in line


def test_an_interrupted_install_is_told(monkeypatch):
    everything = list(importlib.metadata.distributions())
    without = [found for found in everything if found.metadata["Name"].lower() not in ("feast", "mlflow")]
    assert len(without) < len(everything)
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: without)
    line = check_packages().line()
    assert "not installed: feast, mlflow" in line
    assert "make setup" in line


def test_a_version_that_is_not_locked_is_told(monkeypatch):
    lock = {"requires-python": ">=3.11", "package": [{"name": "click", "version": "0.0.1"}]}
    monkeypatch.setattr(doctor, "_lock", lambda: lock)
    assert "click" in check_packages().observed
    assert "(lock: 0.0.1)" in check_packages().observed


def test_too_little_space_is_told(configure):
    settings = configure()
    assert check_space(settings, needed=1).is_ok
    assert "SHOPWRIGHT_STATE_DIR" in check_space(settings, needed=2**62).remedy


def test_a_state_folder_that_cannot_be_written_is_told(configure, tmp_path):
    assert check_state(configure()).is_ok
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkey = configure(state_dir="/proc/shopwright")  # nobody can make a file there
    assert not check_state(monkey).is_ok


def test_missing_files_of_a_shop_are_told(configure, tmp_path):
    assert not check_settings(configure(source="files", files_dir=tmp_path / "nowhere")).is_ok
    assert check_settings(configure(source="files", files_dir=tmp_path)).is_ok


def test_objectives_that_cannot_be_read_are_told(configure):
    assert check_settings(configure(freshness='{"orders": "by 07:00"}')).is_ok
    finding = check_settings(configure(freshness='{"orders": "at noon"}'))
    assert "SHOPWRIGHT_FRESHNESS" in finding.line()
    assert not finding.is_ok


def test_a_source_that_is_away_is_told_and_keeps_nobody_from_starting(configure):
    url = "postgresql://reader:c4n4ry@/shop?host=/nowhere"
    settings = configure(source="postgres", source_url=url, airflow_port=0, mlflow_port=0, serving_port=0)
    (finding,) = doctor.check_source(settings)
    assert finding.line().startswith("FAIL source     the source database cannot be reached")
    assert "c4n4ry" not in finding.line()
    assert "source" not in [found.name for found in doctor.examine(settings)]
    assert list(doctor.check_source(configure(source="completejourney"))) == []


def test_one_owner_at_a_time(configure):
    settings = configure()
    with sole_owner(Layout(settings.shop_dir)):
        assert "uses" in check_lock(settings).observed
        assert not check_lock(settings).is_ok
        with pytest.raises(ToolFailed, match="another `up`"), sole_owner(Layout(settings.shop_dir)):
            pass
    assert check_lock(settings).is_ok
