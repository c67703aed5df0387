"""Model versions: what was promoted and why, and going back."""

from datetime import date
from typing import Any

import click

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.tables import print_table
from ml.outcomes import DataFailed
from ml.settings import Settings, get_settings
from ml.stores import registry
from ml.stores.mlflow_tracking import NOT_CONFIGURED
from ml.stores.operations import Operations
from ml.stores.operations import promotions as promotions_table
from ml.stores.warehouse import open_marts


def reconcile_registry(partition: date) -> dict[str, Any]:
    """Make MLflow's alias say what each champion pointer says, and tell operators where it did not.

    Raises:
        ToolFailed: MLflow cannot be reached, so whether they differ is unknown.
    """
    settings = get_settings()
    operations = Operations.from_settings(settings)
    found = {}
    for product in registry.products(settings):
        incident = {"object": product, "rule": "alias_follows_pointer"}
        differences = registry.reconcile(settings, product)
        found[product] = differences
        if differences:
            open_incident(
                operations,
                kind="registry_mismatch",
                **incident,
                partition=partition,
                severity="warn",
                title=f"{product}: MLflow's alias differed from the champion pointer",
                body="\n".join(differences),
            )
        else:
            close_incident(operations, kind="registry_mismatch", **incident, partition=partition)
    return {"partition": partition.isoformat(), "differences": found}


@click.command()
def reconcile() -> None:
    """Make MLflow's champion alias follow the champion pointers."""
    settings = get_settings()
    found = reconcile_registry(open_marts(settings).target_day)["differences"]
    if not found:
        click.echo("no model has been promoted yet")
    for product, differences in found.items():
        for difference in differences or ["MLflow agrees" if settings.mlflow_tracking_uri else NOT_CONFIGURED]:
            click.echo(f"{product}: {difference}")


@click.command()
@click.option("--product", help="Only this product.")
@click.option("--limit", default=10, show_default=True, help="Newest verdicts to show.")
def promotions(product: str | None, limit: int) -> None:
    """Promotion verdicts with every rule, value and threshold, oldest first."""
    operations = Operations.from_settings(get_settings())
    chosen = {"product": product} if product else {}
    verdicts = operations.rows(promotions_table, limit=limit, **chosen)
    if not verdicts:
        click.echo("no promotion was decided yet")
    for verdict in verdicts:
        against = verdict["champion"] or "no champion"
        click.echo(f"{verdict['partition']}  {verdict['challenger']} against {against}: {verdict['verdict']}")
        if verdict["rules"]:
            print_table(
                ["  rule", "status", "observed", "threshold"],
                [
                    [f"  {rule['rule']}", rule["status"], _number(rule.get("observed")), _number(rule.get("threshold"))]
                    for rule in verdict["rules"]
                ],
            )
        click.echo()


@click.command()
@click.argument("product")
def rollback(product: str) -> None:
    """Make the champion before this one champion again, with MLflow up or down."""
    settings = get_settings()
    change = registry.rollback(settings, product)
    Operations.from_settings(settings).record_promotion(
        product=product,
        challenger=change.champion.version,
        champion=change.before,
        partition=_shop_day(settings, change.champion),
        verdict="rolled_back",
        rules=[],
        metrics={},
    )
    click.echo(f"{product}: champion was {change.before}, is {change.champion.version}")
    if change.alias_problem:
        click.echo(f"MLflow's alias did not follow: {change.alias_problem}")


def _shop_day(settings: Settings, champion: registry.Champion) -> str:
    """The newest day of the marts; with no marts, the day of the champion's promotion."""
    try:
        return open_marts(settings).target_day.isoformat()
    except DataFailed:
        return champion.since_partition


def _number(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value
