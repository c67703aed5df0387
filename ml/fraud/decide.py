"""What happens to an order: lists, rules, and the cheapest action; within the reviewers' day, with some exploration.

One pure function for the batch, the API and the backtest. The order of say, from the strongest:

1. A block list declines. An allow list approves what no block list means. A watch list asks for review at least.
2. Each rule that is true asks for its action at least; one whose circuit breaker stands open, for less than decline.
3. The model asks for the action of the least expected cost; to review go those that save most, while the day has
   reviewers. Without a probability, the stand-in approves within its limits.
4. Of what would be declined (but not by a block list), a small share is let through to review, so that labels of such
   orders become known. The chance of that is written down with every order as its propensity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud import rules
from ml.fraud.exploration import explore
from ml.fraud.expression_values import Floats
from ml.fraud.fields import SCORE
from ml.fraud.lists import ListEntry, on_lists
from ml.fraud.policy import ACTIONS, GROUP_COLUMN, Policy, expected_costs
from ml.fraud.standin import assumed_probability, standin_actions
from ml.outcomes import DataFailed

Ranks = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Used = Mapping[date, int] | int | None

_APPROVE, _CHALLENGE, _REVIEW, _DECLINE = range(4)
_LIST_ACTIONS = {"block": "decline", "watch": "review", "allow": "approve"}


@dataclass(frozen=True)
class Chosen:
    """What was decided about n orders, before it is written out.

    Attributes:
        action: Index into `ACTIONS`, shape (n,).
        source: What decided: model, rule, list or standin.
        costs: Expected cost of each action, shape (n, 4), in the order of `ACTIONS`; cents.
        lists: What `on_lists` found.
        said: What `rules.matches` found.
        capped: What `rules.capped` found.
    """

    action: Ranks
    source: npt.NDArray[np.object_]
    would_decline: Flags
    propensity: Floats
    costs: Floats
    saving: Floats
    lists: Mapping[str, Flags]
    said: Mapping[str, Floats]
    capped: Mapping[str, Flags]


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
            "rule_trace": pd.Series(_traces(chosen, policy, len(orders)), index=orders.index, dtype=object),
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
    _check(orders, probabilities)
    given = np.full(len(orders), np.nan) if probabilities is None else np.asarray(probabilities, dtype=np.float64)
    by_model = ~np.isnan(given)
    days, sequence = _shop_days(orders), _sequence(orders)
    fields = orders.assign(**{SCORE: given})
    listed = on_lists(orders, lists)
    said = rules.matches(fields, policy.rules)
    is_capped = rules.capped(orders, said, policy.rules, past_hits, past_orders)
    by_rules = _asked_by_rules(policy, said, is_capped, len(orders))
    block, allow, watch = (_on(listed, name, len(orders)) for name in ("block", "allow", "watch"))
    weighed = np.where(by_model, _group_aware(given, orders, policy), assumed_probability(fields, policy))
    costs = expected_costs(weighed, orders["amount_cents"].to_numpy(), fields, policy).to_numpy()
    allowed = np.array([action in policy.actions for action in ACTIONS])

    spent = _by_day(standin_cents_today, days)
    standin = standin_actions(fields, policy, ~by_model & ~block & ~allow, sequence, days, spent)
    settled = np.where(block, _nearest(policy, _DECLINE), np.where(allow, _APPROVE, -1))
    asked = np.maximum(by_rules, watch * _nearest(policy, _REVIEW))
    certain = np.where(settled >= 0, settled, np.maximum(asked, standin))
    is_open = by_model & (settled < 0)
    action = np.where(is_open, _cheapest(costs, allowed, certain), certain)
    left = {day: policy.reviews.per_day - used for day, used in _by_day(reviews_today, days).items()}
    unserved = _unserved(action, costs, allowed, certain, is_open, policy, days, left)
    not_reviewed = allowed & (np.arange(len(ACTIONS)) != _REVIEW)
    action = np.where(unserved, _cheapest(costs, not_reviewed, certain), action)

    would_decline = action == _DECLINE
    explored, propensity = explore(
        orders["order_id"].astype(str).to_numpy(), would_decline & ~block, sequence, days,
        policy.exploration, _by_day(explored_today, days), seed,
    )  # fmt: skip
    propensity = np.where(would_decline, propensity, 1.0)

    alone = np.where(by_model, _cheapest(costs, allowed, np.zeros_like(certain)), standin)
    is_list = (settled >= 0) | (asked > np.maximum(by_rules, alone))
    source = np.select([is_list, by_rules > alone, by_model], ["list", "rule", "model"], "standin").astype(object)
    saving = np.where(not_reviewed, costs, np.inf).min(axis=1) - costs[:, _REVIEW]
    action = np.where(explored, _REVIEW, action)
    return Chosen(action, source, would_decline, propensity, costs, saving, listed, said, is_capped)


def _check(orders: pd.DataFrame, probabilities: Floats | None) -> None:
    absent = [name for name in ("order_id", "attempted_at", "amount_cents") if name not in orders.columns]
    if absent:
        raise DataFailed(f"orders to decide: expected the columns {', '.join(absent)}")
    twice = int(orders["order_id"].duplicated().sum())
    if twice:
        raise DataFailed(f"orders to decide: {twice} of {len(orders)} stand in it twice")
    for name in ("order_id", "attempted_at", "amount_cents"):
        if orders[name].isna().any():
            raise DataFailed(f"orders to decide: {name} is missing in {int(orders[name].isna().sum())} rows")
    if probabilities is not None and len(probabilities) != len(orders):
        raise DataFailed(f"orders to decide: {len(probabilities)} probabilities for {len(orders)} orders")


def _shop_days(orders: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Each order's shop day; where the frame does not say, the UTC day of its attempt."""
    column = "attempt_date" if "attempt_date" in orders.columns else "attempted_at"
    moments = pd.to_datetime(orders[column], utc=column == "attempted_at")
    return np.asarray(moments.dt.date.to_numpy(), dtype=object)


