"""How far a shop has come, held against its freshness objectives; read from disk, without Airflow or a database."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

from ml.monitoring.freshness import PUBLISHED, Freshness, Reached, judge, objectives
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, wall_clock
from ml.stores.landing import Landing
from ml.stores.versions import VersionStore


def is_replayed(settings: Settings) -> bool:
    """Whether the source has ended, so that nothing new can be expected of it."""
    return settings.last_day is not None and settings.last_day < _now(settings).date()


def judge_shop(settings: Settings) -> list[Freshness]:
    """Verdicts on each table with an objective, and on what is published.

    Raises:
        SettingsError: The objectives of the settings cannot be read.
    """
    wanted = objectives(settings.freshness)
    landing = Landing(settings.shop_dir / "landing")
    landed = {table: _newest_day(landing, table) for table in wanted}
    return judge(wanted, landed, _published(settings), None if is_replayed(settings) else _now(settings))


def stale_marks(settings: Settings, names: Sequence[str] = PUBLISHED) -> list[str]:
    """What must be said beside published things that are older than they may be; of what is not there, nothing."""
    found = {verdict.object: verdict for verdict in judge_shop(settings)}
    marks = (found[name].mark() for name in names if name in found and not found[name].is_absent)
    return [mark for mark in marks if mark is not None]


def shop_day_of(settings: Settings) -> date:
    """The day that a verdict is told for: today for a live shop, the newest landed day for a replayed one."""
    if not is_replayed(settings):
        return _now(settings).date()
    landing = Landing(settings.shop_dir / "landing")
    days = [_newest_day(landing, table).day for table in objectives(settings.freshness)]
    # Before anything has landed: a day that every later verdict can take back.
    return max((day for day in days if day is not None), default=settings.first_day)


def _newest_day(landing: Landing, table: str) -> Reached:
    return _reached(lambda: landing.newest_day(table))


def _published(settings: Settings) -> dict[str, Reached]:
    from ml.stores.online_features import watermark  # pandas takes a second to import

    def features() -> date | None:
        held = watermark(settings)
        return date.fromisoformat(held.day) if held else None

    return {
        "marts": _reached(lambda: _day_in(settings, "warehouse/marts", "target_day")),
        "features": _reached(features),
        # What is as of the morning of D+1 is of shop day D.
        "recommendations": _reached(lambda: _day_in(settings, "recommendations", "as_of_date", -1)),
    }


def _day_in(settings: Settings, store: str, entry: str, shift: int = 0) -> date | None:
    version = VersionStore(settings.shop_dir / store).current()
    return date.fromisoformat(version.lineage[entry]) + timedelta(days=shift) if version else None


def _reached(read: Callable[[], date | None]) -> Reached:
    try:
        return Reached(read())
    except (DataFailed, ToolFailed) as error:
        return Reached(None, str(error))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Reached(None, f"it cannot be read ({type(error).__name__})")


def _now(settings: Settings) -> datetime:
    return wall_clock().astimezone(settings.zone)
