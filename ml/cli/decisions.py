"""Decisions on orders: what was decided and why."""

import click

from ml.cli import case_pages
from ml.serving.case_file import decision_file
from ml.settings import get_settings
from ml.stores.operations import Operations


@click.group()
def decisions() -> None:
    """What was decided about orders, and why."""


@decisions.command("show")
@click.argument("order_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON, as the API tells it.")
def show_decision(order_id: str, as_json: bool) -> None:
    """Show the decision on ORDER_ID: reasons, rule trace, what is usual, versions, and what would have changed it."""
    settings = get_settings()
    shown = decision_file(settings, Operations.from_settings(settings), order_id)
    if as_json:
        click.echo(case_pages.as_json(shown))
        return
    case_pages.print_decision(shown)
