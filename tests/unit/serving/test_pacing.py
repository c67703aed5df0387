"""A paced thread rests after each bit of work, also inside of functions that know nothing of it."""

import sys
import threading

import pytest

from ml.serving import pacing
from ml.serving.pacing import paced


def _work(calls: int) -> None:
    for _ in range(calls):
        abs(-1)


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Rests that were taken; by the clock, each look at it takes a millisecond."""
    clock, taken = [0.0], list[float]()

    def look() -> float:
        clock[0] += 0.001
        return clock[0]

    monkeypatch.setattr(pacing, "perf_counter", look)
    monkeypatch.setattr(pacing, "sleep", taken.append)
    return taken


def test_it_rests_after_each_bit_of_work(rests: list[float]) -> None:
    with paced(work_seconds=0.0095, rest_seconds=0.25):
        _work(100)
    assert len(rests) in range(18, 22)  # a look before and one after each call, and one more when it has rested
    assert set(rests) == {0.25}


def test_it_does_not_rest_before_its_work_is_done(rests: list[float]) -> None:
    with paced(work_seconds=1000.0):
        _work(100)
    assert not rests


def test_afterwards_the_thread_is_as_before_also_when_the_work_failed() -> None:
    def before(*_: object) -> None: ...

    sys.setprofile(before)
    try:
        with pytest.raises(ZeroDivisionError), paced():
            _work(1 // 0)
        assert sys.getprofile() is before
    finally:
        sys.setprofile(None)


def test_other_threads_do_not_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    who = set[threading.Thread]()
    monkeypatch.setattr(pacing, "sleep", lambda _: who.add(threading.current_thread()))
    other = threading.Thread(target=_work, args=(100,))
    with paced(work_seconds=0.0):
        other.start()
        other.join()
    assert who == {threading.current_thread()}
