"""What the gates said."""

from dataclasses import astuple
from datetime import date
from typing import Any

import click
from sqlalchemy import select

from ml.cli.gate_history import gate_history
from ml.cli.gate_page import write_gate_page
from ml.cli.tables import print_table
from ml.settings import Settings, get_settings
from ml.stores.operations import Operations, gate_verdicts

_NOTABLE = ("failed", "unknown", "set_aside", "warned")


def check_gate_proofs(partition: date) -> dict[str, Any]:
    """Look at how old the proofs of the gates are, so that a self-test that no longer runs is noticed.

    A replayed shop's self-test is started by hand only, so nobody misses a proof there.
    """
    if get_settings().last_day is not None:
        return {"partition": partition.isoformat(), "watched": False}
    from ml.cli.selftest import steps

    return {"partition": partition.isoformat(), "watched": True, **steps.check_ages()}


@click.group(invoke_without_command=True)
@click.option("--gate", help="Only this gate: arrivals, dbt_tests, marts, model_inputs or feature_parity.")
@click.option("--object", "object_", help="Only this table, mart or data set.")
@click.option("--partition", help="Only this shop day, YYYY-MM-DD.")
@click.option("--status", type=click.Choice(["passed", "failed", "unknown"]), help="Only verdicts of this status.")
@click.option("--rules", "all_rules", is_flag=True, help="Every rule, not only those that something is to be said of.")
@click.option("--limit", default=40, show_default=True, help="Newest verdicts to show.")
@click.option("--html", is_flag=True, help="Write the verdicts as a page instead, and print where it is.")
@click.pass_context
def gates(
    context: click.Context,
    gate: str | None,
    object_: str | None,
    partition: str | None,
    status: str | None,
    all_rules: bool,
    limit: int,
    html: bool,
) -> None:
    """List verdicts: what was judged, how it ended, what became of the rows."""
    if context.invoked_subcommand is not None:
        return
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


@gates.command()
@click.option("--days", default=14, show_default=True, type=click.IntRange(min=1), help="Newest shop days to show.")
@click.option("--gate", help="Only this gate.")
def history(days: int, gate: str | None) -> None:
    """How often each gate let through, blocked or could not tell, by shop day."""
    found = gate_history(Operations.from_settings(get_settings()), days, gate)
    if not found:
        click.echo("nothing was judged yet" if gate is None else f"gate {gate} judged nothing yet")
        return
    print_table(["shop day", "gate", "passed", "blocked", "unknown"], [list(astuple(row)) for row in found])


@gates.command()
@click.option("--gate", "names", multiple=True, help="Only this gate; can be given again.")
@click.option("--show", is_flag=True, help="Only tell when each was last proven; run nothing.")
def selftest(names: tuple[str, ...], show: bool) -> None:
    """Prove that every gate blocks: feed it bad input in an isolated shop, and see that nothing after it runs.

    Takes some minutes. The real shop's data, settings and alerts are not touched.
    """
    from ml.cli.selftest import steps
    from ml.cli.selftest.page import moment
    from ml.cli.selftest.registry import GATES

    unknown = sorted(set(names) - set(GATES))
    if unknown:
        raise click.BadParameter(f"no gate {', '.join(unknown)}; there are {', '.join(GATES)}", param_hint="--gate")
    operations = Operations.from_settings(get_settings())
    try:
        if not show:
            steps.prove(names, click.echo)
    finally:
        found = [each for each in steps.current_standings(operations) if not names or each.gate in names]
        print_table(
            ["state", "gate", "bad input", "last proven"],
            [[each.state, each.gate, each.bad_input, moment(each.proven_at)] for each in found],
        )
        for each in found:
            if each.state != "proven":
                click.echo(f"{each.gate}, {each.bad_input}: {each.detail}")


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