def _sequence(orders: pd.DataFrame) -> Ranks:
    """Positions of the orders in the order of events."""
    keys = (orders["order_id"].astype(str).to_numpy(), rules.nanoseconds(orders["attempted_at"]))
    return np.lexsort(keys)


def _by_day(used: Used, days: npt.NDArray[np.object_]) -> dict[date, int]:
    known = set(days.tolist())
    if used is None:
        return dict.fromkeys(known, 0)
    if isinstance(used, int):
        return dict.fromkeys(known, used)
    return {day: int(used.get(day, 0)) for day in known}


def _on(listed: Mapping[str, Flags], name: str, n: int) -> Flags:
    meant = np.zeros(n, dtype=np.bool_)
    for found, flags in listed.items():
        if found.startswith(f"{name}:"):
            meant |= flags
    return meant


def _nearest(policy: Policy, rank: int) -> int:
    """The strictest action of the policy that is no stricter than this one."""
    return max(ACTIONS.index(action) for action in policy.actions if ACTIONS.index(action) <= rank)


def _asked_by_rules(policy: Policy, said: Mapping[str, Floats], is_capped: Mapping[str, Flags], n: int) -> Ranks:
    """The strictest action that the rules ask for, shape (n,)."""
    asked = np.zeros(n, dtype=np.int64)
    for rule in policy.rules:
        rank = np.where(is_capped[rule.name], ACTIONS.index(policy.below_decline), ACTIONS.index(rule.action))
        asked = np.maximum(asked, np.where(said[rule.name] == 1.0, rank, 0))
    return asked


def _group_aware(probability: Floats, orders: pd.DataFrame, policy: Policy) -> Floats:
    """The probability that costs are weighed by; a group is looked at only while the policy's switch is on."""
    if not policy.fairness.group_aware:
        return probability
    if GROUP_COLUMN not in orders.columns:
        raise DataFailed(f"orders to decide: a group-aware policy needs the column {GROUP_COLUMN}")
    factors = orders[GROUP_COLUMN].map(dict(policy.fairness.probability_factors)).astype(float).fillna(1.0).to_numpy()
    return np.minimum(probability * factors, 1.0)


def _cheapest(costs: Floats, allowed: Flags, certain: Ranks) -> Ranks:
    """The least expected cost among the actions at least as strict as what is certain; the mildest of equals.

    Where no allowed action is as strict as that, what is certain.
    """
    choosable = allowed[None, :] & (np.arange(len(ACTIONS))[None, :] >= certain[:, None])
    return np.where(choosable.any(axis=1), np.where(choosable, costs, np.inf).argmin(axis=1), certain)


def _unserved(
    action: Ranks,
    costs: Floats,
    allowed: Flags,
    certain: Ranks,
    is_open: Flags,
    policy: Policy,
    days: npt.NDArray[np.object_],
    left: dict[date, int],
) -> Flags:
    """Orders that the model would have reviewed, and that the day's reviewers are not for.

    Reviews that a rule, a list or the stand-in asks for come first; of the model's, those that save most.
    """
    asked = (action == _REVIEW) & is_open & (certain < _REVIEW)
    for day in days[(action == _REVIEW) & ~asked].tolist():
        left[day] -= 1
    choosable = allowed[None, :] & (np.arange(len(ACTIONS))[None, :] >= certain[:, None])
    choosable[:, _REVIEW] = False
    others = np.where(choosable, costs, np.inf).min(axis=1)
    saving = others - costs[:, _REVIEW]
    unserved: Flags = asked & (saving < policy.reviews.minimum_saving_cents)
    waiting = np.flatnonzero(asked & ~unserved)
    for position in waiting[np.argsort(-saving[waiting], kind="stable")].tolist():
        unserved[position] = left[days[position]] <= 0
        left[days[position]] -= 1
    return unserved


def _traces(chosen: Chosen, policy: Policy, n: int) -> list[list[dict[str, Any]]]:
    """What each rule and list said of each order; `matched` is None where a missing value left a rule open."""
    traces: list[list[dict[str, Any]]] = [[] for _ in range(n)]
    for name, meant in chosen.lists.items():
        asked = _LIST_ACTIONS[name.partition(":")[0]]
        for position in np.flatnonzero(meant).tolist():
            traces[position].append(_told(name, "list", True, asked, False, f"On the {name.replace(':', ' list: ')}"))
    for rule in policy.rules:
        said, capped = chosen.said[rule.name].tolist(), chosen.capped[rule.name].tolist()
        for trace, one, is_capped in zip(traces, said, capped, strict=True):
            matched = None if one != one else one == 1.0
            trace.append(_told(rule.name, "rule", matched, rule.action, is_capped, rule.why))
    return traces


def _told(rule: str, kind: str, matched: bool | None, action: str, capped: bool, why: str) -> dict[str, Any]:
    return {"rule": rule, "kind": kind, "matched": matched, "action": action, "capped": capped, "why": why}
