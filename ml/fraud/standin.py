"""What is decided while no model can score an order: let through within limits agreed beforehand, else ask."""

from collections.abc import Mapping
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.expression_values import Floats
from ml.fraud.policy import ACTIONS, Policy, StandIn, segment_of

VELOCITIES = ("count_orders_customer_1d", "count_orders_instrument_1d", "count_orders_device_1d")
Flags = npt.NDArray[np.bool_]
Ranks = npt.NDArray[np.int64]


def assumed_probability(orders: pd.DataFrame, policy: Policy) -> Floats:
    """The probability that costs are stated with where no model gave one, shape (n,)."""
    stated = [one.assumed_probability for one in _by_segment(policy)]
    return np.array(stated, dtype=np.float64)[segment_of(orders, policy)]


def standin_actions(
    orders: pd.DataFrame,
    policy: Policy,
    applies: Flags,
    sequence: Ranks,
    days: npt.NDArray[np.object_],
    spent: Mapping[date, int],
) -> Ranks:
    """The stand-in's action, as an index into `ACTIONS`; approve where it does not apply. Shape (n,).

    Unknown is never within limits: an order whose velocity or account age cannot be read is over them.

    Args:
        sequence: Positions of the orders in the order of events: the day's value is spent in it.
        spent: Cents let through before, by shop day.
    """
    segments = segment_of(orders, policy)
    actions = np.zeros(len(orders), dtype=np.int64)
    within = np.zeros(len(orders), dtype=np.bool_)
    most = np.zeros(len(orders))
    for number, limits in zip([*range(len(policy.segments)), -1], _by_segment(policy), strict=True):
        at = applies & (segments == number)
        actions[at] = ACTIONS.index(limits.over_limits)
        within |= at & _within(orders, limits)
        most[at] = limits.cents_per_day
    amounts = orders["amount_cents"].to_numpy(dtype=np.float64)
    running = dict(spent)
    for position in sequence[within[sequence]].tolist():
        total = running.get(days[position], 0) + int(amounts[position])
        if total <= most[position]:
            running[days[position]] = total
            actions[position] = 0
    return actions


def _by_segment(policy: Policy) -> list[StandIn]:
    """The stand-in of each segment; last, which is where -1 points, that of all other orders."""
    return [*(segment.standin for segment in policy.segments), policy.standin]


def _within(orders: pd.DataFrame, limits: StandIn) -> Flags:
    known = [_numbers(orders, name) for name in VELOCITIES if name in orders.columns]
    velocity = np.fmax.reduce(known) if known else np.full(len(orders), np.nan)
    within = (_numbers(orders, "amount_cents") <= limits.amount_cents) & (velocity < limits.orders_per_day)
    if limits.account_age_days > 0:
        within &= _numbers(orders, "account_age_days") >= limits.account_age_days
    return np.asarray(within, dtype=np.bool_)


def _numbers(orders: pd.DataFrame, name: str) -> Floats:
    if name not in orders.columns:
        return np.full(len(orders), np.nan)
    return np.asarray(pd.to_numeric(orders[name]).to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
