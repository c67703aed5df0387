"""Whether the decisions of the newest days treat groups of customers alike, and what it would cost to close a gap."""

from datetime import timedelta
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.cli.fraud.inputs import DECISIONS_MART, LABELS_MART, PAYMENTS_MART, PRODUCT, configuration
from ml.cli.tables import print_table
from ml.fairness.groups import order_groups
from ml.fairness.mitigation import (
    Mitigated,
    constrain,
    fit_group_factors,
    rate_gap,
    reweighing_weights,
)
from ml.fairness.rates import RateGap, RatesConfig, audit_decisions
from ml.fraud.config import FraudConfig
from ml.fraud.dataset import TEST, draw_rows
from ml.fraud.labels import estimate_delay, known_labels
from ml.fraud.policy import Policy, expected_costs
from ml.fraud.train import fit
from ml.outcomes import DataFailed
from ml.serving.fraud_parts import active_policy
from ml.settings import Settings, get_settings
from ml.stores.operations import Operations
from ml.stores.warehouse import Marts, open_marts

Floats = npt.NDArray[np.float64]
_MOST_GROUPS_SHOWN = 4
_BOUND_ROWS = 15_000


@click.command()
@click.option("--days", type=click.IntRange(1, 3660), default=90, show_default=True, help="Newest shop days judged.")
@click.option("--mitigate", metavar="ATTRIBUTE", help="What closing this attribute's gap would cost, in money.")
def fairness(days: int, mitigate: str | None) -> None:
    """False alarms, declines, reviews and calibration by group of customers."""
    settings = get_settings()
    marts = open_marts(settings)
    if settings.simulates_payments:
        click.echo("payments and frauds are simulated: no figure here is of real customers being declined")
    gaps = audit(settings, marts, days)
    print_table(
        ["attribute", "rate", "verdict", "gap", "interval", "allowed", "lowest and highest groups"],
        [_line(gap) for gap in gaps],
    )
    blocking = [f"{gap.metric} by {gap.attribute}" for gap in gaps if gap.blocks]
    click.echo(f"unfair: {', '.join(blocking)}" if blocking else "no gap is unfair beyond what chance explains")
    if mitigate is not None:
        _print_mitigations(settings, marts, mitigate)


def audit(settings: Settings, marts: Marts, days: int) -> list[RateGap]:
    """All gaps of the decisions on the newest shop days.

    Raises:
        DataFailed: No order of these days was decided on.
    """
    connection = marts.connect()
    first = marts.target_day - timedelta(days=days - 1)
    orders = connection.execute(f"select * from {PAYMENTS_MART}").df()  # noqa: S608 - our own name
    labels = connection.execute(f"select * from {LABELS_MART}").df()  # noqa: S608
    decided = connection.execute(
        f"""
        select decisions.* from {DECISIONS_MART} as decisions
        inner join {PAYMENTS_MART} using (order_id) where attempt_date >= $first
        """,  # noqa: S608
        {"first": first},
    ).df()
    if decided.empty:
        raise DataFailed(
            f"no order since {first} has a decision; run `shopwright fraud score --day {marts.target_day}`"
        )
    moment = settings.shop_clock(marts.target_day)
    config = configuration(settings).labels
    known = known_labels(orders, labels, moment, estimate_delay(orders, labels, moment, config), config)
    judged = decided.merge(orders, on="order_id", how="inner", validate="one_to_one").merge(
        known[["order_id", "is_fraud", "is_mature"]], on="order_id", how="left", validate="one_to_one"
    )
    frame = judged[["order_id", "customer_id", "action", "would_decline", "propensity"]].assign(
        probability=judged["score"],
        is_fraud=judged["is_fraud"].astype("object").where(judged["is_mature"].eq(True), None),
    )
    return audit_decisions(frame, order_groups(judged, _demographics(marts)), RatesConfig(seed=settings.seed))


def _demographics(marts: Marts) -> pd.DataFrame:
    if "audit_demographics" not in marts.version.tables():
        return pd.DataFrame({"customer_id": []})
    told: pd.DataFrame = marts.connect().execute("select * from audit_demographics").df()
    return told


