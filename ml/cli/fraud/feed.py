"""Payments and labels that the shop's source delivered, fed to the state of fraud features through the serving log.

What a shop posts while it is open is in the log already; what only comes by file or database, day by day, is not.
Fed twice, an event is known the second time. Fed events never flow back to the raw tables that they came from.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

import click

from ml.cli.fraud.marks import Mark, read_mark, save_mark
from ml.fraud.events import LABEL, PAYMENT, TEXT_COLUMNS
from ml.outcomes import DataFailed
from ml.serving.events import posted_entry
from ml.settings import Settings, get_settings
from ml.stores.operations import Operations
from ml.stores.serving_log import ServingLog

MARK = "feed"
LATE_DAYS = 7
"""Rows of so many days before are offered again: late ones are fed too."""
FEED_BATCH = 500  # a transaction of some milliseconds: decisions wait for it
_FETCHED = 500
_DAY = click.DateTime(formats=["%Y-%m-%d"])
# Mart -> how a row of it is posted. An order's first attempt stands for its payment: the mart keeps no others.
_EVENTS = {
    PAYMENT: f"""
        select order_id as payment_id, order_id, attempted_at, {", ".join(TEXT_COLUMNS)}, account_created_at,
            amount_cents, currency, first_outcome as outcome
        from fct_order_payments
        where ($start is null or attempted_at >= $start) and ($before is null or attempted_at < $before)
        order by attempted_at, order_id
    """,  # noqa: S608 - names of our own columns
    LABEL: """
        select label_id, order_id, is_fraud, known_at, label_source from fct_fraud_labels
        where ($start is null or known_at >= $start) and ($before is null or known_at < $before)
        order by known_at, label_id
    """,
}


def landed_events(settings: Settings, first: date | None = None, last: date | None = None) -> Iterator[dict[str, Any]]:
    """The published marts' payments and labels of some shop days (all without), as events."""
    from ml.stores.warehouse import open_marts  # with DuckDB; the follower, which never gets here, starts without it

    connection = open_marts(settings).connect()
    start = None if first is None else settings.day_start(first)
    before = None if last is None else settings.day_start(last + timedelta(days=1))
    for kind, query in _EVENTS.items():
        rows = connection.execute(query, {"start": start, "before": before})
        columns = [column[0] for column in rows.description]
        while some := rows.fetchmany(_FETCHED):
            yield from (_event(kind, dict(zip(columns, row, strict=True))) for row in some)


def history(settings: Settings) -> Iterator[str]:
    """All of them, as lines to post."""
    return (json.dumps(event, separators=(",", ":")) for event in landed_events(settings))


def feed_state(partition: date) -> dict[str, Any]:
    """Feed what was landed up to a shop day: the whole history the first time, then the newest days.

    Returns:
        With `skipped` where the shop has no payments.
    """
    from ml.cli.fraud.inputs import NO_PAYMENTS, has_payments
    from ml.stores.warehouse import open_marts

    settings = get_settings()
    marts = open_marts(settings)
    if not has_payments(marts):
        return {"partition": partition.isoformat(), "skipped": NO_PAYMENTS}
    if marts.target_day < partition:
        raise DataFailed(f"marts {marts.version.id} reach {marts.target_day}, feeding needs {partition}")
    operations, log = Operations.from_settings(settings), ServingLog.from_settings(settings)
    fed = read_mark(operations, MARK, log.identity()).detail.get("fed_through")
    through = None if fed is None else date.fromisoformat(fed)
    first = None if through is None else min(through, partition) - timedelta(days=LATE_DAYS)
    summary = feed(settings, log, first, partition)
    newest = max(partition, through or partition)
    save_mark(operations, MARK, log.identity(), Mark(log.end(), {"fed_through": newest.isoformat()}))
    return {"partition": partition.isoformat(), **summary}


def feed(settings: Settings, log: ServingLog, first: date | None, last: date | None) -> dict[str, int]:
    """Take the landed events of some shop days into the log, many in one transaction.

    Returns:
        taken, known (in the log before), conflicts (the log holds something else under the id, which stays).
    """
    statuses: Counter[str] = Counter()
    events = landed_events(settings, first, last)
    while batch := list(islice(events, FEED_BATCH)):
        entries = [posted_entry(event, flows_back=False) for event in batch]
        statuses.update(outcome.status for outcome in log.append(entries))
    return {"taken": statuses["taken"], "known": statuses["known"], "conflicts": statuses["conflict"]}


def _event(kind: str, row: Mapping[str, object]) -> dict[str, Any]:
    values = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    return {"type": kind, **values}


@click.command("feed")
@click.option("--day", type=_DAY, help="Shop day up to which landed payments and labels are fed.")
@click.option("--history", "is_history", is_flag=True, help="Feed all that is published, whatever was fed before.")
def feed_command(day: datetime | None, is_history: bool) -> None:
    """Feed landed payments and labels to the state of fraud features; doing it again changes nothing."""
    if (day is None) == (not is_history):
        raise click.UsageError("give either --day or --history")
    settings = get_settings()
    if day is not None:
        summary = feed_state(day.date())
    else:
        summary = feed(settings, ServingLog.from_settings(settings), None, None)
    for name, value in summary.items():
        click.echo(f"{name}: {value}")
