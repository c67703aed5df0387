"""What a suite has to know about the marts that wait for publication."""

from dataclasses import dataclass
from datetime import date

ROWS = "rows"
NEWEST_DAY = "newest_day"
STRAY = "stray"
STRAY_BATCHES = "stray_batches"
"""Judges one row per table and batch: how many of its rows are unaccounted for."""


@dataclass(frozen=True)
class StagedMart:
    """One mart of a build.

    Attributes:
        expected_day: Newest day up to the build's target day on which the shop was open.
        as_of_date: The day after the target day: the as-of date of the newest feature rows.
    """

    name: str
    expected_day: date
    as_of_date: date
