"""The rows that the arrival gate set aside, and their way back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pyarrow as pa

from ml.cli.person import acting_person
from ml.cli.tables import print_table
from ml.outcomes import DataFailed
from ml.settings import Settings, get_settings
from ml.shop.contract import CONTRACT
from ml.stores.landing import Landing
from ml.stores.operations import Operations
from ml.stores.quarantine import NOTE_COLUMNS, EntryKey, Quarantine
from ml.stores.quarantine_files import ROW_COLUMN, SUFFIXES, read_repaired, write_export
from ml.stores.readmissions import EntryDesk, Signature

_DAY_AND_MINUTE = "%Y-%m-%d %H:%M"


@click.group()
def quarantine() -> None:
    """Rows that the arrival gate set aside, with the rule that each broke, and their way back."""


@quarantine.command("list")
@click.option("--table", help="Only this table.")
@click.option("--batch", help="Only this batch.")
@click.option("--open", "only_open", is_flag=True, help="Only entries about which something is still to be decided.")
def list_entries(table: str | None, batch: str | None, only_open: bool) -> None:
    """What was set aside and what became of it: counts and rules, no rows."""
    settings = get_settings()
    entries = [
        entry for entry in _up_to_date(settings).entries(table, batch) if not only_open or entry["state"] == "open"
    ]
    if not entries:
        chosen = table or batch or only_open
        click.echo("nothing of that is in quarantine" if chosen else "nothing is in quarantine")
        return
    landing = Landing(settings.shop_dir / "landing")
    print_table(
        ["table", "batch", "rule", "rows", "back", "discarded", "state", "owner", "first seen", "share", "reason"],
        [
            [
                *(entry[name] for name in ("table_name", "batch_id", "rule", "rows")),
                *(entry[name] for name in ("rows_readmitted", "rows_discarded", "state", "owner")),
                entry["first_seen_at"].strftime(_DAY_AND_MINUTE),
                _share(settings, landing, entry),
                entry["reason"],
            ]
            for entry in entries
        ],
    )
    click.echo(f"\n{sum(entry['rows'] for entry in entries):,} rows in {len(entries)} entries")


def _share(settings: Settings, landing: Landing, entry: dict[str, Any]) -> str | None:
    """The entry's share of its batch, and the budget above which the batch would have been held whole."""
    table, rule = entry["table_name"], entry["rule"]
    try:
        rows_in = landing.batch(table, entry["batch_id"]).rows
    except DataFailed:
        return None
    budget = settings.quarantine_budgets.get(
        f"{table}.{rule}", settings.quarantine_budgets.get(table, CONTRACT[table].quarantine_budget)
    )
    return f"{entry['rows'] / max(rows_in, 1):.2%} of at most {100 * budget:.4g}%"


@quarantine.command("show")
@click.argument("table")
@click.option("--batch", help="Only this batch; default: all.")
@click.option("--rule", help="Only this rule; default: all.")
@click.option("--limit", default=20, show_default=True, help="Rows of each entry to show.")
@click.option("--reveal", is_flag=True, help="Show personal values too; needs --reason, and is recorded.")
@click.option("--reason", help="Why personal values have to be seen.")
def show_rows(table: str, batch: str | None, rule: str | None, limit: int, reveal: bool, reason: str | None) -> None:
    """Show set-aside rows of TABLE and what became of each. Personal columns are masked."""
    if reveal and not (reason or "").strip():
        raise click.UsageError("--reveal needs --reason TEXT; both are recorded")
    settings = get_settings()
    store = _up_to_date(settings)
    entries = [entry for entry in store.entries(table, batch) if rule is None or entry["rule"] == rule]
    if not entries:
        raise click.UsageError(f"nothing of {table} is in quarantine under that; see `shopwright quarantine list`")
    for entry in entries:
        key = (table, entry["batch_id"], entry["rule"])
        rows = store.reveal(*key, reason=str(reason).strip(), who=acting_person()) if reveal else store.masked(*key)
        states = EntryDesk(settings, EntryKey(*key)).row_states()
        click.echo(f"\n{entry['batch_id']} · {entry['rule']} · {entry['reason']} · {rows.num_rows:,} rows")
        _print_rows(rows.slice(0, limit), states)
        if rows.num_rows > limit:
            click.echo(f"... {rows.num_rows - limit:,} more; --limit shows them")


def _entry_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--by", default=None, help="Who decides; default: the operating system's name of the user."),
        click.option("--reason", required=True, help="Why; it is kept in the audit trail."),
        click.option("--rule", required=True, help="The rule that set the rows aside."),
        click.option("--batch", required=True, help="The batch that they came in."),
        click.argument("table"),
    ):
        command = option(command)
    return command


@quarantine.command("export")
@_entry_options
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def export_rows(table: str, batch: str, rule: str, file: Path, reason: str, by: str | None) -> None:
    """Write the open rows of an entry of TABLE into FILE (.csv or .parquet), to be edited and readmitted.

    All values are in it, so it counts as a reveal and only its owner can read it.
    """
    signature = _sign(reason, by)
    if file.suffix not in SUFFIXES:
        raise click.UsageError(f"FILE has to end in {' or '.join(SUFFIXES)}")
    if file.exists():
        raise click.UsageError(f"{file} exists and is left as it is; name another file")
    _up_to_date(get_settings())
    desk = _desk(table, batch, rule)
    positions = desk.open_positions().tolist()
    if not positions:
        raise DataFailed(f"{desk.key}: no row is open; see `shopwright quarantine history`")
    delivered = list(desk.origin().schema)
    rows = desk.quarantine.reveal(table, batch, rule, signature.reason, signature.decided_by, positions)
    write_export(file, desk.key, rows, positions, delivered)
    click.echo(f"{rows.num_rows:,} rows are in {file}. Edit them, leave {ROW_COLUMN} as it is, then:")
    click.echo(f"shopwright quarantine readmit {table} --batch {batch} --rule {rule} --file {file} --reason TEXT")


