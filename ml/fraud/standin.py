"""What is decided while no model can score an order: let through within limits agreed beforehand, else ask."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.fraud.expression_values import Floats
from ml.fraud.order_table import OrderTable
from ml.fraud.policy import ACTIONS, Policy, StandIn

VELOCITIES = ("count_orders_customer_1d", "count_orders_instrument_1d", "count_orders_device_1d")
Flags = npt.NDArray[np.bool_]
Ranks = npt.NDArray[np.int64]


def assumed_probability(segments: Ranks, policy: Policy) -> Floats:
    """The probability that costs are stated with where no model gave one, by what `segment_of` found; shape (n,)."""
    stated = [one.assumed_probability for one in _by_segment(policy)]
    return np.array(stated, dtype=np.float64)[segments]


def standin_actions(
    orders: OrderTable,
    policy: Policy,
    applies: Flags,
    sequence: Ranks,
    days: npt.NDArray[np.object_],
    spent: Mapping[Any, int],
    segments: Ranks,
) -> Ranks:
    """The stand-in's action, as an index into `ACTIONS`; approve where it does not apply. Shape (n,).

    Unknown is never within limits: an order whose velocity or account age cannot be read is over them.

    Args:
        sequence: Positions of the orders in the order of events: the day's value is spent in it.
        spent: Cents let through before, by shop day.
        segments: What `segment_of` says of the orders.
    """
    actions = np.zeros(orders.n, dtype=np.int64)
    if not applies.any():
        return actions
    within = np.zeros(orders.n, dtype=np.bool_)
    most = np.zeros(orders.n)
    for number, limits in zip([*range(len(policy.segments)), -1], _by_segment(policy), strict=True):
        at = applies & (segments == number)
        actions[at] = ACTIONS.index(limits.over_limits)
        within |= at & _within(orders, limits)
        most[at] = limits.cents_per_day
    amounts = orders.numbers("amount_cents")
    running = dict(spent)
    for position in sequence[within[sequence]].tolist():
        total = running.get(days[position], 0) + int(amounts[position])
        if total <= most[position]:
            running[days[position]] = total
            actions[position] = 0
    return actions


def standin_of(segment: int, policy: Policy) -> StandIn:
    """The limits of a segment; of all other orders for -1."""
    return _by_segment(policy)[segment]


def _by_segment(policy: Policy) -> list[StandIn]:
    """The stand-in of each segment; last, which is where -1 points, that of all other orders."""
    return [*(segment.standin for segment in policy.segments), policy.standin]


def _within(orders: OrderTable, limits: StandIn) -> Flags:
    velocity = np.fmax.reduce([orders.numbers(name) for name in VELOCITIES])
    within = (orders.numbers("amount_cents") <= limits.amount_cents) & (velocity < limits.orders_per_day)
    if limits.account_age_days > 0:
        within &= orders.numbers("account_age_days") >= limits.account_age_days
    return np.asarray(within, dtype=np.bool_)
