"""The review queue by hand; `shopwright serve` offers the same over HTTP."""

from datetime import timedelta

import click

from ml.cli import case_pages
from ml.cli.person import acting_person
from ml.cli.tables import print_table
from ml.serving.case_file import SIMULATED, case_file, verdict_moment
from ml.settings import get_settings
from ml.stores import reviews as queue
from ml.stores.operations import Operations

_BY = click.option("--by", help="Who does it; default: the user of this process.")


@click.group()
def reviews() -> None:
    """Orders that wait for a person: take a case, look at it, give a verdict. A verdict becomes a label."""


@reviews.command("list")
@click.option("--mine", is_flag=True, help="Those that I have taken.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Cases to show.")
@_BY
def list_cases(mine: bool, limit: int, by: str | None) -> None:
    """Cases that can be taken, the largest expected saving first."""
    settings = get_settings()
    operations = Operations.from_settings(settings)
    if settings.simulates_payments:
        click.echo(f"[{SIMULATED}]")
    counts = queue.counts(operations)
    click.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    found = queue.queue(operations, limit=limit, claimed_by=acting_person(by) if mine else None)
    if found:
        print_table(
            ["order", "shop day", "expected saving", "state", "taken by"],
            [
                [
                    *(case["order_id"], case["partition"], f"{case['expected_saving_cents'] / 100:,.2f}"),
                    *(case["state"], case["claimed_by"]),
                ]
                for case in found
            ],
        )


@reviews.command("take")
@click.argument("order_id", required=False)
@click.option("--minutes", default=30, show_default=True, type=click.IntRange(1, 240), help="For how long.")
@_BY
def take_case(order_id: str | None, minutes: int, by: str | None) -> None:
    """Take the case of ORDER_ID, or the one that saves most, so that nobody else works on it."""
    settings = get_settings()
    operations, who, lease = Operations.from_settings(settings), acting_person(by), timedelta(minutes=minutes)
    try:
        case = queue.claim(operations, order_id, who, lease) if order_id else queue.claim_next(operations, who, lease)
    except queue.CaseTaken as error:
        raise click.ClickException(str(error)) from None
    if case is None:
        click.echo("nothing waits")
        return
    case_pages.print_case(case_file(settings, operations, str(case["order_id"])))


@reviews.command("show")
@click.argument("order_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON, as the API tells it.")
def show_case(order_id: str, as_json: bool) -> None:
    """Show the case of ORDER_ID: reasons, linked orders, similar cases, what was done so far."""
    settings = get_settings()
    shown = case_file(settings, Operations.from_settings(settings), order_id)
    if as_json:
        click.echo(case_pages.as_json(shown))
        return
    case_pages.print_case(shown)


@reviews.command("decide")
@click.argument("order_id")
@click.argument("verdict", type=click.Choice(queue.VERDICTS))
@click.option("--note", default="", help="What led to it.")
@_BY
def decide_case(order_id: str, verdict: str, note: str, by: str | None) -> None:
    """Give the VERDICT on the case of ORDER_ID. It becomes a label and cannot be taken back."""
    settings = get_settings()
    who, moment = acting_person(by), verdict_moment(settings)
    try:
        case = queue.decide(
            Operations.from_settings(settings), order_id, by=who, verdict=verdict, decided_at=moment, note=note
        )
    except queue.CaseTaken as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"{order_id}: {case['verdict']}, by {case['decided_by']}, known from {case['decided_at']:%Y-%m-%d %H:%M} UTC"
    )


@reviews.command("release")
@click.argument("order_id")
@_BY
def release_case(order_id: str, by: str | None) -> None:
    """Give the case of ORDER_ID back to the queue."""
    try:
        queue.release(Operations.from_settings(get_settings()), order_id, acting_person(by))
    except queue.CaseTaken as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{order_id}: back in the queue")
