"""Splits by time: which Mondays are learnt from, and which decide.

A *cut* is a Monday T: everything before its start is history, the days [T, T+7) are its label week.
"""

from dataclasses import dataclass
from datetime import date, timedelta

from ml.outcomes import DataFailed

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Split:
    """Cuts in order of time; every promotion cut lies after every training cut."""

    training: tuple[date, ...]
    promotion: tuple[date, ...]


def monday_cuts(first_day: date, partition: date, min_history_days: int) -> list[date]:
    """Mondays with enough history before them and a label week that ends by the end of `partition`."""
    earliest = first_day + timedelta(days=min_history_days)
    cut = earliest + timedelta(days=-earliest.weekday() % 7)
    cuts = []
    while cut + WEEK <= partition + timedelta(days=1):
        cuts.append(cut)
        cut += WEEK
    return cuts


def split_cuts(cuts: list[date], training: int, promotion: int) -> Split:
    """The newest cuts decide, those before them are learnt from.

    A short history gives up promotion cuts first: one decides when there are fewer than `promotion` + 2.

    Raises:
        DataFailed: Fewer than two label weeks.
    """
    if len(cuts) < 2:
        raise DataFailed(
            f"orders: {len(cuts)} complete label weeks with enough history before them, expected at least 2: "
            "one to learn from, one to decide by"
        )
    deciding = promotion if len(cuts) >= promotion + 2 else 1
    return Split(tuple(cuts[:-deciding][-training:]), tuple(cuts[-deciding:]))
