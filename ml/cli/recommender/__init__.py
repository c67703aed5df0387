"""The recommender's steps, and recommendations for people to look at."""

from datetime import date, datetime
from typing import Any

import click

from ml.cli.tables import print_table
from ml.outcomes import DataFailed
from ml.settings import get_settings

_DAY = click.DateTime(formats=["%Y-%m-%d"])


def build_training_set(partition: date) -> dict[str, Any]:
    """Join features and labels of the label weeks up to a shop day, and publish them as a version."""
    from ml.cli.recommender import training

    return training.build_training_set(partition)


def gate_training_set(partition: date) -> dict[str, Any]:
    """Judge the training set; only what passes is trained on."""
    from ml.cli.recommender import training

    return training.gate_training_set(partition)


def train_challenger(partition: date) -> dict[str, Any]:
    """Train a ranker and judge it with the champion and all baselines on the newest label weeks."""
    from ml.cli.recommender import challenge

    return challenge.train_challenger(partition)


def decide_promotion(partition: date) -> dict[str, Any]:
    """Apply the promotion rules; the champion moves, or does not, with every rule kept."""
    from ml.cli.recommender import promotion

    return promotion.decide_promotion(partition)


def publish_recommendations(partition: date) -> dict[str, Any]:
    """Recommend to every customer and publish the result as a version."""
    from ml.cli.recommender import publishing

    return publishing.publish_recommendations(partition)


@click.group()
def recommender() -> None:
    """Train, decide and publish."""


@recommender.command()
@click.option("--day", type=_DAY, required=True, help="Shop day up to which label weeks are used.")
def train(day: datetime) -> None:
    """Build a training set, judge it, train a challenger and decide its promotion."""
    partition = day.date()
    built = build_training_set(partition)
    cuts = built["cuts"]
    click.echo(f"training set {built['version']}: {built['rows']}")
    click.echo(f"learns from {', '.join(cuts['training'])}; decides by {', '.join(cuts['promotion'])}")
    gate_training_set(partition)
    trained = train_challenger(partition)
    print_metrics(trained["metrics"])
    decided = decide_promotion(partition)
    click.echo(f"{decided['challenger']} against {decided['champion_before']}: {decided['verdict']}")
    if decided["rules"]:
        print_table(
            ["rule", "status", "observed", "threshold"],
            [[rule["rule"], rule["status"], rule["observed"], rule["threshold"]] for rule in decided["rules"]],
        )


def print_metrics(metrics: dict[str, dict[str, float]]) -> None:
    """One line per method."""
    names = ("ndcg_at_10", "recall_at_10", "map_at_10", "hit_rate_at_10", "recall_repeat_at_10", "recall_explore_at_10")
    print_table(
        ["method", *(name.removesuffix("_at_10") + "@10" for name in names), "coverage"],
        [
            [method, *(_figure(summary.get(name)) for name in (*names, "coverage"))]
            for method, summary in metrics.items()
        ],
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


@recommender.command()
@click.option("--day", type=_DAY, required=True, help="Shop day that was built last.")
def publish(day: datetime) -> None:
    """Recommend to every customer and publish the result."""
    for name, value in publish_recommendations(day.date()).items():
        click.echo(f"{name}: {value}")


@recommender.command("restore-rows")
def restore_rows() -> None:
    """Fill the online store with customers' rows from what is published, where it has lost them."""
    from ml.stores.published_rows import restore_online

    is_written = restore_online(get_settings())
    click.echo("the rows are there again" if is_written else "nothing was missing")


@click.command()
@click.argument("customer_id")
def recommend(customer_id: str) -> None:
    """Print what is recommended to a customer, and why."""
    from ml.cli.recommender.shown import shown_to
    from ml.monitoring.staleness import stale_marks

    settings = get_settings()
    shown = shown_to(settings, customer_id)
    if shown is None:
        raise DataFailed("no recommendations are published yet; run `shopwright recommender publish`")
    if not shown.is_known:
        click.echo("this customer is not known; what is popular instead")
    click.echo(f"as of {shown.as_of_date}, by {shown.model_version}, from marts {shown.marts_version}")
    if shown.is_withdrawn:
        click.echo("those marts were rolled back; run `shopwright recommender publish`")
    for mark in stale_marks(settings, ["recommendations" if shown.is_known else "marts"]):
        click.echo(mark)
    print_table(
        ["rank", "product", "name", "reason", "source", "score"],
        [
            [row["rank"], row["product_id"], row["name"], row["reason"], row["source"], f"{row['score']:.3f}"]
            for row in shown.rows
        ],
    )
