"""Building the marts, judging them, and publishing them as a version."""

from datetime import date, datetime
from typing import Any

import click

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.person import acting_person
from ml.cli.step_verdicts import recorded
from ml.cli.tables import print_table
from ml.cli.warehouse_diff import diff
from ml.settings import Settings, get_settings
from ml.stores.feature_versions import record_feature_versions
from ml.stores.operations import Operations
from ml.stores.raw import RawStore, batch_day
from ml.stores.rollback import plan_rollback, roll_back, rollback_history
from ml.stores.version_history import kept_versions
from ml.stores.versions import Version
from ml.stores.warehouse import (
    Marts,
    Staged,
    StaleBuild,
    mark_judged,
    marts_store,
    open_staged,
    publish_staged,
    stage_marts,
)

# A publication builds again when another one was quicker; each time that happens, somebody did publish.
_PUBLISH_ATTEMPTS = 3

# Why a build holds rows back, and what each waits for.
_HELD_REASONS = {
    "unknown_customer": "the order's customer to be among the customers",
    "unknown_order": "the line's order to be among the orders",
    "unknown_product": "the line's product to be among the products",
}


@recorded("dbt_tests", "build", "data_tests", "every data test to pass and every contract to hold")
def build_models(partition: date) -> dict[str, Any]:
    """Build all marts up to a shop day from raw, in one dbt build, and stage them for the gate.

    Raises:
        DataFailed: There is no raw data, or a data test or contract failed.
        ToolFailed: dbt could not run.
    """
    settings = get_settings()
    staged = stage_marts(settings, partition)
    _tell_held(Operations.from_settings(settings), staged)
    return {
        "partition": partition.isoformat(),
        "target_day": staged.lineage["target_day"],
        "raw_version": staged.lineage["raw_version"],
        "rows": staged.rows(),
        "held": staged.held,
    }


def _tell_held(operations: Operations, staged: Staged) -> None:
    """Record how many rows wait, and open or close an incident per reason."""
    target_day = date.fromisoformat(staged.lineage["target_day"])
    rules = []
    for reason, expected in _HELD_REASONS.items():
        rows = staged.held.get(reason, 0)
        rules.append(
            {
                "rule": reason,
                "scope": "row",
                "status": "set_aside" if rows else "passed",
                "observed": f"{rows:,} rows without it",
                "expected": expected,
                "rows": rows,
            }
        )
        incident: dict[str, Any] = {
            "kind": "rows_set_aside",
            "object": "warehouse",
            "rule": reason,
            "partition": target_day,
        }
        if rows:
            title = f"warehouse: {rows:,} rows wait, {reason.replace('_', ' ')}"
            body = f"Expected {expected}. They come out by themselves once it is delivered; the rest went on."
            open_incident(operations, **incident, severity="warn", title=title, body=body)
        else:
            close_incident(operations, **incident)
    operations.record_verdict(
        gate="marts",
        object="held_rows",
        batch_id=staged.lineage["target_day"],
        partition=staged.lineage["target_day"],
        status="passed",
        rules=rules,
        rows_in=sum(staged.held.values()),
        rows_quarantined=sum(staged.held.values()),
    )


def gate_marts(partition: date) -> dict[str, Any]:
    """Judge the staged marts; only what passes can be published.

    Raises:
        DataFailed: A rule of the marts gate failed.
        ToolFailed: A rule could not be judged.
    """
    from expectations import gates  # Great Expectations takes seconds to import

    settings = get_settings()
    staged, marts = open_staged(settings, partition)
    summary: dict[str, Any] = gates.judge_marts(settings, partition, marts)
    mark_judged(settings, staged)
    return summary


def publish_marts(partition: date) -> dict[str, Any]:
    """Make the judged marts what readers see. A build that another one overtook is built and judged again first.

    Raises:
        DataFailed: They have not passed the marts gate, or are what an operator rolled back from.
        ToolFailed: Nothing waits, or other builds were published first each time.
    """
    settings = get_settings()
    version = _publish(settings, partition)
    return {
        "partition": partition.isoformat(),
        "version": version.id,
        "target_day": version.lineage["target_day"],
        "feature_versions": record_feature_versions(Operations.from_settings(settings), version),
    }


