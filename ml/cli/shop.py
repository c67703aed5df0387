"""A shop's folder of files: checked before anything runs, generated for a try-out, or spoilt on purpose."""

from datetime import datetime
from pathlib import Path

import click

from ml.cli.shop_check import check_command
from ml.shop.breakages import BREAKAGES, break_shop
from ml.shop.generated import CURRENCY, small_shop
from ml.shop.second_shop import second_shop

_DAY = click.DateTime(formats=["%Y-%m-%d"])
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def shop() -> None:
    """A folder of shop files: check it, generate one for a try-out, spoil it on purpose."""


shop.add_command(check_command)


@shop.command()
@click.argument("folder", type=_FOLDER)
@click.option("--first-day", type=_DAY, required=True, help="First day with orders.")
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="Days with orders.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--second", is_flag=True, help="A shop of another shape: one flat file, guests, returns, pounds.")
@click.option("--payments", is_flag=True, help="Lay simulated payments, chargebacks and refunds over its orders.")
@click.option(
    "--fraud-rate",
    type=click.FloatRange(0, 0.2, min_open=True, max_open=True),
    default=0.007,
    show_default=True,
    help="Share of the orders that are fraud, with --payments.",
)
def generate(
    folder: Path, first_day: datetime, days: int, seed: int, second: bool, payments: bool, fraud_rate: float
) -> None:
    """Write a small generated shop into FOLDER. Its data is made up."""
    if second and payments:
        raise click.UsageError("--payments lays payments over the first shape only; leave --second out")
    make = second_shop if second else small_shop
    make(folder, first_day.date(), days, seed=seed)
    click.echo(f"wrote a generated shop of {days} days to {folder}")
    if payments:
        from ml.shop.fraud_simulation.config import SimulationConfig
        from ml.shop.fraud_simulation.files import lay_payments

        count = lay_payments(folder, CURRENCY, SimulationConfig(seed=seed, fraud_rate=fraud_rate))
        click.echo(f"wrote {count} simulated payments")


@shop.command("break")
@click.argument("folder", type=_FOLDER)
@click.argument("breakage", type=click.Choice(sorted(BREAKAGES)))
@click.option("--day", type=_DAY, required=True, help="The day whose files are spoilt.")
def break_(folder: Path, breakage: str, day: datetime) -> None:
    """Spoil a day's files of a generated shop in the way that BREAKAGE names."""
    planted = break_shop(folder, breakage, day.date())
    click.echo(f"{breakage}: planted in the files of {day.date()} ({planted} rows)")
