"""What the gates said, and the rows that they set aside."""

import os
import pwd
from typing import Any

import click
import pyarrow as pa
from sqlalchemy import select

from ml.cli.gate_page import write_gate_page
from ml.cli.tables import print_table
from ml.settings import Settings, get_settings
from ml.stores.operations import Operations, gate_verdicts
from ml.stores.quarantine import NOTE_COLUMNS, Quarantine

_NOTABLE = ("failed", "unknown", "set_aside", "warned")


@click.command()
@click.option("--gate", help="Only this gate: arrivals, marts or model_inputs.")
@click.option("--object", "object_", help="Only this table, mart or data set.")
@click.option("--partition", help="Only this shop day, YYYY-MM-DD.")
@click.option("--status", type=click.Choice(["passed", "failed", "unknown"]), help="Only verdicts of this status.")
@click.option("--rules", "all_rules", is_flag=True, help="Every rule, not only those that something is to be said of.")
@click.option("--limit", default=40, show_default=True, help="Newest verdicts to show.")
@click.option("--html", is_flag=True, help="Write the verdicts as a page instead, and print where it is.")
def gates(
    gate: str | None,
    object_: str | None,
    partition: str | None,
    status: str | None,
    all_rules: bool,
    limit: int,
    html: bool,
) -> None:
    """List verdicts: what was judged, how it ended, what became of the rows."""
    settings = get_settings()
    chosen = {"gate": gate, "object": object_, "partition": partition, "status": status}
    equal = {name: value for name, value in chosen.items() if value is not None}
    if html:
        click.echo(write_gates_page(settings, limit=None, **equal))
        return
    verdicts = stored_verdicts(settings, limit, **equal)
    if not verdicts:
        click.echo("no verdicts yet" if not equal else "no such verdict")
        return
    print_table(
        ["gate", "object", "batch", "status", "rows in", "published", "quarantined", "collapsed"],
        [[verdict[name] for name in _COLUMNS] for verdict in verdicts],
    )
    for verdict in verdicts:
        _print_rules(verdict, all_rules)


_COLUMNS = (
    "gate",
    "object",
    "batch_id",
    "status",
    "rows_in",
    "rows_published",
    "rows_quarantined",
    "rows_collapsed",
)


def stored_verdicts(settings: Settings, limit: int | None, **equal: Any) -> list[dict[str, Any]]:
    """Verdicts, those judged last at the end."""
    table = gate_verdicts
    statement = select(table).order_by(table.c.judged_at.desc(), table.c.id.desc())
    for name, value in equal.items():
        statement = statement.where(table.c[name] == value)
    with Operations.from_settings(settings).transaction() as connection:
        return [dict(row._mapping) for row in connection.execute(statement.limit(limit))][::-1]


def write_gates_page(settings: Settings, limit: int | None = None, **equal: Any) -> str:
    """Write the verdicts as an HTML page under the shop's `reports` folder; returns its path."""
    return str(write_gate_page(settings, stored_verdicts(settings, limit, **equal)))


def _print_rules(verdict: dict[str, Any], all_rules: bool) -> None:
    rules = [rule for rule in verdict["rules"] if all_rules or rule["status"] in _NOTABLE]
    if not rules:
        return
    click.echo(f"\n{verdict['object']} {verdict['batch_id']}")
    for rule in rules:
        click.echo(f"  {rule['status']:<9}  {rule['rule']}: expected {rule['expected']}; found {rule['observed']}")


@click.group()
def quarantine() -> None:
    """Rows that the arrival gate set aside, with the rule that each broke."""


@quarantine.command("list")
@click.option("--table", help="Only this table.")
@click.option("--batch", help="Only this batch.")
def list_entries(table: str | None, batch: str | None) -> None:
    """What was set aside: counts and rules, no rows."""
    entries = _open().entries(table, batch)
    if not entries:
        click.echo("nothing is in quarantine" if not (table or batch) else "nothing of that is in quarantine")
        return
    print_table(
        ["table", "batch", "rule", "rows", "state", "reason"],
        [[entry[name] for name in ("table_name", "batch_id", "rule", "rows", "state", "reason")] for entry in entries],
    )
    click.echo(f"\n{sum(entry['rows'] for entry in entries):,} rows in {len(entries)} entries")


@quarantine.command("show")
@click.argument("table")
@click.option("--batch", help="Only this batch; default: all.")
@click.option("--rule", help="Only this rule; default: all.")
@click.option("--limit", default=20, show_default=True, help="Rows of each entry to show.")
@click.option("--reveal", is_flag=True, help="Show personal values too; needs --reason, and is recorded.")
@click.option("--reason", help="Why personal values have to be seen.")
def show_rows(table: str, batch: str | None, rule: str | None, limit: int, reveal: bool, reason: str | None) -> None:
    """Show set-aside rows of TABLE. Personal columns are masked."""
    if reveal and not (reason or "").strip():
        raise click.UsageError("--reveal needs --reason TEXT; both are recorded")
    store = _open()
    entries = [entry for entry in store.entries(table, batch) if rule is None or entry["rule"] == rule]
    if not entries:
        raise click.UsageError(f"nothing of {table} is in quarantine under that; see `shopwright quarantine list`")
    for entry in entries:
        key = (table, entry["batch_id"], entry["rule"])
        rows = store.reveal(*key, reason=str(reason).strip(), who=_who()) if reveal else store.masked(*key)
        click.echo(f"\n{entry['batch_id']} · {entry['rule']} · {entry['reason']} · {rows.num_rows:,} rows")
        _print_rows(rows.slice(0, limit))
        if rows.num_rows > limit:
            click.echo(f"... {rows.num_rows - limit:,} more; --limit shows them")


def _open() -> Quarantine:
    settings = get_settings()
    return Quarantine(settings, Operations.from_settings(settings))


def _who() -> str:
    """The operating system's name of who runs the command."""
    return pwd.getpwuid(os.getuid()).pw_name


def _print_rows(rows: pa.Table) -> None:
    shown = [name for name in rows.column_names if name not in NOTE_COLUMNS]
    print_table(shown, [[_cell(row[name]) for name in shown] for row in rows.to_pylist()])


def _cell(value: object) -> str | None:
    # What a terminal takes for a command must not come out of a shop's data.
    return None if value is None else "".join(sign if sign.isprintable() else "?" for sign in str(value))
