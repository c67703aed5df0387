"""The steps of the fraud product: train, decide, settle what became known. Explanations of one order: `decisions`."""

import importlib
from datetime import date, datetime
from typing import Any

import click

from ml.cli.tables import print_table
from ml.serving.lean_imports import leave_out_sklearn

_DAY = click.DateTime(formats=["%Y-%m-%d"])
# Command -> module of this package and the name in it; loaded when it is used.
_ELSEWHERE = {
    "post": "events:post",
    "follow": "events:follow",
    "feed": "feed:feed_command",
    "fairness": "fairness:fairness",
}


def build_training_set(partition: date) -> dict[str, Any]:
    """Join features with the labels that were known in time, and publish them as a version."""
    from ml.cli.fraud import training

    return training.build_training_set(partition)


def gate_training_set(partition: date) -> dict[str, Any]:
    """Judge the training set; only what passes is trained on."""
    from ml.cli.fraud import training

    return training.gate_training_set(partition)


def train_challenger(partition: date) -> dict[str, Any]:
    """Train a model and judge it with the champion and all baselines on the newest mature orders."""
    from ml.cli.fraud import challenge

    return challenge.train_challenger(partition)


def decide_promotion(partition: date) -> dict[str, Any]:
    """Apply the promotion rules; the champion moves, or does not, with every rule kept."""
    from ml.cli.fraud import promotion

    return promotion.decide_promotion(partition)


def score_orders(partition: date) -> dict[str, Any]:
    """Decide the orders that have no decision yet, explain and keep the decisions."""
    from ml.cli.fraud import scoring

    return scoring.score_orders(partition)


def feed_state(partition: date) -> dict[str, Any]:
    """Feed landed payments and labels to the state of fraud features."""
    from ml.cli.fraud import feed

    return feed.feed_state(partition)


def settle_labels(partition: date) -> dict[str, Any]:
    """Measure how labels come in, and close the cases that nobody looked at."""
    from ml.cli.fraud import labels

    return labels.settle_labels(partition)


class _Commands(click.Group):
    """The commands here, and those of the modules beside this one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        if cmd_name == "follow":  # a process of its own, which predicts and learns nothing
            leave_out_sklearn()
        module, _, name = _ELSEWHERE[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"ml.cli.fraud.{module}"), name)
        assert isinstance(command, click.Command), f"ml.cli.fraud.{module}.{name} is not a command"
        return command


@click.group(cls=_Commands)
def fraud() -> None:
    """Train, decide, and take in what became known. Simulated payments are named so."""


@fraud.command()
@click.option("--day", type=_DAY, required=True, help="Shop day up to which labels are known.")
def train(day: datetime) -> None:
    """Build a training set, judge it, train a challenger and decide its promotion."""
    partition = day.date()
    built = build_training_set(partition)
    if built.get("skipped"):
        click.echo(f"nothing to learn yet: {built['skipped']}")
        return
    click.echo(f"payments: {built['payments']}")
    click.echo(f"training set {built['version']}: orders {built['rows']}, frauds {built['frauds']}")
    split = built["split"]
    click.echo(
        f"learns from {split['train_first']} to before {split['train_until']}; decides by {split['test_first']} to "
        f"before {split['test_until']}; labels take {built['maturity_days']} days"
    )
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
    names = {
        "average_precision": "average precision",
        "recall_at_0.5pct": "recall at 0.5%",
        "recall_at_1pct": "at 1%",
        "recall_at_2pct": "at 2%",
        "expected_calibration_error": "calibration error",
        "saved_cents_per_1000_orders": "saved per 1,000",
    }
    print_table(
        ["method", *names.values()],
        [[method, *(_figure(summary.get(name)) for name in names)] for method, summary in metrics.items()],
    )


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}"


@fraud.command()
@click.option("--day", type=_DAY, required=True, help="Shop day whose orders are decided, with the six before it.")
def score(day: datetime) -> None:
    """Decide the orders that have no decision yet."""
    _print(score_orders(day.date()))


@fraud.command("labels")
@click.option("--day", type=_DAY, required=True, help="Shop day at whose end labels are counted.")
def labels_by_hand(day: datetime) -> None:
    """Measure how labels come in, and close the cases that nobody looked at."""
    _print(settle_labels(day.date()))


def _print(summary: dict[str, Any]) -> None:
    for name, value in summary.items():
        click.echo(f"{name}: {value}")
