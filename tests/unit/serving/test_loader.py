"""One reference is switched, and only to what was checked and loaded."""

import threading
import time
from dataclasses import dataclass

import pytest

from ml.outcomes import DataFailed, ToolFailed
from ml.serving import loader as loader_module
from ml.serving.loader import Alternative, Loader, Slot


@dataclass(frozen=True)
class _Parts:
    model_version: str


class _Source:
    """What a slot watches; everything about it can be made to fail."""

    def __init__(self, version="1"):
        self.version = version
        self.checked, self.loaded = [], []
        self.fails_check: Exception | None = None
        self.fails_load: Exception | None = None
        self.fails_fingerprint: Exception | None = None

    def fingerprint(self):
        if self.fails_fingerprint:
            raise self.fails_fingerprint
        return self.version

    def check(self):
        self.checked.append(self.version)
        if self.fails_check:
            raise self.fails_check

    def load(self):
        self.loaded.append(self.version)
        if self.fails_load:
            raise self.fails_load
        return _Parts(self.version)

    def slot(self, alternatives=tuple):
        return Slot("fraud", self.fingerprint, self.load, self.check, alternatives)


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that stands still until it is moved."""

    class _Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = _Clock()
    monkeypatch.setattr(loader_module.time, "monotonic", clock.monotonic)
    return clock


def test_what_is_new_is_checked_then_loaded_then_current():
    source = _Source()
    slot = source.slot()
    assert slot.current is None
    assert slot.refresh()
    assert slot.current == _Parts("1")
    assert slot.condition() == {"version": "1", "refused": None, "is_older": False}
    assert not slot.refresh()
    assert (source.checked, source.loaded) == (["1"], ["1"])
    source.version = "2"
    assert slot.refresh()
    assert slot.current == _Parts("2")


@pytest.mark.parametrize("where", ["fails_check", "fails_load"])
def test_what_is_refused_leaves_the_old_and_waits_for_a_change(where, clock):
    source = _Source()
    slot = source.slot()
    slot.refresh()
    source.version = "2"
    setattr(source, where, DataFailed("model.json: the bytes do not match"))
    assert slot.refresh()
    assert slot.current == _Parts("1")
    assert slot.condition() == {"version": "1", "refused": "model.json: the bytes do not match", "is_older": False}
    setattr(source, where, None)
    clock.now += 3600
    assert not slot.refresh()  # a verdict: the same bytes would give the same one
    assert slot.current == _Parts("1")
    source.version = "3"
    assert slot.refresh()
    assert slot.current == _Parts("3")
    assert slot.refusal is None


def test_what_fails_its_check_is_not_loaded():
    source = _Source()
    source.fails_check = DataFailed("x")
    source.slot().refresh()
    assert source.loaded == []


def test_an_accident_is_tried_again_with_growing_pauses(clock):
    source = _Source()
    slot = source.slot()
    source.fails_load = ToolFailed("the store is busy")
    tried = []
    for _second in range(120):
        if slot.refresh():
            tried.append(clock.now - 100)
        clock.now += 1
    assert tried == [0, 2, 6, 14, 30, 62]
    assert slot.refusal.attempts == 6
    source.fails_load = None
    clock.now += 60
    assert slot.refresh()
    assert slot.current == _Parts("1")


def test_an_unforeseen_error_tells_its_type_and_nothing_that_it_says(caplog):
    source = _Source()
    source.fails_load = ValueError("customer 4711")
    slot = source.slot()
    slot.refresh()
    assert slot.condition()["refused"] == "ValueError"
    assert "4711" not in caplog.text


def test_a_fingerprint_that_cannot_be_taken_keeps_the_old_and_ends_when_it_can(clock):
    source = _Source()
    slot = source.slot()
    slot.refresh()
    source.fails_fingerprint = ToolFailed("the operations database does not answer")
    assert slot.refresh()
    assert slot.current == _Parts("1")
    assert slot.condition()["refused"] == "the operations database does not answer"
    source.fails_fingerprint = None
    assert slot.refresh()  # the end of a refusal is told
    assert slot.refusal is None
    assert source.loaded == ["1"]


def test_a_return_to_what_is_loaded_ends_the_refusal():
    source = _Source()
    slot = source.slot()
    slot.refresh()
    source.version, source.fails_check = "2", DataFailed("x")
    slot.refresh()
    source.version = "1"  # rolled back
    assert slot.refresh()
    assert slot.condition() == {"version": "1", "refused": None, "is_older": False}
    source.version = "2"  # and promoted again: judged anew
    assert slot.refresh()
    assert slot.refusal is not None


def test_damaged_at_the_start_an_older_one_serves_until_the_newest_can():
    source = _Source("3")
    source.fails_check = DataFailed("damaged")
    fallen = []

    def broken():
        fallen.append("2")
        raise DataFailed("damaged too")

    slot = source.slot(alternatives=lambda: [Alternative("2", broken), Alternative("1", lambda: _Parts("1"))])
    slot.refresh()
    assert fallen == ["2"]
    assert slot.current == _Parts("1")
    assert slot.condition() == {"version": "1", "refused": "damaged", "is_older": True}
    source.version, source.fails_check = "4", None
    slot.refresh()
    assert slot.condition() == {"version": "4", "refused": None, "is_older": False}


def test_something_loaded_is_not_exchanged_for_something_older():
    source = _Source("3")
    slot = source.slot(alternatives=lambda: [Alternative("1", lambda: _Parts("1"))])
    slot.refresh()
    source.version, source.fails_check = "4", DataFailed("damaged")
    slot.refresh()
    assert slot.current == _Parts("3")


def test_with_nothing_to_load_there_is_nothing_and_it_is_said():
    source = _Source()
    source.fails_check = DataFailed("damaged")
    slot = source.slot()
    slot.refresh()
    assert slot.current is None
    assert slot.condition()["version"] is None


def test_readers_see_the_old_or_the_new_and_never_neither():
    """The old is current until the new is wholly loaded, however long that takes."""
    source = _Source()
    begun, may_end = threading.Event(), threading.Event()
    slot = source.slot()
    slot.refresh()
    plain = source.load

    def slow():
        begun.set()
        assert may_end.wait(10)
        return plain()

    slot._load = slow
    source.version = "2"
    switching = threading.Thread(target=slot.refresh)
    switching.start()
    assert begun.wait(10)
    assert slot.current == _Parts("1")
    may_end.set()
    switching.join(10)
    assert slot.current == _Parts("2")


def test_the_loader_watches_tells_and_survives_what_telling_raises():
    source, told = _Source(), []

    def tell(slot):
        told.append(slot.condition()["version"])
        raise ToolFailed("no incident can be stored")

    loader = Loader([source.slot()], poll_seconds=0.01, tell=tell)
    loader.load_now()
    loader.start()
    source.version = "2"
    deadline = time.monotonic() + 10
    while loader.condition()["fraud"]["version"] != "2" and time.monotonic() < deadline:
        time.sleep(0.01)
    loader.stop()
    assert told == ["1", "2"]
    source.version = "3"
    time.sleep(0.1)
    assert loader.condition()["fraud"]["version"] == "2"  # it was stopped