def _line(gap: RateGap) -> list[object]:
    verdict = gap.verdict if gap.is_gated or gap.verdict != "unfair" else "unfair (reported only)"
    if gap.gap is None or gap.low is None or gap.high is None or gap.margin is None:
        return [gap.attribute, gap.metric, gap.verdict, None, None, None, f"{len(gap.orders)} groups"]
    ordered = sorted(gap.rates.items(), key=lambda one: one[1])
    shown = ordered if len(ordered) <= _MOST_GROUPS_SHOWN else [*ordered[:2], *ordered[-2:]]
    groups = ", ".join(f"{name} {rate:.3%}" for name, rate in shown)
    interval = f"{gap.low:.3%} to {gap.high:.3%}"
    return [gap.attribute, gap.metric, verdict, f"{gap.gap:.3%}", interval, f"{gap.margin:.3%}", groups]


def _print_mitigations(settings: Settings, marts: Marts, attribute: str) -> None:
    found, factors = mitigations(settings, marts, attribute)
    click.echo(f"\nclosing the gap in stopped orders by {attribute}, on the later half of the newest mature days:")
    print_table(
        ["way", "gap before", "gap after", "closed", "saves", "costs"],
        [
            [
                one.method,
                f"{one.gap_before:.3%}",
                f"{one.gap_after:.3%}",
                None if one.closed_share is None else f"{one.closed_share:.0%}",
                f"{one.saved_cents_after / 100:,.2f}",
                f"{one.cost_cents / 100:,.2f}"
                + ("" if one.cost_share is None else f" ({one.cost_share:.1%} of what is saved)"),
            ]
            for one in found
        ],
    )
    click.echo("factors by group work only in a policy with fairness.group_aware: true and a legal_basis:")
    for group, factor in factors.items():
        click.echo(f"  - {{group: {group!r}, factor: {factor:.2f}}}")


def mitigations(settings: Settings, marts: Marts, attribute: str) -> tuple[list[Mitigated], dict[str, float]]:
    """What each mitigation makes of the gap in stopped orders, and costs; with the factors by group.

    All are learnt from the newest training set; factors are fitted on the first half of its test days, and all are
    judged on the second.

    Raises:
        DataFailed: There is no training set, or no such attribute with two groups.
    """
    from ml.cli.fraud.training import TRAINING_ROWS
    from ml.cli.training_sets import training_store

    store = training_store(settings, PRODUCT)
    version = store.current()
    if version is None:
        raise DataFailed("fraud has no training set yet; run `shopwright fraud train`")
    rows: pd.DataFrame = store.read(version, TRAINING_ROWS).to_pandas()
    orders = marts.connect().execute(f"select * from {PAYMENTS_MART}").df()  # noqa: S608 - our own name
    grouped = order_groups(orders, _demographics(marts))
    if attribute not in grouped.columns:
        raise DataFailed(f"attribute: expected one of {', '.join(grouped.columns.drop('order_id'))}")
    rows = rows.merge(grouped[["order_id", attribute]], on="order_id", how="left", validate="one_to_one")
    rows[attribute] = rows[attribute].fillna("not given")
    return compare_mitigations(
        rows, attribute, active_policy(Operations.from_settings(settings)), configuration(settings)
    )


