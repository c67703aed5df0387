"""What each rule matched lately, and what became known of it."""

from dataclasses import dataclass
from datetime import timedelta
from math import sqrt

import pandas as pd

from ml.cli.fraud.inputs import PAYMENTS_MART, configuration
from ml.cli.past_orders import outcomes, read_known
from ml.serving.fraud_parts import active_policy
from ml.settings import Settings
from ml.stores import policies
from ml.stores.operations import Operations
from ml.stores.warehouse import open_marts

_SURE = 1.96


@dataclass(frozen=True)
class RuleStatistics:
    """A rule over some shop days.

    Attributes:
        hits: Orders matched.
        capped: Of them, those that its circuit breaker kept from being declined.
        known: Of them, those of which it is known by now what they were.
        frauds: Of the known, weighted by what an order let through by chance stands for.
        precision: Share of frauds among the known, weighted, with its 95% interval (Wilson); None when none is known.
        fraud_cents: Value of the frauds; `honest_cents` that of the others.
    """

    rule: str
    action: str
    hits: int
    capped: int
    known: int
    frauds: float
    precision: float | None
    low: float
    high: float
    fraud_cents: float
    honest_cents: float


def rule_statistics(settings: Settings, operations: Operations, days: int) -> list[RuleStatistics]:
    """All rules of the active policy, and others that matched lately, by the newest so many shop days."""
    marts = open_marts(settings)
    connection = marts.connect()
    until = settings.shop_clock(marts.target_day)
    since = until - timedelta(days=days)
    hits = policies.past_hits(operations, since, until)
    hits = hits[pd.to_datetime(hits["ordered_at"], utc=True) >= since].drop_duplicates(
        ["rule", "order_id"], keep="last"
    )
    orders = connection.execute(f"select order_id, attempted_at, amount_cents from {PAYMENTS_MART}").df()  # noqa: S608 - our own names
    orders = orders[orders["order_id"].isin(hits["order_id"])].reset_index(drop=True)
    told = outcomes(orders, read_known(connection, until, configuration(settings)))
    known = orders[["order_id", "amount_cents"]].assign(
        is_known=told["reason"].eq(""), is_fraud=told["is_fraud"], weight=told["weight"]
    )
    matched = hits.merge(known, on="order_id", how="left", validate="many_to_one")
    actions = {rule.name: str(rule.action) for rule in active_policy(operations).rules}
    for name, action in zip(matched["rule"], matched["action"], strict=True):
        actions.setdefault(str(name), str(action))
    return [_of_rule(name, action, matched[matched["rule"] == name]) for name, action in actions.items()]


def _of_rule(name: str, action: str, matched: pd.DataFrame) -> RuleStatistics:
    known = matched[matched["is_known"].eq(True)]
    weight, is_fraud = known["weight"].astype(float), known["is_fraud"].astype(bool)
    value = known["amount_cents"].astype(float) * weight
    total, frauds = float(weight.sum()), float(weight[is_fraud].sum())
    # Weights make the sample smaller than it looks (Kish): this many equal ones would say as much.
    effective = total**2 / float((weight**2).sum()) if total else 0.0
    share = frauds / total if total else None
    low, high = _wilson(share, effective) if share is not None else (float("nan"), float("nan"))
    return RuleStatistics(
        rule=name,
        action=action,
        hits=len(matched),
        capped=int(matched["is_capped"].astype(bool).sum()),
        known=len(known),
        frauds=frauds,
        precision=share,
        low=low,
        high=high,
        fraud_cents=float(value[is_fraud].sum()),
        honest_cents=float(value[~is_fraud].sum()),
    )


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson, Journal of the American Statistical Association 1927."""
    z = _SURE**2 / n
    middle, spread = share + z / 2, _SURE * sqrt(share * (1 - share) / n + z / (4 * n))
    return max((middle - spread) / (1 + z), 0.0), min((middle + spread) / (1 + z), 1.0)
