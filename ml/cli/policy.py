"""The policy of fraud decisions: look at it, try it on past orders, put it in shadow, make it decide."""

from pathlib import Path

import click

from ml.cli.person import acting_person
from ml.cli.tables import print_table
from ml.fraud.policy import ACTIONS, Policy
from ml.fraud.policy_file import DEFAULT_POLICY, read_policy
from ml.outcomes import DataFailed
from ml.serving.fraud_parts import active_policy
from ml.settings import get_settings
from ml.stores import policies
from ml.stores.operations import Operations

_MINUTE = "%Y-%m-%d %H:%M"


@click.group()
def policy() -> None:
    """What fraud decisions cost and where they end: a versioned YAML file, draft -> shadow -> active."""


@policy.command()
@click.argument("version", required=False)
def show(version: str | None) -> None:
    """Print the active policy, or the one of VERSION, as it was submitted."""
    operations = Operations.from_settings(get_settings())
    chosen = find_policy(operations, version) if version else active_policy(operations)
    states = {row["version"]: row["state"] for row in policies.stored_policies(operations)}
    state = states.get(chosen.version, "the project's default; decides until a policy is made active")
    click.echo(f"# {chosen.version}: {state}")
    click.echo(chosen.body.rstrip())


@policy.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--by", help="Who submits it; default: the operating system's name of the user.")
def submit(file: Path, by: str | None) -> None:
    """Keep FILE as a draft. It is refused, with file, line and key, unless all of it is right."""
    found = read_policy(_text(file), file.name)
    operations = Operations.from_settings(get_settings())
    is_new = policies.submit_policy(operations, version=found.version, body=found.body, by=acting_person(by))
    click.echo(f"{found.version}: {'a draft' if is_new else 'was submitted before; nothing changed'}")
    if is_new:
        click.echo(f"Try it: shopwright policy backtest {found.version}")


@policy.command()
@click.argument("version")
@click.option("--to", type=click.Choice(["shadow", "active", "retired"]), required=True)
@click.option("--reason", required=True, help="Why; it is kept in the audit trail.")
@click.option("--by", help="Who decides; default: the operating system's name of the user.")
def promote(version: str, to: policies.State, reason: str, by: str | None) -> None:
    """Put a policy in shadow, where it decides and nothing happens, then make it active; or retire it.

    A policy becomes active from shadow, or again after it was retired: that is the way back.
    """
    if not reason.strip():
        raise click.UsageError("--reason needs a text; it is kept in the audit trail")
    operations = Operations.from_settings(get_settings())
    chosen = find_policy(operations, version)  # it is read before it may decide
    before = policies.change_state(
        operations, version=chosen.version, to=to, reason=reason.strip(), by=acting_person(by)
    )
    click.echo(f"{chosen.version}: was {before}, is {to}")


@policy.command()
def history() -> None:
    """All policies and every change of their states: who, when and why."""
    operations = Operations.from_settings(get_settings())
    stored = policies.stored_policies(operations)
    if not stored:
        click.echo("no policy was submitted yet; the project's default decides")
        return
    print_table(
        ["version", "state", "submitted by", "submitted (UTC)"],
        [[row["version"], row["state"], row["submitted_by"], row["submitted_at"].strftime(_MINUTE)] for row in stored],
    )
    click.echo()
    names = ("version", "from_state", "to_state", "changed_by", "reason")
    print_table(
        ["when (UTC)", "version", "from", "to", "by", "reason"],
        [
            [row["changed_at"].strftime(_MINUTE), *(row[name] for name in names)]
            for row in policies.policy_history(operations)
        ],
    )


_days = click.option("--days", default=180, show_default=True, help="Newest shop days of mature orders to look at.")


@policy.command()
@click.argument("version", required=False)
@_days
def curve(version: str | None, days: int) -> None:
    """Draw cost against threshold over past mature orders, at the costs of a policy (VERSION, a file, the active)."""
    from ml.cli.policy_trials import show_curve  # pandas and the model take seconds to import

    settings = get_settings()
    show_curve(settings, _chosen(Operations.from_settings(settings), version), days)


@policy.command()
@click.argument("version", required=False)
@_days
@click.option("--rule", "condition", help="Try this condition as one more rule.")
@click.option("--action", type=click.Choice(ACTIONS[1:]), default="decline", show_default=True, help="Of --rule.")
@click.option("--draws", default=500, show_default=True, help="Of the bootstrap that gives the intervals.")
def backtest(version: str | None, days: int, condition: str | None, action: str, draws: int) -> None:
    """Replay a policy (VERSION, a file, or the active one) or a rule over past mature orders.

    Prints what it would have caught, declined wrongly and cost, each with its 95% interval, beside the active policy.
    """
    from ml.cli.policy_trials import show_backtest  # pandas and the model take seconds to import

    settings = get_settings()
    operations = Operations.from_settings(settings)
    show_backtest(
        settings, _chosen(operations, version), active_policy(operations), days, condition, str(action), draws
    )


def find_policy(operations: Operations, version: str) -> Policy:
    """A stored policy by its version, the beginning of it when that is enough, or the project's default.

    Raises:
        DataFailed: None or several have this version.
    """
    bodies = {row["version"]: row["body"] for row in policies.stored_policies(operations)}
    default = read_policy(DEFAULT_POLICY.read_text(), DEFAULT_POLICY.name)
    found = [name for name in {**bodies, default.version: ""} if name == version or name.startswith(version)]
    if version in found:
        found = [version]
    if len(found) != 1:
        problem = "no policy has" if not found else f"{len(found)} policies begin with"
        raise DataFailed(f"{problem} that version; `shopwright policy history` lists them")
    return read_policy(bodies[found[0]], f"policy {found[0]}") if found[0] in bodies else default


def _chosen(operations: Operations, version: str | None) -> Policy:
    if version is None:
        return active_policy(operations)
    path = Path(version)
    if path.suffix in (".yml", ".yaml") or path.is_file():
        if not path.is_file():
            raise click.UsageError(f"{path} is no file")
        return read_policy(_text(path), path.name)
    return find_policy(operations, version)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError:
        raise DataFailed(f"{file.name}: expected UTF-8 text") from None
