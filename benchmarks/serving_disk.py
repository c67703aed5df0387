"""When the disk stood still: a witness that only looks, so that what a disk does is not laid at the server's door."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Self

STILL_SECONDS = 0.02
_LOOK_SECONDS = 0.005
_COMPLETED, _UNDER_WAY = (0, 4, 11, 15), 8  # reads, writes, discards, flushes: Documentation/block/stat.rst
Stretch = tuple[float, float]
"""(begin, end) by `time.perf_counter()`."""
Look = tuple[float, int, int]
"""When, what the device completed so far, what is under way."""


class DiskWatch:
    """Looks at the kernel's counters of the device that a folder lies on, 200 times a second.

    Attributes:
        stretches: When it stood still, told at the end; none where nothing is known of the device (another system than
            Linux, files in memory).
    """

    def __init__(self, folder: Path) -> None:
        number = folder.stat().st_dev
        self._counters = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
        self.stretches: list[Stretch] = []
        self._looks: list[Look] = []
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stops.set()
        self._thread.join()
        self.stretches = still(self._looks)

    def _watch(self) -> None:
        if not self._counters.exists():
            return
        with self._counters.open("rb", buffering=0) as counters:
            while not self._stops.wait(_LOOK_SECONDS):
                counters.seek(0)
                told = [int(word) for word in counters.read(4096).split()]
                completed = sum(told[place] for place in _COMPLETED if place < len(told))
                self._looks.append((perf_counter(), completed, told[_UNDER_WAY]))


def still(looks: Sequence[Look]) -> list[Stretch]:
    """When requests were under way and none was completed, for 20 ms or longer."""
    found, since = [], 0
    for place in range(1, len(looks) + 1):
        is_still = place < len(looks) and looks[place][1] == looks[since][1] and looks[place][2] > 0
        if is_still:
            continue
        if looks[place - 1][0] - looks[since][0] >= STILL_SECONDS:
            found.append((looks[since][0], looks[place - 1][0]))
        since = place
    return found


def overlap(one: Stretch, others: Sequence[Stretch]) -> float:
    """Seconds of one stretch that lie in any of the others, which do not overlap."""
    return sum(max(0.0, min(one[1], end) - max(one[0], begin)) for begin, end in others)
