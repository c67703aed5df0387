"""What a decision costs, and the limits within which decisions are made. Amounts are cents of the shop's currency.

The expected cost of an action is what it costs on average over frauds and honest orders of this probability:

- approve: the loss of a fraud.
- decline: an honest order's margin, and its customer's later margins as often as one is lost by it.
- review: the reviewer, the loss of the frauds that are overlooked, and the honest orders that are declined.
- challenge: the check, the loss of the frauds that pass it, and the margin of honest orders that give up.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.expression import Expression
from ml.fraud.expression_values import truths
from ml.fraud.order_table import Orders, OrderTable, order_table
from ml.outcomes import DataFailed

Action = Literal["approve", "challenge", "review", "decline"]
Floats = npt.NDArray[np.float64]

ACTIONS: tuple[Action, ...] = ("approve", "challenge", "review", "decline")
"""From the mildest to the strictest."""

_CUSTOMER_MEAN = "mean_amount_cents_customer_ever"

GROUP_COLUMN = "fairness_group"
"""Column of the orders that a group-aware policy reads; no policy looks at it while its switch is off."""


@dataclass(frozen=True)
class Costs:
    """What outcomes cost.

    Attributes:
        fraud_loss_share: Of the order's value, what a fraud that was let through costs.
        chargeback_fee_cents: And on top of it.
        margin_share: Of the order's value, what an honest order earns.
        lost_customer_share: Chance that a customer who was wrongly declined never comes back.
        lifetime_value_cents: What a customer of no history would have earned later.
        lifetime_orders: A customer with history would have placed so many more orders of their mean amount.
        review_cents: A reviewer's time for one order.
        review_catch_share: Share of the frauds that a reviewer recognizes.
        review_wrong_share: Share of the honest orders that a reviewer takes for fraud.
        challenge_cents: One challenge (a code, a call).
        challenge_stop_share: Share of the frauds that do not pass it.
        challenge_abandon_share: Share of the honest customers who give up at it.
    """

    fraud_loss_share: float
    chargeback_fee_cents: float
    margin_share: float
    lost_customer_share: float
    lifetime_value_cents: float
    lifetime_orders: float
    review_cents: float
    review_catch_share: float
    review_wrong_share: float
    challenge_cents: float
    challenge_stop_share: float
    challenge_abandon_share: float


@dataclass(frozen=True)
class Reviews:
    """What reviewers can do on one shop day.

    Attributes:
        minimum_saving_cents: The model asks for no review that saves less than this against the best other action.
    """

    per_day: int
    minimum_saving_cents: float = 0.0


@dataclass(frozen=True)
class Exploration:
    """The share of would-be declines that goes to review instead, so that their labels become known."""

    share: float = 0.0
    per_day: int = 0


@dataclass(frozen=True)
class StandIn:
    """What is decided without a model: within the limits approve, else `over_limits`.

    Attributes:
        amount_cents: The largest order that is let through.
        orders_per_day: Earlier orders of the customer, instrument or device within a day, at most.
        account_age_days: Younger accounts, and orders without one, are over the limits.
        cents_per_day: Value let through on one shop day before the stand-in tightens to `over_limits` for all.
        assumed_probability: Probability of fraud that costs are stated with.
    """

    amount_cents: int = 10_000
    orders_per_day: int = 3
    account_age_days: float = 30.0
    cents_per_day: int = 500_000
    over_limits: Action = "review"
    assumed_probability: float = 0.01


@dataclass(frozen=True)
class Breaker:
    """How many orders one rule may decline in any window: the larger of a number and a share of the orders in it."""

    declines: int = 20
    share: float = 0.01
    window_hours: float = 24.0


@dataclass(frozen=True)
class Rule:
    """At least this action for orders of which the condition is true."""

    name: str
    when: Expression
    action: Action
    why: str
    breaker: Breaker


@dataclass(frozen=True)
class Segment:
    """Orders with costs and a stand-in of their own; an order belongs to the first segment whose condition is true."""

    name: str
    when: Expression
    costs: Costs
    standin: StandIn


@dataclass(frozen=True)
class FairnessSwitch:
    """Whether decisions may depend on a protected group: off, unless somebody states why the law allows it.

    Attributes:
        legal_basis: Required when on.
        grouping: What the groups are, such as `age`.
        probability_factors: Group -> what the probability is multiplied by before costs are weighed.
    """

    group_aware: bool = False
    legal_basis: str = ""
    grouping: str = ""
    probability_factors: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Policy:
    """A policy that was read; its version is `<name>-<first 8 of the file's sha256>`."""

    name: str
    version: str
    actions: tuple[Action, ...]
    costs: Costs
    reviews: Reviews
    exploration: Exploration
    standin: StandIn
    segments: tuple[Segment, ...]
    rules: tuple[Rule, ...]
    fairness: FairnessSwitch
    body: str

    @property
    def below_decline(self) -> Action:
        """The strictest action that declines nobody: what a capped rule and an explored order get."""
        return max((action for action in self.actions if action != "decline"), key=ACTIONS.index)


def expected_costs(
    probability: Floats, amount_cents: npt.NDArray[np.generic], orders: pd.DataFrame, policy: Policy
) -> pd.DataFrame:
    """What each action is expected to cost for each order, in cents.

    Args:
        probability: Of fraud, shape (n,), within 0 and 1. With the labels instead (0 or 1), what the actions did cost.
        amount_cents: Value of each order, shape (n,).
        orders: What segments and customers' values are read from, n rows; optional columns may be absent.

    Returns:
        Columns approve, challenge, review, decline; the index of `orders`. Actions that the policy does not take are
        in it too.

    Raises:
        DataFailed: A probability is outside 0..1, or an amount negative or not finite.
    """
    values = costs_of(probability, np.asarray(amount_cents, dtype=np.float64), order_table(orders), policy)
    return pd.DataFrame(values, columns=list(ACTIONS), index=orders.index)


def costs_of(
    probability: Floats,
    amount_cents: Floats,
    orders: OrderTable,
    policy: Policy,
    segments: npt.NDArray[np.int64] | None = None,
) -> Floats:
    """`expected_costs` as an array, shape (n, 4) in the order of `ACTIONS`.

    Args:
        segments: What `segment_of` says of the orders, where it was asked before.
    """
    p, amount = np.asarray(probability, dtype=np.float64), np.asarray(amount_cents, dtype=np.float64)
    assert len(p) == len(amount) == orders.n, f"lengths differ: {len(p)}, {len(amount)}, {orders.n}"
    _require(((p >= 0) & (p <= 1)).all(), "probability: expected numbers between 0 and 1")
    _require((np.isfinite(amount) & (amount >= 0)).all(), "amount_cents: expected finite numbers of at least 0")
    mean = orders.numbers(_CUSTOMER_MEAN)
    if not policy.segments:
        return _costs(p, amount, mean, policy.costs)
    numbers = segment_of(orders, policy) if segments is None else segments
    values = np.zeros((orders.n, len(ACTIONS)))
    numbered = [(-1, policy.costs), *enumerate(segment.costs for segment in policy.segments)]
    for number, costs in numbered:
        at = numbers == number
        if at.any():
            values[at] = _costs(p[at], amount[at], mean[at], costs)
    return values


def segment_of(orders: Orders, policy: Policy) -> npt.NDArray[np.int64]:
    """The number of each order's segment, from 0; -1 where no segment's condition is true."""
    table = order_table(orders)
    found = np.full(table.n, -1, dtype=np.int64)
    for number, segment in enumerate(policy.segments):
        found[(found == -1) & (truths(segment.when, table) == 1.0)] = number
    return found


def _costs(p: Floats, amount: Floats, customer_mean: Floats, costs: Costs) -> Floats:
    fraud = amount * costs.fraud_loss_share + costs.chargeback_fee_cents
    margin = amount * costs.margin_share
    known = np.where(customer_mean >= 0, customer_mean, np.nan) * costs.margin_share * costs.lifetime_orders
    lifetime_value = np.where(np.isnan(known), costs.lifetime_value_cents, known)
    wrongly_declined = margin + costs.lost_customer_share * lifetime_value
    honest = 1 - p
    values = np.empty((len(p), len(ACTIONS)))
    values[:, 0] = p * fraud
    values[:, 1] = (
        costs.challenge_cents
        + p * (1 - costs.challenge_stop_share) * fraud
        + honest * costs.challenge_abandon_share * margin
    )
    values[:, 2] = (
        costs.review_cents
        + p * (1 - costs.review_catch_share) * fraud
        + honest * costs.review_wrong_share * wrongly_declined
    )
    values[:, 3] = honest * wrongly_declined
    return values


def _require(is_so: object, rule: str) -> None:
    if not is_so:
        raise DataFailed(f"orders to decide: {rule}")
