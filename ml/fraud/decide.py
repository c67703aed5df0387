"""Decisions about a frame of orders: `ml.fraud.choice` in pandas' clothes, for batch and backtest."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from ml.fraud import rules
from ml.fraud.choice import Chosen, Days, Waiting, choose_among, trace_of
from ml.fraud.choice import Used as UsedOfDays
from ml.fraud.expression_values import Floats
from ml.fraud.lists import ListEntry, ListIndex
from ml.fraud.order_table import order_table
from ml.fraud.policy import ACTIONS, GROUP_COLUMN, Policy
from ml.outcomes import DataFailed

Used = Mapping[date, int] | int | None


def decide(
    orders: pd.DataFrame,
    probabilities: Floats | None,
    policy: Policy,
    lists: Sequence[ListEntry],
    past_hits: pd.DataFrame | None,
    reviews_today: Used,
    seed: int,
    *,
    explored_today: Used = None,
    standin_cents_today: Used = None,
    past_orders: Sequence[Any] | pd.Series | None = None,
) -> pd.DataFrame:
    """Decide orders.

    Args:
        orders: One row per order: order_id, attempted_at, amount_cents; attempt_date, fields of rules, columns of
            entities and of the segments where there are any.
        probabilities: Of fraud, shape (n,); NaN where the model could not score an order, None where there is none.
        past_hits: Of rules, on orders decided before (`rules.capped`).
        reviews_today: Orders already sent to review, by shop day; a number means each day.
        seed: Of exploration.
        explored_today: Would-be declines already explored, by shop day.
        standin_cents_today: Value that the stand-in has already let through, by shop day.
        past_orders: When the orders decided before were attempted (`rules.capped`).

    Returns:
        One row per order, as given, with the index of `orders`: order_id, action, source (model, rule, list,
        standin), would_decline, propensity (chance that the order goes on, so that its label can become known),
        expected_costs (action -> cents), expected_cost_cents (of the action), expected_saving_cents (of a review
        against the best other action), rule_trace (list of {rule, kind, matched, action, capped, why}).

    Raises:
        DataFailed: An order stands twice, a column is absent, or a number is not one.
    """
    chosen = choose(
        orders, probabilities, policy, lists, past_hits, reviews_today, seed,
        explored_today=explored_today, standin_cents_today=standin_cents_today, past_orders=past_orders,
    )  # fmt: skip
    costs = [dict(zip(ACTIONS, (round(cost, 2) for cost in row), strict=True)) for row in chosen.costs.tolist()]
    return pd.DataFrame(
        {
            "order_id": orders["order_id"],
            "action": np.array(ACTIONS, dtype=object)[chosen.action],
            "source": chosen.source,
            "would_decline": chosen.would_decline,
            "propensity": chosen.propensity,
            "expected_costs": pd.Series(costs, index=orders.index, dtype=object),
            "expected_cost_cents": np.take_along_axis(chosen.costs, chosen.action[:, None], axis=1)[:, 0].round(2),
            "expected_saving_cents": chosen.saving.round(2),
            "rule_trace": pd.Series(trace_of(chosen, policy, len(orders)), index=orders.index, dtype=object),
        },
        index=orders.index,
    )


def choose(
    orders: pd.DataFrame,
    probabilities: Floats | None,
    policy: Policy,
    lists: Sequence[ListEntry],
    past_hits: pd.DataFrame | None,
    reviews_today: Used,
    seed: int,
    *,
    explored_today: Used = None,
    standin_cents_today: Used = None,
    past_orders: Sequence[Any] | pd.Series | None = None,
) -> Chosen:
    """`decide` without its words: as fast as a backtest needs it."""
    _check(orders, probabilities, policy)
    given = np.full(len(orders), np.nan) if probabilities is None else np.asarray(probabilities, dtype=np.float64)
    days = _shop_days(orders)
    waiting = Waiting(
        table=order_table(orders), ids=orders["order_id"].astype(str).to_numpy(object),
        times=rules.nanoseconds(orders["attempted_at"]), days=days, probabilities=given,
        is_limited=np.zeros(len(orders), dtype=np.bool_),
    )  # fmt: skip
    used = UsedOfDays(*(_by_day(one, days) for one in (reviews_today, explored_today, standin_cents_today)))
    history = rules.history_of(orders, past_hits, past_orders)
    return choose_among(waiting, policy, ListIndex(lists), history, used, seed)


def _check(orders: pd.DataFrame, probabilities: Floats | None, policy: Policy) -> None:
    absent = [name for name in ("order_id", "attempted_at", "amount_cents") if name not in orders.columns]
    if absent:
        raise DataFailed(f"orders to decide: expected the columns {', '.join(absent)}")
    twice = int(orders["order_id"].duplicated().sum())
    if twice:
        raise DataFailed(f"orders to decide: {twice} of {len(orders)} stand in it twice")
    for name in ("order_id", "attempted_at", "amount_cents"):
        if orders[name].isna().any():
            raise DataFailed(f"orders to decide: {name} is missing in {int(orders[name].isna().sum())} rows")
    if policy.fairness.group_aware and GROUP_COLUMN not in orders.columns:
        raise DataFailed(f"orders to decide: a group-aware policy needs the column {GROUP_COLUMN}")
    if probabilities is not None and len(probabilities) != len(orders):
        raise DataFailed(f"orders to decide: {len(probabilities)} probabilities for {len(orders)} orders")


def _shop_days(orders: pd.DataFrame) -> Days:
    """Each order's shop day; where the frame does not say, the UTC day of its attempt."""
    column = "attempt_date" if "attempt_date" in orders.columns else "attempted_at"
    moments = pd.to_datetime(orders[column], utc=column == "attempted_at")
    return np.asarray(moments.dt.date.to_numpy(), dtype=object)


def _by_day(used: Used, days: Days) -> dict[date, int]:
    known = set(days.tolist())
    if used is None:
        return dict.fromkeys(known, 0)
    if isinstance(used, int):
        return dict.fromkeys(known, used)
    return {day: int(used.get(day, 0)) for day in known}