@quarantine.command("readmit")
@_entry_options
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The edited export.")
@click.option("--as-is", is_flag=True, help="Vouch for the open rows as they are: their rule is waived.")
@click.option("--rebuild/--no-rebuild", default=True, help="Build, judge and publish marts and features after it.")
def readmit_rows(
    table: str,
    batch: str,
    rule: str,
    file: Path | None,
    as_is: bool,
    reason: str,
    by: str | None,
    rebuild: bool,
) -> None:
    """Judge rows of an entry of TABLE again and publish those that pass; the others stay in quarantine."""
    from expectations.readmission import readmit  # Great Expectations takes seconds to import

    if (file is None) == (not as_is):
        raise click.UsageError("give one of --file FILE and --as-is")
    signature = _sign(reason, by)
    desk = _desk(table, batch, rule)
    offer = desk.as_they_were() if file is None else read_repaired(file, desk.key, desk.rows(), desk.origin().format)
    outcome = readmit(get_settings(), desk.key, offer, as_is=as_is, signature=signature)
    if not outcome.changed:
        click.echo(f"nothing to readmit: {outcome.skipped:,} of the offered rows had come back before")
    else:
        click.echo(f"{outcome.passed:,} of {outcome.offered:,} rows are back in raw, as batch {outcome.batch_id}")
        _print_counts(
            (outcome.skipped, "had come back before and are as they were"),
            (outcome.collapsed, "collapsed into another of the rows, by their key"),
            (outcome.known_keys, "have a key that raw had already; the newest of a key counts"),
            *((count, f"are still refused by {name}") for name, count in outcome.refused.items()),
        )
    click.echo(f"{outcome.still_open:,} rows of the entry are open")
    if rebuild:
        _rebuild()


@quarantine.command("discard")
@_entry_options
@click.option("--rebuild/--no-rebuild", default=True, help="Publish what changes by it, if anything does.")
def discard_rows(table: str, batch: str, rule: str, reason: str, by: str | None, rebuild: bool) -> None:
    """Give up the open rows of an entry of TABLE. They stay in quarantine, marked so."""
    from expectations.settlement import discard

    outcome = discard(get_settings(), _desk(table, batch, rule).key, signature=_sign(reason, by))
    click.echo(f"{outcome.offered:,} rows are discarded" if outcome.changed else "no row was open; nothing is changed")
    if outcome.batch_id is not None:
        click.echo("their days were delivered again, so their orders miss them no longer")
        if rebuild:
            _rebuild()


@quarantine.command("history")
@click.option("--table", help="Only this table.")
@click.option("--batch", help="Only this batch.")
def show_history(table: str | None, batch: str | None) -> None:
    """Who decided what about which rows, or looked at them; when and why."""
    store = _up_to_date(get_settings())
    lines = [
        [
            *(row["decided_at"], row["decided_by"], row["action"], row["table_name"], row["batch_id"], row["rule"]),
            *(row["rows_offered"], row["rows_passed"], row["readmission_batch_id"], row["reason"]),
        ]
        for row in store.decisions(table, batch)
    ]
    lines += [
        [
            *(row["revealed_at"], row["revealed_by"], "reveal", row["table_name"], row["batch_id"], row["rule"]),
            *(row["rows"], None, None, row["reason"]),
        ]
        for row in store.reveals(table, batch)
    ]
    if not lines:
        click.echo("nothing was decided and nobody looked")
        return
    lines.sort(key=lambda line: line[0])
    header = ["when", "who", "what", "table", "batch", "rule", "rows", "passed", "came back as", "why"]
    print_table(header, [[line[0].strftime(_DAY_AND_MINUTE), *map(_cell, line[1:])] for line in lines])


def _rebuild() -> None:
    from ml.cli.readmitted import rebuild_readmitted

    done = rebuild_readmitted()
    if done.get("skipped"):
        click.echo(str(done["skipped"]))
        return
    click.echo(f"marts {done['version']} are published up to {done['target_day']}; features: {done['features']}")


def _up_to_date(settings: Settings) -> Quarantine:
    """The quarantine, after what a killed process left unrecorded was recorded."""
    from expectations.settlement import finish_interrupted

    finish_interrupted(settings)
    return Quarantine(settings, Operations.from_settings(settings))


def _desk(table: str, batch: str, rule: str) -> EntryDesk:
    return EntryDesk(get_settings(), EntryKey(table, batch, rule))


def _sign(reason: str, by: str | None) -> Signature:
    if not reason.strip():
        raise click.UsageError("--reason must say why; it is kept in the audit trail")
    return Signature(reason.strip(), acting_person(by))


def _print_counts(*counts: tuple[int, str]) -> None:
    for count, sentence in counts:
        if count:
            click.echo(f"  {count:,} {sentence}")


def _print_rows(rows: pa.Table, states: list[str]) -> None:
    shown = [name for name in rows.column_names if name not in NOTE_COLUMNS]
    print_table(
        [ROW_COLUMN, "state", *shown],
        [
            [position, states[position], *(_cell(row[name]) for name in shown)]
            for position, row in enumerate(rows.to_pylist())
        ],
    )


def _cell(value: object) -> str | None:
    # What a terminal takes for a command must not come out of a shop's data.
    return None if value is None else "".join(sign if sign.isprintable() else "?" for sign in str(value))
