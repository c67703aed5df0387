"""Local times as moments in UTC, whole columns at once.

A clock that is put back shows an hour twice: the first of the two is meant. A clock that is put forward leaves an
hour out: a time in it is read as if the clock had not been moved yet (01:30 that never was is 02:30 by the new
time). That is what Python's `datetime` means by `fold=0`, for any zone and any size of the change.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

Microseconds: TypeAlias = npt.NDArray[np.int64]

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_STEP = timedelta(days=20)  # shorter than any time between two changes of a zone since 1970
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)


def to_utc(local: Microseconds, zone: str) -> Microseconds:
    """Microseconds since 1970 in UTC of microseconds since 1970 on a zone's clock."""
    starts, offsets = _offsets(zone)
    return np.asarray(local - offsets[np.searchsorted(starts, local, side="right")], dtype=np.int64)


@lru_cache(maxsize=64)
def _offsets(zone: str) -> tuple[Microseconds, Microseconds]:
    """Local times from which the next offset holds, and the offsets: one more than times."""
    place = ZoneInfo(zone)
    at, offset = _FIRST, _offset(place, _FIRST)
    starts, offsets = [], [offset]
    while at < _LAST:
        following = at + _STEP
        if _offset(place, following) != offset:
            change = _change_between(place, at, following)
            before, offset = offset, _offset(place, change)
            # Put back: the old offset holds to the end of the hour that comes twice; put forward: of the gap.
            starts.append((change - _FIRST) // _MICROSECOND + max(before, offset))
            offsets.append(offset)
            at = change
            continue
        at = following
    return np.array(starts, dtype=np.int64), np.array(offsets, dtype=np.int64)


def _change_between(place: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """First moment with another offset than `before` has."""
    known = _offset(place, before)
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if _offset(place, middle) == known:
            before = middle
        else:
            after = middle
    return after


def _offset(place: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(place).utcoffset()
    assert offset is not None, "a zone has an offset at every moment"
    return offset // _MICROSECOND
