"""What `shopwright policy curve` and `backtest` print: past orders judged anew, with intervals."""

from dataclasses import replace

import click
import numpy as np

from ml.cli.past_orders import Past, read_past_orders
from ml.cli.policy_groups import with_groups
from ml.cli.policy_page import write_policy_page
from ml.cli.tables import print_table
from ml.fraud.backtest import Figure, difference, figures, replay, rule_figures
from ml.fraud.cost_curve import CostCurve, cost_curve
from ml.fraud.expression import Expression, ExpressionRefused, read_expression
from ml.fraud.fields import known_fields
from ml.fraud.policy import ACTIONS, Breaker, Policy, Rule
from ml.settings import Settings

_TRIED = "tried"
_SHOWN = (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)


def show_curve(settings: Settings, policy: Policy, days: int) -> None:
    """Draw the page and print the table."""
    past = _past(settings, days, policy)
    curve = cost_curve(past.past, policy)
    _print_basis(settings, policy, past)
    print_table(
        ["decline from", "declined", "cost", "expected", ""],
        [
            [
                f"{curve.threshold[place]:.4f}",
                f"{curve.declined[place]:.3%}",
                _money(curve.actual[place]),
                _money(curve.expected[place]),
                "least" if place == curve.best else None,
            ]
            for place in _shown_places(curve)
        ],
    )
    click.echo(f"\napproving all    {_money(curve.approve_all)}\nthe policy       {_money(curve.policy)}")
    click.echo(f"Costs are {settings.currency} per 1,000 orders.")
    click.echo(f"Page: {write_policy_page(settings, policy, curve, past)}")


def _shown_places(curve: CostCurve) -> list[int]:
    nearest = {int(np.abs(curve.threshold - at).argmin()) for at in _SHOWN}
    return sorted({*nearest, curve.best, len(curve.threshold) - 1})


def show_backtest(
    settings: Settings, policy: Policy, active: Policy, days: int, condition: str | None, action: str, draws: int
) -> None:
    """Print the figures of the policy, of the active one, and of what lies between them; or of a rule."""
    when = _condition(condition) if condition else None
    past = _past(settings, days, policy, active)
    _print_basis(settings, policy, past)
    tried = _with_rule(policy, when, action) if when else policy
    if when is not None:
        click.echo(f"\nThe rule by itself, as {action}:")
        _print_figures([("", rule_figures(past.past, when, policy, draws=draws, seed=settings.seed))])
    other = policy if when is not None else active
    ours, theirs = replay(past.past, tried, prices=policy), replay(past.past, other, prices=policy)
    name = f"{policy.version} with the rule" if when else policy.version
    columns = [(name, figures(past.past, ours, draws=draws, seed=settings.seed))]
    is_same = when is None and other.version == policy.version
    if not is_same:
        columns.append((other.version, figures(past.past, theirs, draws=draws, seed=settings.seed)))
    click.echo()
    _print_figures(columns)
    if not is_same:
        (saved,) = difference(past.past, ours, theirs, draws=draws, seed=settings.seed)
        click.echo(
            f"\n{name} against {other.version}: saves {_money(saved.value)} per 1,000 orders, 95% interval "
            f"{_money(saved.low)} to {_money(saved.high)}{_verdict(saved)}"
        )
    click.echo(
        f"\nBoth at the costs of {policy.version}; money is {settings.currency}. Orders that were challenged count as "
        "they turned out: frauds that a challenge stopped are not known as frauds."
    )


def _past(settings: Settings, days: int, *asked: Policy) -> Past:
    """Past orders, with their groups when one of the policies may look at them."""
    past = read_past_orders(settings, days)
    for policy in asked:
        if policy.fairness.group_aware:
            orders = with_groups(settings, past.past.orders, policy)
            return replace(past, past=replace(past.past, orders=orders))
    return past


def _verdict(saved: Figure) -> str:
    if saved.low > 0:
        return ": more than chance explains"
    return ": less, beyond chance" if saved.high < 0 else ": chance alone could explain it"


def _condition(text: str) -> Expression:
    try:
        return read_expression(text, known_fields())
    except ExpressionRefused as error:
        raise click.UsageError(f"--rule: {error}") from None


def _with_rule(policy: Policy, when: Expression, action: str) -> Policy:
    if action not in policy.actions:
        raise click.UsageError(f"--action: policy {policy.version} takes {', '.join(policy.actions[1:])}")
    chosen = next(one for one in ACTIONS if one == action)
    rule = Rule(_TRIED, when, chosen, "On trial", Breaker(declines=1_000_000, share=1.0))
    return replace(policy, rules=(*policy.rules, rule))


def _print_basis(settings: Settings, policy: Policy, past: Past) -> None:
    frauds, orders = int(past.past.is_fraud.sum()), len(past.past.orders)
    if settings.simulates_payments:
        click.echo("Payments and frauds are simulated: the figures show how it works, not what a shop would save.")
    click.echo(
        f"Policy {policy.version} over {orders:,} mature orders of {past.past.shop_days} days from {past.first_day} to "
        f"{past.last_day}; {frauds:,} frauds. Labels take {past.maturity_days} days."
    )
    model = past.model_version or "no model yet: rules and the stand-in decide"
    click.echo(f"Probabilities: {past.scored_then:,} as recorded then, {past.scored_now:,} of the champion ({model}).")
    for reason, count in past.left_out.items():
        click.echo(f"Left out: {count:,} orders {reason}.")
    stood_for = float(past.past.weight.sum())
    if stood_for > orders:
        click.echo(f"Orders let through by chance stand for those declined: {orders:,} stand for {stood_for:,.0f}.")


def _print_figures(columns: list[tuple[str, list[Figure]]]) -> None:
    rows = []
    for place, first in enumerate(columns[0][1]):
        rows.append([first.name, *(_told(found[place]) for _, found in columns)])
    print_table(["figure", *(name or "value (95% interval)" for name, _ in columns)], rows)


def _told(figure: Figure) -> str:
    if np.isnan(figure.value):
        return "unknown"
    if figure.unit == "share":
        return f"{figure.value:.2%} ({figure.low:.2%} to {figure.high:.2%})"
    return f"{_money(figure.value)} ({_money(figure.low)} to {_money(figure.high)})"


def _money(cents: float) -> str:
    return f"{cents / 100:,.2f}"
