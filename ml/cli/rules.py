"""Rules and lists of fraud decisions: what they are, what they matched, and who is on a list."""

from datetime import date, datetime, timedelta
from typing import Any

import click

from ml.cli.person import acting_person
from ml.cli.tables import print_table
from ml.fraud.fields import known_fields
from ml.fraud.lists import ListName, listable_entities, mask
from ml.outcomes import DataFailed
from ml.serving.fraud_parts import active_policy
from ml.settings import Settings, get_settings
from ml.stores import policies
from ml.stores.operations import Operations
from ml.stores.warehouse import open_marts

_MINUTE = "%Y-%m-%d %H:%M"


@click.group()
def rules() -> None:
    """Rules beside the model, and lists: block declines, watch reviews, allow approves."""


@rules.command("list")
def list_rules() -> None:
    """Rules of the active policy, and the entries of the lists. Values on lists are masked."""
    operations = Operations.from_settings(get_settings())
    policy = active_policy(operations)
    click.echo(f"Rules of {policy.version}")
    print_table(
        ["rule", "action", "declines at most", "when", "why"],
        [
            [
                rule.name,
                rule.action,
                f"{rule.breaker.declines} or {rule.breaker.share:.2%} in {rule.breaker.window_hours:g} h"
                if rule.action == "decline"
                else None,
                rule.when.text,
                rule.why,
            ]
            for rule in policy.rules
        ],
    )
    entries = policies.stored_list_entries(operations)
    click.echo(f"\n{len(entries)} entr{'y' if len(entries) == 1 else 'ies'} on lists")
    if entries:
        print_table(
            ["number", "list", "entity", "value", "until (UTC)", "added by", "added (UTC)", "reason"],
            [
                [
                    entry["id"],
                    entry["list_name"],
                    entry["entity"],
                    mask(entry["value"]),
                    _minute(entry["expires_at"]) or "removed",
                    entry["added_by"],
                    _minute(entry["added_at"]),
                    entry["reason"],
                ]
                for entry in entries
            ],
        )


@rules.command()
@click.option("--like", default="", help="Only names that hold this text.")
def fields(like: str) -> None:
    """Fields that rules and segments may ask for, with their kinds."""
    found = {name: kind for name, kind in known_fields().items() if like in name}
    if not found:
        click.echo("no field has a name like that")
        return
    print_table(["field", "kind"], [[name, kind] for name, kind in found.items()])


@rules.command()
@click.option("--days", default=90, show_default=True, help="Newest shop days to look at.")
def stats(days: int) -> None:
    """What each rule matched, how much of it was fraud, and the money on either side."""
    from ml.cli.rule_statistics import rule_statistics  # pandas and the model take seconds to import

    settings = get_settings()
    operations = Operations.from_settings(settings)
    found = rule_statistics(settings, operations, days)
    if settings.simulates_payments:
        click.echo("Payments and frauds are simulated.")
    print_table(
        [
            "rule",
            "action",
            "orders",
            "capped",
            "known by now",
            "frauds",
            "precision",
            "value of frauds",
            "honest value",
        ],
        [
            [
                one.rule,
                one.action,
                one.hits,
                one.capped,
                one.known,
                f"{one.frauds:.4g}",
                "unknown" if one.precision is None else f"{one.precision:.1%} ({one.low:.1%} to {one.high:.1%})",
                f"{one.fraud_cents / 100:,.2f}",
                f"{one.honest_cents / 100:,.2f}",
            ]
            for one in found
        ],
    )
    click.echo(
        f"\nOrders of the newest {days} shop days; money is {settings.currency}. Of an order that was declined nobody "
        "learns what it was; those let through by chance stand for them."
    )


def _listing(name: ListName) -> click.Command:
    @click.option("--entity", type=click.Choice(list(listable_entities())), required=True)
    @click.option("--value", help="The entity itself; or name an order by --order.")
    @click.option("--order", "order_id", help="Take the entity of this order.")
    @click.option(
        "--days", type=click.IntRange(1, 36_500), help="It expires so many shop days from now; default: never."
    )
    @click.option("--reason", required=True, help="Why; it is kept.")
    @click.option("--by", help="Who decides; default: the operating system's name of the user.")
    def put(
        entity: str, value: str | None, order_id: str | None, days: int | None, reason: str, by: str | None
    ) -> None:
        if (value is None) == (order_id is None):
            raise click.UsageError("give --value or --order, one of them")
        if not reason.strip():
            raise click.UsageError("--reason needs a text; it is kept")
        settings = get_settings()
        chosen = value.strip() if value is not None else _value_of(settings, str(order_id), entity)
        if not 0 < len(chosen) <= 200:
            raise click.UsageError("--value: expected 1 to 200 characters")
        until = _shop_now(settings) + timedelta(days=days) if days else None
        number = policies.add_list_entry(
            Operations.from_settings(settings),
            list_name=name,
            entity=entity,
            value=chosen,
            reason=reason.strip(),
            by=acting_person(by),
            expires_at=until,
        )
        click.echo(f"{number}: {name} {entity} {mask(chosen)} {_until(until)}")

    put.__doc__ = f"{_DONE[name]} orders of an entity, given by --value or as that of an --order."
    return click.command(name)(put)


_DONE = {
    "block": "Decline",
    "watch": "Review",
    "allow": "Approve, whatever rules and model say,",
}
for _name in ("block", "allow", "watch"):
    rules.add_command(_listing(_name))


@rules.command()
@click.argument("number", type=int)
@click.option("--by", help="Who decides; default: the operating system's name of the user.")
def remove(number: int, by: str | None) -> None:
    """Take the entry of this NUMBER off its list. It stays on record."""
    if not policies.remove_list_entry(Operations.from_settings(get_settings()), number=number, by=acting_person(by)):
        raise DataFailed(f"no entry {number} is in force; `shopwright rules list` shows those that are")
    click.echo(f"{number}: removed")


def _value_of(settings: Settings, order_id: str, entity: str) -> str:
    column = listable_entities()[entity]
    connection = open_marts(settings).connect()
    query = f'select "{column}" from fct_order_payments where order_id = $order_id'  # noqa: S608 - our own names
    found = connection.execute(query, {"order_id": order_id}).fetchall()
    if not found:
        raise DataFailed("fct_order_payments: no such order was paid for")
    if found[0][0] is None:
        raise DataFailed(f"fct_order_payments: the order has no {entity}")
    return str(found[0][0])


def _shop_now(settings: Settings) -> datetime:
    """An entry expires by the shop's clock, as orders are placed by it."""
    target: date = open_marts(settings).target_day
    return settings.shop_clock(target)


def _until(until: datetime | None) -> str:
    return f"until {_minute(until)} UTC" if until else "until it is removed"


def _minute(moment: Any) -> str | None:
    return moment.strftime(_MINUTE) if moment else None
