"""Work beside requests that they must not feel: a thread that rests after each bit of it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, sleep
from types import FrameType

_WORK_SECONDS, _REST_SECONDS = 0.0005, 0.002


@contextmanager
def paced(work_seconds: float = _WORK_SECONDS, rest_seconds: float = _REST_SECONDS) -> Iterator[None]:
    """While the body runs, this thread rests after each `work_seconds` of it.

    Threads that want Python's interpreter lock get it in turns, so that a model that is loaded in a tenth of a second
    would double the time of every request of that while. One that rests asks for it a fifth of the time. Python's
    profiling hook comes with each call, also in libraries that know nothing of this; what is called once and works
    for long holds on for as long.
    """
    before, ends_at = sys.getprofile(), perf_counter() + work_seconds

    def rest(_frame: FrameType, _event: str, _argument: object) -> None:
        nonlocal ends_at
        if perf_counter() >= ends_at:
            sleep(rest_seconds)
            ends_at = perf_counter() + work_seconds

    sys.setprofile(rest)
    try:
        yield
    finally:
        sys.setprofile(before)
