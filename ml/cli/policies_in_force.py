"""What decides now: the active policy, those in shadow, the lists, and what earlier decisions have used up."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import pandas as pd

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.policy_groups import with_groups
from ml.fraud import rules
from ml.fraud.decide import decide
from ml.fraud.expression_values import Floats
from ml.fraud.policy import Policy
from ml.fraud.policy_file import read_policy
from ml.serving.fraud_parts import lists_in_force
from ml.settings import get_settings
from ml.stores import policies
from ml.stores.operations import Operations, incidents

_BREAKER = "circuit_breaker"


def shadow_policies(operations: Operations) -> list[Policy]:
    """Policies that decide beside it, and nothing happens."""
    return [_read(row) for row in policies.stored_policies(operations, "shadow")]


def decide_orders(
    operations: Operations, orders: pd.DataFrame, probabilities: Floats | None, policy: Policy, seed: int
) -> pd.DataFrame:
    """`ml.fraud.decide.decide` of orders that have no decision yet, with all that the operational record knows.

    Args:
        orders: Of any shop days; with attempt_date.
    """
    if orders.empty:
        return decide(orders, None, policy, (), None, None, seed)
    orders = with_groups(get_settings(), orders, policy)
    moments = pd.to_datetime(orders["attempted_at"], utc=True)
    since, until = moments.min().to_pydatetime(), moments.max().to_pydatetime()
    use = policies.day_use(operations, shop_days(orders))
    return decide(
        orders,
        probabilities,
        policy,
        lists_in_force(operations),
        policies.past_hits(operations, since, until),
        use.reviews,
        seed,
        explored_today=use.explored,
        standin_cents_today=use.standin_cents,
        past_orders=policies.past_order_times(operations, since, until),
    )


def record_hits(operations: Operations, decided: pd.DataFrame, orders: pd.DataFrame, policy: Policy) -> int:
    """Keep which rules matched, and tell operators of rules whose circuit breaker opened; again changes nothing.

    Returns:
        How many hits are new.
    """
    found = rules.hits(decided, orders, policy)
    new = policies.record_rule_hits(operations, found)
    if len(orders):
        tell_of_capped_rules(operations, found, policy, max(shop_days(orders)))
    return new


def tell_of_capped_rules(
    operations: Operations, hits: pd.DataFrame, policy: Policy, partition: date, *, closes: bool = True
) -> None:
    """Open an incident for each rule whose circuit breaker opened.

    Args:
        hits: Of a day's orders, columns of the table of hits.
        closes: Whether to close it for the others; not for hits of a few orders, which say nothing about the day.
    """
    capped = hits[hits["is_capped"].astype(bool)].groupby("rule").size().to_dict()
    for rule in policy.rules:
        if rule.name not in capped:
            continue
        limit = rule.breaker
        open_incident(
            operations,
            kind="rule_capped",
            object=rule.name,
            rule=_BREAKER,
            partition=partition,
            severity="alert",
            title=f"Rule {rule.name} wanted to decline more than it may",
            body=(
                f"{capped[rule.name]} orders went to {policy.below_decline} instead of being declined: within any "
                f"{limit.window_hours:g} hours the rule may decline {limit.declines} orders, or {limit.share:.2%} of "
                f"all if that is more. Policy {policy.version}; docs/runbooks/rule_capped.md."
            ),
        )
    for incident in operations.rows(incidents, kind="rule_capped", state="open") if closes else ():
        if incident["object"] not in capped:
            close_incident(
                operations, kind="rule_capped", object=incident["object"], rule=_BREAKER, partition=partition
            )


def shop_days(orders: pd.DataFrame) -> Sequence[date]:
    """The shop days of these orders."""
    days: Any = pd.to_datetime(orders["attempt_date"]).dt.date.unique().tolist()
    return sorted(days)


def _read(row: dict[str, Any]) -> Policy:
    """A stored policy; one that names what is no longer known is refused, and nothing decides by half of it."""
    return read_policy(row["body"], f"policy {row['version']}")
