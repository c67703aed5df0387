"""The shop's days as Airflow sees them: schedules whose runs have a partition key (`ml/shop/partition_keys.py`)."""

from datetime import UTC, datetime, time, timedelta

from airflow.sdk import (
    Asset,
    CronPartitionTimetable,
    PartitionedAssetTimetable,
    RollupMapper,
    StartOfWeekMapper,
    WeekWindow,
)


def each_day() -> CronPartitionTimetable:
    """At each midnight of the shop, one run for the day that has just ended."""
    from ml.shop.partition_keys import DAY_FORMAT

    return CronPartitionTimetable("0 0 * * *", timezone=_timezone(), run_offset=-1, key_format=DAY_FORMAT)


def each_monday_morning() -> CronPartitionTimetable:
    """At four o'clock on each Monday of the shop; the key is that day."""
    from ml.shop.partition_keys import DAY_FORMAT

    return CronPartitionTimetable("0 4 * * 1", timezone=_timezone(), key_format=DAY_FORMAT)


def each_day_of(asset: Asset) -> PartitionedAssetTimetable:
    """One run for each day of an asset."""
    return PartitionedAssetTimetable(assets=asset)


def each_full_week_of(asset: Asset) -> PartitionedAssetTimetable:
    """One run for each week, Monday to Sunday, when all its seven days are there.

    The mapper alone would run once per daily event; the rollup waits for the window.
    """
    from ml.shop.partition_keys import DAY_FORMAT, WEEK_FORMAT

    week = StartOfWeekMapper(timezone=_timezone(), input_format=DAY_FORMAT, output_format=WEEK_FORMAT)
    return PartitionedAssetTimetable(
        assets=asset, partition_mapper_config={asset: RollupMapper(upstream_mapper=week, window=WeekWindow())}
    )


def is_live() -> bool:
    """Whether the shop goes on: its source has no last day."""
    from ml.settings import get_settings

    return get_settings().last_day is None


def first_day() -> datetime:
    """Start of the shop's history, for `start_date`."""
    from ml.settings import get_settings

    settings = get_settings()
    return settings.day_start(settings.first_day)


def first_scheduled_run() -> datetime:
    """For the `start_date` of the DAG that the clock starts.

    A live shop's own runs begin with the day after the bootstrap, at the end of that day; with catch-up, days on
    which the machine was off are made up for. A replayed shop has none: its start is that of its history.
    """
    from ml.settings import get_settings

    settings = get_settings()
    return settings.day_start(settings.bootstrap_day + timedelta(days=2)) if is_live() else first_day()


def after_last_day() -> datetime | None:
    """For `end_date`: a moment after a replayed source's last day; None for a live shop.

    Without it, switching the DAG on would start a run for the wall clock's day, for which a replayed
    source has nothing. Triggers and backfills work all the same.
    """
    from ml.settings import get_settings

    last_day = get_settings().last_day
    return None if last_day is None else datetime.combine(last_day + timedelta(days=2), time(), tzinfo=UTC)


def _timezone() -> str:
    from ml.settings import get_settings

    return get_settings().timezone
