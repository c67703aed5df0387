"""Alerts: what is open, what was told to whom, and sending what waits."""

from datetime import datetime

import click
from sqlalchemy import select

from ml.alerts.notify import deliver
from ml.cli.tables import print_table
from ml.outcomes import ToolFailed
from ml.settings import get_settings
from ml.stores.operations import Operations, incidents
from ml.stores.operations import alerts as alerts_table


def deliver_alerts() -> dict[str, int]:
    """Send pending alerts that are due. A receiver that is down fails no step: its alerts stay pending and visible."""
    settings = get_settings()
    return deliver(Operations.from_settings(settings), settings)


@click.group(invoke_without_command=True)
@click.option("--all", "show_all", is_flag=True, help="Closed incidents too.")
@click.option("--limit", default=20, show_default=True, help="Recent alerts to show.")
@click.pass_context
def alerts(context: click.Context, show_all: bool, limit: int) -> None:
    """Open incidents and recent alerts with their delivery."""
    if context.invoked_subcommand is not None:
        return
    operations = Operations.from_settings(get_settings())
    found = operations.rows(incidents) if show_all else operations.rows(incidents, state="open")
    click.echo(f"{len(found)} {'' if show_all else 'open '}incident{'s' if len(found) != 1 else ''}")
    if found:
        _print_incidents(found, show_all)
    _print_alerts(operations, limit)


def _print_incidents(found: list[dict[str, object]], show_all: bool) -> None:
    header = ["severity", "kind", "object", "rule", "since", "last", "days", "what"]
    keys = ["severity", "kind", "object", "rule", "opened_partition", "last_partition", "count", "title"]
    if show_all:
        header, keys = ["state", *header], ["state", *keys]
    print_table(header, [[incident[key] for key in keys] for incident in found])


def _print_alerts(operations: Operations, limit: int) -> None:
    statement = (
        select(alerts_table, incidents.c.severity)
        .join(incidents, incidents.c.id == alerts_table.c.incident_id)
        .order_by(alerts_table.c.id.desc())
        .limit(limit)
    )
    with operations.transaction() as connection:
        recent = [dict(row._mapping) for row in connection.execute(statement)][::-1]
    if not recent:
        return
    click.echo(f"\n{len(recent)} recent alert{'s' if len(recent) != 1 else ''}, oldest first")
    rows = [
        [
            alert["id"],
            _minute(alert["created_at"]),
            alert["purpose"],
            alert["severity"],
            alert["delivery"],
            alert["attempts"],
            alert["title"],
            alert["last_error"],
        ]
        for alert in recent
    ]
    print_table(["id", "created (UTC)", "purpose", "severity", "delivery", "tries", "what", "last error"], rows)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


@alerts.command("deliver")
@click.option("--failed", "include_failed", is_flag=True, help="Also those that were given up.")
def deliver_now(include_failed: bool) -> None:
    """Send what is pending now, without waiting for the pause between attempts to end."""
    settings = get_settings()
    counts = deliver(
        Operations.from_settings(settings),
        settings,
        include_failed=include_failed,
        ignore_pause=True,
        console=click.echo,
    )
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
    if counts["pending"] or counts["failed"]:
        raise ToolFailed("not every alert could be sent; `shopwright alerts` shows the reasons")
