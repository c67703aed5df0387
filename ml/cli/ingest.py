"""Landing the shop's days, judging them at the arrival gate, and verifying what is stored."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import click

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.sources import ComposedSource, open_shop
from ml.cli.tables import print_table
from ml.outcomes import DataFailed
from ml.settings import Settings, get_settings
from ml.shop.contract import REQUIRED_TABLES
from ml.shop.sources import SIMULATION
from ml.stores.landing import Batch, Landing
from ml.stores.operations import Operations, gate_verdicts
from ml.stores.versions import VersionStore

# Tables so large that a batch covers at most one week, Monday to Sunday.
_LANDED_BY_WEEK = ("promotions",)
_VERSION_STORES = ("raw", "warehouse/marts", "training", "recommendations", "fraud_training", "fraud_scores")
_READABLE_RULE = "source_readable"
_BYTES_RULE = "bytes_match_manifest"
_SHOWN_PROBLEMS = 20


def land_days(first_day: date, last_day: date) -> dict[str, Any]:
    """Land one batch per table (per week, for large tables) of the shop days [first_day, last_day].

    Every table is tried before a failure is raised; what could be read is landed and stays.

    Returns:
        Table -> {"batch_id", "batches", "source", "rows", "unparsed", "same_as", "left_out", "filtered"} of its
        batches; `left_out` names the days that a bootstrap does not load, `filtered` counts the rows that each filter
        of a mapping left out.

    Raises:
        DataFailed: The source could not be read, or ends before `last_day`.
    """
    settings = get_settings()
    _check_days(settings, first_day, last_day)
    operations = Operations.from_settings(settings)
    landing = Landing(settings.shop_dir / "landing")
    source, tables = _open_checked(settings, operations, first_day, last_day)
    summary: dict[str, Any] = {}
    failures: list[str] = []
    for table in tables:
        pieces, left_out = _pieces(settings, table, first_day, last_day)
        try:
            batches = [_land(landing, source, table, first, last) for first, last in pieces]
        except DataFailed as error:
            _tell_readable(operations, table, first_day, last_day, problem=str(error))
            failures.append(str(error))
            continue
        _tell_readable(operations, table, first_day, last_day, problem=None)
        summary[table] = _summary_of(batches, left_out)
    if failures:
        raise DataFailed("; ".join(failures))
    return summary


def _check_days(settings: Settings, first_day: date, last_day: date) -> None:
    if first_day > last_day:
        raise DataFailed(f"the first day {first_day} is after the last day {last_day}")
    if settings.last_day is not None and last_day > settings.last_day:
        raise DataFailed(f"the source ends on {settings.last_day} (SHOPWRIGHT_LAST_DAY), before {last_day}")


def _open_checked(
    settings: Settings, operations: Operations, first_day: date, last_day: date
) -> tuple[ComposedSource, tuple[str, ...]]:
    try:
        source = open_shop(settings, operations)
        tables = source.tables()
    except DataFailed as error:
        _tell_readable(operations, "source", first_day, last_day, problem=str(error))
        raise
    _tell_readable(operations, "source", first_day, last_day, problem=None)
    return source, tables


def _pieces(
    settings: Settings, table: str, first_day: date, last_day: date
) -> tuple[list[tuple[date, date]], str | None]:
    """The days of each batch of a table, and the days that a bootstrap leaves out."""
    if table not in _LANDED_BY_WEEK:
        return [(first_day, last_day)], None
    monday = first_day - timedelta(days=first_day.weekday())
    weeks = []
    while monday <= last_day:
        weeks.append((max(first_day, monday), min(last_day, monday + timedelta(days=6))))
        monday += timedelta(weeks=1)
    if first_day != settings.first_day or len(weeks) <= settings.promotions_weeks:
        return weeks, None
    kept = weeks[len(weeks) - settings.promotions_weeks :]
    left_until = kept[0][0] - timedelta(days=1) if kept else last_day
    return kept, f"{first_day}..{left_until}"


def _land(landing: Landing, source: ComposedSource, table: str, first_day: date, last_day: date) -> Batch:
    delivery = source.read(table, first_day, last_day + timedelta(days=1))
    return landing.land(delivery, first_day, last_day, source.name_of(table))


def _summary_of(batches: list[Batch], left_out: str | None) -> dict[str, Any]:
    return {
        "batch_id": batches[-1].id if batches else None,
        "batches": [batch.id for batch in batches],
        "source": batches[-1].source if batches else None,
        "rows": sum(batch.rows for batch in batches),
        "unparsed": sum(batch.unparsed for batch in batches),
        "same_as": batches[-1].same_as if batches else None,
        "left_out": left_out,
        "filtered": _filtered(batches),
    }


def _filtered(batches: list[Batch]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for batch in batches:
        for name, rows in batch.left_out.items():
            counts[name] = counts.get(name, 0) + rows
    return counts


def _tell_readable(operations: Operations, table: str, first_day: date, last_day: date, *, problem: str | None) -> None:
    """What cannot even be read fails the arrival gate by that; what can be read takes such a verdict back."""
    verdict_id = f"{last_day}.{(last_day - first_day).days + 1}d.unread"
    status = "passed" if problem is None else "failed"
    rule = {
        "rule": _READABLE_RULE,
        "scope": "batch",
        "status": status,
        "observed": problem or "it can",
        "expected": "a source that can be read",
        "rows": 0,
    }
    if problem is not None or operations.rows(gate_verdicts, gate="arrivals", object=table, batch_id=verdict_id):
        operations.record_verdict(
            gate="arrivals",
            object=table,
            batch_id=verdict_id,
            partition=last_day.isoformat(),
            status=status,
            rules=[rule],
        )
    if problem is None:
        close_incident(operations, kind="gate_failed", object=table, rule=_READABLE_RULE, partition=last_day)
        return
    open_incident(
        operations,
        kind="gate_failed",
        object=table,
        rule=_READABLE_RULE,
        partition=last_day,
        severity="alert",
        title=f"{table}: the days up to {last_day} cannot be read",
        body=problem,
    )


def gate_arrivals(partition: date) -> dict[str, Any]:
    """Judge the batches that were landed for a partition and publish what passes to raw.

    Raises:
        DataFailed: A required table failed; nothing of the partition was published.
        ToolFailed: A rule could not be judged.
    """
    from expectations import gates  # Great Expectations takes seconds to import

    settings = get_settings()

    def affected(table: str, columns: Sequence[str]) -> list[str]:
        from ml.lineage.impact import affected_by  # parses the models' SQL, which only a changed delivery needs

        return affected_by(settings, table, columns)

    return gates.judge_arrivals(settings, partition, affected)


def scrub_stores() -> dict[str, Any]:
    """Hash every stored file against its manifest; damage opens an incident and is returned, not raised.

    Returns:
        Store -> {"problems": [...]}; `problems` has one line per damaged file.
    """
    settings = get_settings()
    operations = Operations.from_settings(settings)
    found = {"landing": Landing(settings.shop_dir / "landing").scrub()}
    for name in _VERSION_STORES:
        found[name] = VersionStore(settings.shop_dir / name).scrub()
    day = _newest_landed_day(settings)
    for store, problems in found.items():
        _report_scrub(operations, store, problems, day)
    return {store: {"problems": problems} for store, problems in found.items()}


def _newest_landed_day(settings: Settings) -> date:
    """The shop day of a scrub, from folder names: a damaged manifest must not stop it."""
    days = sorted(path.name[:10] for path in (settings.shop_dir / "landing").glob("*/[0-9]*"))
    return date.fromisoformat(days[-1]) if days else settings.bootstrap_day


def _report_scrub(operations: Operations, store: str, problems: list[str], day: date) -> None:
    operations.record_monitor_state(
        monitor="scrub",
        object=store,
        partition=day.isoformat(),
        state="alert" if problems else "ok",
        value=float(len(problems)),
        threshold=0.0,
        detail={"problems": problems[:_SHOWN_PROBLEMS]},
    )
    if not problems:
        close_incident(operations, kind="scrub_failed", object=store, rule=_BYTES_RULE, partition=day)
        return
    open_incident(
        operations,
        kind="scrub_failed",
        object=store,
        rule=_BYTES_RULE,
        partition=day,
        severity="alert",
        title=f"{store}: {len(problems)} damaged file{'s' if len(problems) != 1 else ''}",
        body="\n".join(problems[:_SHOWN_PROBLEMS]),
    )


_DAY = click.DateTime(formats=["%Y-%m-%d"])


@click.command()
@click.option("--day", type=_DAY, help="Shop day to land; default: the day after the newest landed one.")
@click.option("--first-day", type=_DAY, help="Land all days from this one to --day as one batch per table.")
@click.option("--gate/--no-gate", default=True, help="Judge the landed batches too.")
def ingest(day: datetime | None, first_day: datetime | None, gate: bool) -> None:
    """Land shop days and judge them at the arrival gate.

    The first time, without days given: the whole history up to SHOPWRIGHT_BOOTSTRAP_DAY.
    """
    settings = get_settings()
    first, last = _days_to_land(settings, first_day.date() if first_day else None, day.date() if day else None)
    click.echo(f"landing {first} to {last} from {settings.source}")
    landed = land_days(first, last)
    print_table(
        ["table", "batch", "rows", "unparsed", "same as", "left out"],
        [
            [table, entry["batch_id"], entry["rows"], entry["unparsed"], entry["same_as"], entry["left_out"]]
            for table, entry in landed.items()
        ],
    )
    made_up = [table for table, entry in landed.items() if entry["source"] == SIMULATION]
    if made_up:
        click.echo(f"{', '.join(made_up)}: simulated, made-up data (docs/fraud_simulation.md)")
    for table, entry in landed.items():
        for name, rows in entry["filtered"].items():
            click.echo(f"{table}: {rows:,} rows of the source left out by {name!r}")
    if gate:
        click.echo("\njudging the arrivals")
        _print_gate(gate_arrivals(last)["tables"])


def _days_to_land(settings: Settings, first_day: date | None, last_day: date | None) -> tuple[date, date]:
    landing = Landing(settings.shop_dir / "landing")
    newest = [max((batch.last_day for batch in landing.batches(table)), default=None) for table in REQUIRED_TABLES]
    complete = [day for day in newest if day is not None]
    has_landed = len(complete) == len(newest)
    if last_day is None:
        last_day = min(complete) + timedelta(days=1) if has_landed else settings.bootstrap_day
    if first_day is None:
        first_day = last_day if has_landed else min(settings.first_day, last_day)
    return first_day, last_day


def _print_gate(tables: dict[str, dict[str, Any]]) -> None:
    columns = ["status", "rows_in", "rows_published", "rows_quarantined", "rows_collapsed"]
    header = ["table", "verdict", "rows in", "published", "quarantined", "collapsed"]
    print_table(header, [[table, *(entry[column] for column in columns)] for table, entry in tables.items()])


@click.command()
def scrub() -> None:
    """Hash every stored file against its manifest."""
    found = scrub_stores()
    problems = [problem for entry in found.values() for problem in entry["problems"]]
    print_table(["store", "problems"], [[store, len(entry["problems"])] for store, entry in found.items()])
    for problem in problems:
        click.echo(problem)
    if problems:
        raise DataFailed(
            f"{len(problems)} stored file{'s do' if len(problems) != 1 else ' does'} not match its manifest"
        )
