"""A clock's time becomes a moment, also where the clock is moved."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ml.shop.local_times import to_utc

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)


def in_utc(local: str, zone: str) -> str:
    given = np.array([(datetime.fromisoformat(local) - _EPOCH) // _MICROSECOND])
    return (_EPOCH + int(to_utc(given, zone)[0]) * _MICROSECOND).isoformat(sep=" ")


@pytest.mark.parametrize(
    ("local", "zone", "moment"),
    [
        ("2024-01-15 12:00:00", "Europe/London", "2024-01-15 12:00:00"),
        ("2024-07-15 12:00:00", "Europe/London", "2024-07-15 11:00:00"),
        # 31 March: 01:00 becomes 02:00. What never was is read by the old clock.
        ("2024-03-31 00:59:59", "Europe/London", "2024-03-31 00:59:59"),
        ("2024-03-31 01:30:00", "Europe/London", "2024-03-31 01:30:00"),
        ("2024-03-31 02:00:00", "Europe/London", "2024-03-31 01:00:00"),
        # 27 October: 02:00 becomes 01:00. What comes twice is the first of the two.
        ("2024-10-27 00:59:59", "Europe/London", "2024-10-26 23:59:59"),
        ("2024-10-27 01:30:00", "Europe/London", "2024-10-27 00:30:00"),
        ("2024-10-27 02:00:00", "Europe/London", "2024-10-27 02:00:00"),
        # Half an hour: 02:00 becomes 02:30.
        ("2024-10-06 02:15:00", "Australia/Lord_Howe", "2024-10-05 15:45:00"),
        # A day that Samoa left out, and a zone that never moves its clock.
        ("2011-12-30 12:00:00", "Pacific/Apia", "2011-12-30 22:00:00"),
        ("2024-07-15 12:00:00", "Asia/Kolkata", "2024-07-15 06:30:00"),
    ],
)
def test_a_local_time_is_the_moment_that_its_clock_means(local: str, zone: str, moment: str) -> None:
    assert in_utc(local, zone) == moment


@pytest.mark.parametrize("zone", ["Europe/Dublin", "America/New_York", "Africa/Casablanca", "America/Sao_Paulo"])
def test_it_is_what_python_means_by_the_first_of_two(zone: str) -> None:
    locals_ = [_EPOCH + timedelta(days=19_723, minutes=37 * number) for number in range(14_000)]
    given = np.array([(local - _EPOCH) // _MICROSECOND for local in locals_])
    meant = [local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).replace(tzinfo=None) for local in locals_]
    assert to_utc(given, zone).tolist() == [(moment - _EPOCH) // _MICROSECOND for moment in meant]