def compare_mitigations(
    rows: pd.DataFrame, attribute: str, policy: Policy, config: FraudConfig
) -> tuple[list[Mitigated], dict[str, float]]:
    """`mitigations` of training rows that hold the attribute."""
    learnt, test = rows[rows["fold"] != TEST], rows[rows["fold"] == TEST].reset_index(drop=True)
    half = len(test) // 2
    model = fit(rows, config)
    before = _base(model.probabilities(test), learnt)
    weights = reweighing_weights(learnt[attribute], learnt["is_fraud"].to_numpy(bool), learnt["weight"].to_numpy(float))
    weighted = rows.assign(weight=rows["weight"].mask(rows["fold"] != TEST, pd.Series(weights, index=learnt.index)))
    reweighed = _base(fit(weighted, config).probabilities(test), learnt)
    gain = _gain(test, policy)
    everyone = np.full(len(test), True)
    earlier = slice(0, half)
    factors = fit_group_factors(
        before[earlier], _stopped_from(test, policy)[earlier], test[attribute].iloc[earlier], everyone[earlier],
        gain[earlier],
    )  # fmt: skip
    constrained = _constrained(model.features, learnt, test, attribute, policy, config)
    stopped = {
        "reweighing": _stopped(reweighed, test, policy),
        "factors by group": _stopped(factors.adjusted(before, test[attribute]), test, policy),
        "bound in training": constrained,
    }
    later = slice(half, None)
    now = _stopped(before, test, policy)[later]
    groups = test[attribute].iloc[later]
    return [
        Mitigated(
            name,
            rate_gap(now, groups, everyone[later]),
            rate_gap(chance[later], groups, everyone[later]),
            float(now @ gain[later]),
            float(chance[later] @ gain[later]),
        )
        for name, chance in stopped.items()
    ], dict(factors.factors)


def _base(probabilities: Floats, learnt: pd.DataFrame) -> Floats:
    """An order of which the model says nothing has the rate of all."""
    return np.where(np.isfinite(probabilities), probabilities, float(learnt["is_fraud"].mean()))


def _stricter(policy: Policy) -> list[str]:
    return [action for action in policy.actions if action != "approve"]


def _costs(probabilities: Floats, rows: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    return expected_costs(probabilities, rows["amount_cents"].to_numpy(), rows, policy)


def _stopped(probabilities: Floats, rows: pd.DataFrame, policy: Policy) -> Floats:
    """1 where some other action is cheaper than to approve."""
    costs = _costs(probabilities, rows, policy)
    return np.asarray(costs[_stricter(policy)].min(axis=1) < costs["approve"], float)


def _stopped_from(rows: pd.DataFrame, policy: Policy) -> Floats:
    """The probability from which some other action is cheaper than to approve; costs are linear in it."""
    none, sure = (_costs(np.full(len(rows), float(p)), rows, policy) for p in (0, 1))
    start = none[_stricter(policy)].to_numpy(float)
    slope = sure["approve"].to_numpy(float)[:, None] - sure[_stricter(policy)].to_numpy(float) + start
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where(slope > 0, start / slope, np.inf)
    return np.asarray(np.minimum(crossing.min(axis=1), 1.0), float)


def _gain(rows: pd.DataFrame, policy: Policy) -> Floats:
    """What the mildest way to stop each order saves against approving it, by what it turned out to be."""
    certain = rows["is_fraud"].to_numpy(float)
    costs = _costs(certain, rows, policy)
    at_threshold = _costs(_stopped_from(rows, policy), rows, policy)[_stricter(policy)].to_numpy(float).argmin(axis=1)
    taken = costs[_stricter(policy)].to_numpy(float)[np.arange(len(rows)), at_threshold]
    return np.asarray(costs["approve"].to_numpy(float) - taken, float)


def _constrained(
    features: Any, learnt: pd.DataFrame, test: pd.DataFrame, attribute: str, policy: Policy, config: FraudConfig
) -> Floats:
    """The chance to be stopped of each test order, when the gap is bounded in training.

    The reduction trains dozens of times, so it learns from a draw of the honest orders, which weigh that much more.
    """
    from xgboost import XGBClassifier

    estimator = XGBClassifier(
        n_estimators=50,
        max_depth=config.trees.depth,
        learning_rate=0.1,
        n_jobs=config.trees.threads,
        random_state=config.seed,
    )
    typical = float(np.clip(np.median(_stopped_from(learnt, policy)), 0.001, 0.5))
    drawn = draw_rows(learnt, _BOUND_ROWS, config.seed)
    honest = int((~learnt["is_fraud"]).sum()) / max(int((~drawn["is_fraud"]).sum()), 1)
    found = constrain(
        estimator,
        drawn[list(features)].astype(np.float32),
        drawn["is_fraud"].to_numpy(bool),
        drawn[attribute],
        cost_ratio=(1 - typical) / typical / honest,
        iterations=5,
    )
    return found.chance_of_stop(test[list(features)].astype(np.float32))
