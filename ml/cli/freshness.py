"""Freshness: how old the shop's data is, held against its objectives, and whether the serving log is followed."""

from dataclasses import dataclass

import click
from sqlalchemy.exc import SQLAlchemyError

from ml.cli.fraud.follower_watch import FollowerWatch
from ml.cli.tables import print_table
from ml.embedded.watch import watch_forever
from ml.monitoring.freshness import Freshness
from ml.monitoring.freshness_watch import CATCHING_UP, FIRST_LOAD, POLL_SECONDS, FreshnessWatch
from ml.monitoring.staleness import judge_shop
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import get_settings
from ml.stores.operations import Operations


@click.command()
@click.option("--alert", "alerts", is_flag=True, help="Open and close incidents too, and send alerts: for cron.")
@click.option("--watch", "watches", is_flag=True, help="Look every minute and alert; `shopwright up` starts it.")
def freshness(alerts: bool, watches: bool) -> None:
    """Whether every table arrived in time, and what is published is not older than it may be.

    Reads what lies on disk: it works while Airflow does not. With --alert or --watch it tells of a follower of the
    serving log that is behind, too.
    """
    settings = get_settings()
    if not (alerts or watches):
        _show(judge_shop(settings))
        return
    operations = Operations.from_settings(settings)
    if watches:
        judge_shop(settings)  # settings that cannot be read end it at once
        watch = FreshnessWatch(settings, operations, click.echo, FIRST_LOAD, CATCHING_UP)
        watch_forever(_Enduring(watch, FollowerWatch(settings, operations)), poll_seconds=POLL_SECONDS)
    else:
        FollowerWatch(settings, operations).look()  # what it tells is sent with the rest
        _show(FreshnessWatch(settings, operations).look())


@dataclass(frozen=True)
class _Enduring:
    """Watches that go on when the operational record or the disk is away for a while."""

    watch: FreshnessWatch
    follower: FollowerWatch

    def look(self) -> None:
        try:
            self.follower.look()
            self.watch.look()  # sends what either found
        except (SQLAlchemyError, OSError) as error:
            click.echo(f"freshness could not be told ({type(error).__name__}); trying again in a minute", err=True)


def _show(verdicts: list[Freshness]) -> None:
    """
    Raises:
        DataFailed: An objective is missed.
        ToolFailed: None is missed, and one cannot be judged.
    """
    print_table(
        ["state", "of", "newest day", "at least", "objective", "why"],
        [[v.state, v.object, v.newest, v.required, v.objective, v.why or None] for v in verdicts],
    )
    missed = [verdict.object for verdict in verdicts if verdict.state == "missed"]
    unknown = [verdict.object for verdict in verdicts if verdict.state == "unknown"]
    if missed:
        raise DataFailed(f"older than allowed: {', '.join(missed)}")
    if unknown:
        raise ToolFailed(f"nobody knows how old: {', '.join(unknown)}")
