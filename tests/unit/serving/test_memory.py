"""What loading took and freed does not stay with the process."""

import ctypes

import psutil
import pyarrow as pa
import pytest

from ml.serving import loader as loader_module
from ml.serving.loader import Loader, Slot
from ml.serving.memory import give_back, use_one_allocator


def _used() -> int:
    return psutil.Process().memory_full_info().uss


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_what_was_freed_below_something_that_stays_goes_back():
    blocks = [bytes(2000) for _ in range(40_000)]
    last = blocks[-1]  # above all others: the C library gives back by itself only what is free above it
    before = _used()
    del blocks
    give_back()
    assert before - _used() > 40_000_000
    assert len(last) == 2000


def test_arrow_takes_from_the_one_allocator():
    before = pa.default_memory_pool()
    try:
        use_one_allocator()
        assert pa.default_memory_pool().backend_name == "system"
    finally:
        pa.set_memory_pool(before)


def test_memory_is_given_back_when_something_was_loaded_and_only_then(monkeypatch):
    class Parts:
        model_version = "1"

    times = []
    monkeypatch.setattr(loader_module, "give_back", lambda: times.append(1))
    loader = Loader((Slot("fraud", lambda: "1", Parts, lambda: None, tuple),))
    loader.load_now()
    assert len(times) == 1
    loader.load_now()
    assert len(times) == 1
