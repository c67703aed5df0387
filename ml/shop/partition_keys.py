"""The names of runs: what a partition key says about the shop's days.

A daily key is the shop-local day, `2017-11-20`. A weekly key names the week by its Monday, `week-2017-11-20`,
so that nobody mistakes it for a day.
"""

from datetime import UTC, date, datetime, timedelta

DAY_FORMAT = "%Y-%m-%d"
WEEK_FORMAT = f"week-{DAY_FORMAT}"
_WEEK_PREFIX = WEEK_FORMAT.removesuffix(DAY_FORMAT)


def last_day_of(partition_key: str | None) -> date:
    """The shop day that a run's key stands for: the last one of the days that it covers.

    Raises:
        ValueError: The run has no key, or one that names neither a day nor a week by its Monday.
    """
    if partition_key is None:
        raise ValueError("this run has no partition key: start it with one, such as 2017-11-20 (see the DAG's page)")
    if not partition_key.startswith(_WEEK_PREFIX):
        return _parsed(partition_key, DAY_FORMAT)
    monday = _parsed(partition_key, WEEK_FORMAT)
    if monday.weekday() != 0:
        raise ValueError(f"{partition_key}: a week is named by its Monday")
    return monday + timedelta(days=6)


def newest_full_week(day: date) -> str:
    """Key of the newest week (Monday to Sunday) that has ended by the end of a day."""
    sunday = day - timedelta(days=(day.weekday() + 1) % 7)
    return (sunday - timedelta(days=6)).strftime(WEEK_FORMAT)


def _parsed(partition_key: str, key_format: str) -> date:
    return datetime.strptime(partition_key, key_format).replace(tzinfo=UTC).date()
