"""Building the marts, judging them, and publishing them as a version."""

from datetime import date, datetime
from typing import Any

import click

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.tables import print_table
from ml.settings import get_settings
from ml.stores.operations import Operations
from ml.stores.warehouse import Staged, mark_judged, marts_store, open_staged, publish_staged, stage_marts

# Why a build holds rows back, and what each waits for.
_HELD_REASONS = {
    "unknown_customer": "the order's customer to be among the customers",
    "unknown_order": "the line's order to be among the orders",
    "unknown_product": "the line's product to be among the products",
}


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
    """Make the judged marts what readers see.

    Raises:
        DataFailed: They have not passed the marts gate.
        ToolFailed: Nothing waits, or another build was published meanwhile.
    """
    version = publish_staged(get_settings(), partition)
    return {"partition": partition.isoformat(), "version": version.id, "target_day": version.lineage["target_day"]}


@click.group()
def warehouse() -> None:
    """Build, judge and publish the marts."""


_day_option = click.option(
    "--day", type=click.DateTime(formats=["%Y-%m-%d"]), required=True, help="Shop day up to which the marts reach."
)


@warehouse.command()
@_day_option
def build(day: datetime) -> None:
    """Build all marts from raw and stage them."""
    summary = build_models(day.date())
    click.echo(f"built up to {summary['target_day']} from raw {summary['raw_version']}")
    print_table(["mart", "rows"], sorted(summary["rows"].items()))
    for reason, count in summary["held"].items():
        click.echo(f"held back: {count} with {reason.replace('_', ' ')}")


@warehouse.command()
@_day_option
def gate(day: datetime) -> None:
    """Judge the staged marts."""
    for name, value in gate_marts(day.date()).items():
        click.echo(f"{name}: {value}")


@warehouse.command()
@_day_option
def publish(day: datetime) -> None:
    """Publish the judged marts as a version."""
    summary = publish_marts(day.date())
    click.echo(f"marts {summary['version']} are published, up to {summary['target_day']}")


@warehouse.command()
def versions() -> None:
    """Published versions that are kept, oldest first."""
    store = marts_store(get_settings())
    current = store.current()
    print_table(
        ["version", "up to", "raw version", "parts", "current"],
        [
            [
                version.id,
                version.lineage["target_day"],
                version.lineage["raw_version"],
                len(version.parts),
                "yes" if current and version.id == current.id else "",
            ]
            for version in store.versions()
        ],
    )
