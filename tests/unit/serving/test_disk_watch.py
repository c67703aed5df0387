"""When a disk stood still, by what its device completes; and who was struck by it."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def disk(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("serving_disk")


def test_it_stands_still_when_something_is_under_way_and_nothing_comes_of_it(disk):
    looks = [
        (1.000, 5, 0),
        (1.005, 5, 1),
        (1.035, 5, 2),
        (1.040, 6, 1),  # it went on
        (1.050, 6, 1),
        (1.055, 6, 0),  # ten milliseconds are none
        (1.500, 6, 0),  # nothing was asked of it
        (1.505, 6, 1),
        (1.600, 6, 1),  # still so at the end
    ]
    assert disk.still(looks) == [(1.000, 1.035), (1.500, 1.600)]
    assert disk.still([]) == []


def test_what_two_stretches_share(disk):
    assert disk.overlap((1.0, 3.0), [(0.0, 1.5), (2.0, 2.25), (2.5, 9.0), (9.0, 10.0)]) == pytest.approx(1.25)
    assert disk.overlap((1.0, 3.0), []) == 0.0


def test_who_was_struck_is_told_of_apart(disk):
    measured = importlib.import_module("serving_load").Measured(
        lives=[(1.0, 1.01, True), (2.0, 2.1, False), (3.0, 3.02, True), (4.0, 4.1, False)]
    )
    measured.statuses.update({"200": 2, "503": 2, "timeout": 1})
    told = measured.summary(5, [(2.05, 2.5), (2.9, 3.01)])
    assert told["failed"] == 3
    assert told["latency_ms"]["max"] == pytest.approx(100.0)
    assert told["disk"] == {"still_seconds": 0.56, "longest_ms": 450.0, "struck": 2, "struck_and_refused": 1}
    assert told["undisturbed"]["failed"] == 2  # one that nothing explains, and one that was never answered
    assert told["undisturbed"]["latency_ms"]["p50"] == pytest.approx(10.0)


def test_a_device_that_tells_nothing_is_never_still(disk, tmp_path):
    watch = disk.DiskWatch(tmp_path)
    watch._counters = tmp_path / "none"
    with watch:
        pass
    assert watch.stretches == []
