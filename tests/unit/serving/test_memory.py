"""What loading took and freed does not stay with the process."""

import ctypes
import subprocess
import sys

import psutil
import pyarrow as pa
import pytest

from ml.serving import loader as loader_module
from ml.serving.loader import Loader, Slot
from ml.serving.memory import give_back, use_one_allocator
from ml.settings import PROJECT_DIR


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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_what_is_large_goes_back_although_something_larger_was_freed_before():
    """In a process of its own: what is told to the C library cannot be asked, and holds until the end."""
    code = """
import psutil
from ml.serving.memory import use_one_allocator
use_one_allocator()
del [bytearray(30_000_000)][:]  # from here on the C library by itself takes blocks of this size from the heap
used = lambda: psutil.Process().memory_full_info().uss
before = used()
blocks, stay = [], []
for _ in range(20):
    blocks.append(bytes(b"x" * 2_000_000))
    stay.append(bytes(b"x" * 20_000))
kept = used() - before
blocks.clear()
print(kept > 35_000_000, used() - before < 10_000_000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_DIR)
    assert done.stdout.split() == ["True", "True"]


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