def _publish(settings: Settings, partition: date) -> Version:
    for _attempt in range(_PUBLISH_ATTEMPTS - 1):
        try:
            return publish_staged(settings, partition)
        except StaleBuild:
            build_models(partition)
            gate_marts(partition)
    return publish_staged(settings, partition)


@click.group()
def warehouse() -> None:
    """Build, judge and publish the marts."""


def newest_day(_context: click.Context, _parameter: click.Parameter, day: datetime | None) -> datetime:
    """The day that was given, else the newest one published, before the first publication the newest one in raw."""
    if day is not None:
        return day
    settings = get_settings()
    published, raw = marts_store(settings).current(), RawStore(settings).accepted()
    if published is None and not raw:
        raise click.UsageError("nothing is published yet; run `shopwright ingest` first, or name a --day")
    newest = (
        Marts(marts_store(settings), published).target_day if published else max(batch_day(each) for _, each in raw)
    )
    return datetime.combine(newest, datetime.min.time())


day_option = click.option(
    "--day",
    type=click.DateTime(formats=["%Y-%m-%d"]),
    callback=newest_day,
    help="Shop day up to which the marts reach; default: the newest one.",
)


@warehouse.command()
@day_option
def build(day: datetime) -> None:
    """Build all marts from raw and stage them."""
    summary = build_models(day.date())
    click.echo(f"built up to {summary['target_day']} from raw {summary['raw_version']}")
    print_table(["mart", "rows"], sorted(summary["rows"].items()))
    for reason, count in summary["held"].items():
        click.echo(f"held back: {count} with {reason.replace('_', ' ')}")


@warehouse.command()
@day_option
def gate(day: datetime) -> None:
    """Judge the staged marts."""
    for name, value in gate_marts(day.date()).items():
        click.echo(f"{name}: {value}")


@warehouse.command()
@day_option
def publish(day: datetime) -> None:
    """Publish the judged marts as a version."""
    summary = publish_marts(day.date())
    click.echo(f"marts {summary['version']} are published, up to {summary['target_day']}")


@warehouse.command()
def versions() -> None:
    """Versions that are kept, oldest first, with what became of them, and who rolled back when and why."""
    settings = get_settings()
    print_table(
        ["version", "state", "up to", "raw version", "built upon", "parts"],
        [[kept.id, kept.fate.value, *_described(kept.version)] for kept in kept_versions(marts_store(settings))],
    )
    history = rollback_history(settings)
    if history:
        click.echo()
        print_table(
            ["rolled back at", "from", "to", "by", "reason"],
            [
                [
                    f"{row['decided_at']:%Y-%m-%d %H:%M} UTC" + ("" if row["completed_at"] else " (not completed)"),
                    row["from_version"],
                    row["to_version"],
                    row["decided_by"],
                    row["reason"],
                ]
                for row in history
            ],
        )


def _described(version: Version | None) -> list[object]:
    if version is None:
        return [None, None, None, None]
    return [version.lineage["target_day"], version.lineage["raw_version"], version.parent, len(version.parts)]


@warehouse.command()
@click.option("--to", "to_version", metavar="VERSION", help="A kept version; default: the one before the current one.")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--by", help="Who decided; default: the user of this process.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and do nothing.")
def rollback(to_version: str | None, reason: str, by: str | None, dry_run: bool) -> None:
    """Make an earlier version of the marts what readers see.

    The next build goes on from raw and publishes; only the very build that was rolled back is refused. To have
    readers stay with the older version, pause `warehouse_build` until the cause is mended.
    """
    settings = get_settings()
    if dry_run:
        plan = plan_rollback(settings, to_version)
        click.echo(f"readers would see {plan.after.id} instead of {plan.before.id}; nothing was done")
        return
    plan = roll_back(settings, to_version, reason=reason, by=acting_person(by))
    click.echo(f"readers see {plan.after.id}, up to {plan.after.lineage['target_day']}")
    if plan.is_done:
        click.echo("nothing had to be moved")
        return
    click.echo(f"rolled back from {plan.before.id}; run `shopwright features materialize` and `recommender publish`")
    click.echo("the next build publishes again from raw: pause warehouse_build until the cause is mended")


warehouse.add_command(diff)
