"""What happens to an order: lists, rules, and the cheapest action; within the reviewers' day, with some exploration.

One pure function for the batch, the API and the backtest. The order of say, from the strongest:

1. A block list declines. An allow list approves what no block list means. A watch list asks for review at least.
2. Each rule that is true asks for its action at least; one whose circuit breaker stands open, for less than decline.
3. The model asks for the action of the least expected cost; to review go those that save most, while the day has
   reviewers. Without a probability, the stand-in approves within its limits. Where the probability is of a model that
   knows less, both are asked and the stricter counts.
4. Of what would be declined (but not by a block list), a small share is let through to review, so that labels of such
   orders become known. The chance of that is written down with every order as its propensity.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.fraud import rules
from ml.fraud.exploration import explore
from ml.fraud.expression_values import Floats
from ml.fraud.fields import SCORE
from ml.fraud.lists import ListIndex
from ml.fraud.order_table import OrderTable
from ml.fraud.policy import ACTIONS, GROUP_COLUMN, Policy, costs_of, segment_of
from ml.fraud.standin import assumed_probability, standin_actions

Ranks = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Days = npt.NDArray[np.object_]

_APPROVE, _CHALLENGE, _REVIEW, _DECLINE = range(4)
_LIST_ACTIONS = {"block": "decline", "watch": "review", "allow": "approve"}


@dataclass(frozen=True)
class Waiting:
    """n orders that wait for their decision.

    Attributes:
        table: amount_cents, fields of rules, columns of entities and of the segments where there are any.
        ids: Of orders, texts; ties in time are told apart by them, and exploration is drawn by them.
        times: When they were attempted, nanoseconds since 1970.
        days: Shop day of each, as `Used` names it.
        probabilities: Of fraud; NaN where no model scored an order.
        is_limited: Where the probability is of a model that knows less: the stand-in's limits apply as well.
    """

    table: OrderTable
    ids: npt.NDArray[np.object_]
    times: npt.NDArray[np.int64]
    days: Days
    probabilities: Floats
    is_limited: Flags


@dataclass(frozen=True)
class Used:
    """What earlier decisions took of the days' caps, by shop day; nothing for a day that is absent."""

    reviews: Mapping[Any, int] = field(default_factory=dict)
    explored: Mapping[Any, int] = field(default_factory=dict)
    standin_cents: Mapping[Any, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Chosen:
    """What was decided about n orders, before it is written out.

    Attributes:
        action: Index into `ACTIONS`, shape (n,).
        source: What decided: model, rule, list or standin.
        costs: Expected cost of each action, shape (n, 4), in the order of `ACTIONS`; cents.
        lists: What `ListIndex.meant` found.
        said: What `rules.matches` found.
        capped: What `rules.capped` found.
        is_explored: Let through to review by chance.
        is_weighed: Sent to review because it saves most, within the reviewers' day; the other reviews were asked for.
        is_let_through: Approved because the stand-in's limits allow it.
        segments: What `segment_of` found.
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
    is_explored: Flags
    is_weighed: Flags
    is_let_through: Flags
    segments: Ranks


def choose_among(
    waiting: Waiting, policy: Policy, lists: ListIndex, history: rules.RuleHistory, used: Used, seed: int
) -> Chosen:
    """Decide orders, without the words.

    Args:
        seed: Of exploration.

    Raises:
        DataFailed: A probability or an amount is not one.
    """
    n, given, days = waiting.table.n, waiting.probabilities, waiting.days
    table = waiting.table.with_numbers(**{SCORE: given})
    by_model = ~np.isnan(given)
    sequence = np.lexsort((waiting.ids, waiting.times)) if n > 1 else np.zeros(n, dtype=np.int64)
    listed = lists.meant(table, waiting.times)
    said = rules.matches(table, policy.rules)
    is_capped = rules.capped(waiting.times, sequence, said, policy.rules, history)
    by_rules = _asked_by_rules(policy, said, is_capped, n)
    block, allow, watch = (_on(listed, name, n) for name in ("block", "allow", "watch"))
    segments = segment_of(table, policy)
    weighed = np.where(by_model, _group_aware(given, table, policy), assumed_probability(segments, policy))
    costs = costs_of(weighed, table.numbers("amount_cents"), table, policy, segments)
    allowed = np.array([action in policy.actions for action in ACTIONS])

    is_bound = (~by_model | waiting.is_limited) & ~block & ~allow
    standin = standin_actions(table, policy, is_bound, sequence, days, _of(used.standin_cents, days), segments)
    settled = np.where(block, _nearest(policy, _DECLINE), np.where(allow, _APPROVE, -1))
    asked = np.maximum(by_rules, watch * _nearest(policy, _REVIEW))
    certain = np.where(settled >= 0, settled, np.maximum(asked, standin))
    is_open = by_model & (settled < 0)
    # What only the stand-in asks for is no reason for the model to go further than it would.
    wanted = np.where(is_open, _cheapest(costs, allowed, asked), certain)
    action = np.where(is_open, np.maximum(wanted, standin), certain)
    left = {day: policy.reviews.per_day - count for day, count in _of(used.reviews, days).items()}
    unserved = _unserved(action, costs, allowed, certain, is_open, policy, days, left)
    not_reviewed = allowed & _NOT_REVIEW
    if unserved.any():
        action = np.where(unserved, _cheapest(costs, not_reviewed, certain), action)

    would_decline = action == _DECLINE
    explored, propensity = explore(
        waiting.ids, would_decline & ~block, sequence, days, policy.exploration, _of(used.explored, days), seed
    )
    propensity = np.where(would_decline, propensity, 1.0)

    preferred = _cheapest(costs, allowed, np.zeros(n, dtype=np.int64))
    alone = np.where(by_model, np.maximum(preferred, standin), standin)
    is_list = (settled >= 0) | (asked > np.maximum(by_rules, alone))
    by_standin = ~by_model | (standin > preferred)
    source = np.where(by_standin, _STANDIN, _MODEL)
    source[by_rules > alone], source[is_list] = "rule", "list"
    saving = np.where(not_reviewed, costs, np.inf).min(axis=1) - costs[:, _REVIEW]
    return Chosen(
        action=np.where(explored, _REVIEW, action), source=source, would_decline=would_decline, propensity=propensity,
        costs=costs, saving=saving, lists=listed, said=said, capped=is_capped, is_explored=explored,
        is_weighed=(action == _REVIEW) & is_open & (certain < _REVIEW),
        is_let_through=is_bound & (action == _APPROVE), segments=segments,
    )  # fmt: skip


_NOT_REVIEW = np.arange(len(ACTIONS)) != _REVIEW
_RANKS = np.arange(len(ACTIONS))[None, :]
_STANDIN, _MODEL = np.array("standin", dtype=object), np.array("model", dtype=object)


def _of(used: Mapping[Any, int], days: Days) -> dict[Any, int]:
    return {day: int(used.get(day, 0)) for day in set(days.tolist())}


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
    if not policy.rules:
        return np.zeros(n, dtype=np.int64)
    strictest, below_decline = np.zeros(n, dtype=np.int64), ACTIONS.index(policy.below_decline)
    for rule in policy.rules:
        is_true = said[rule.name] == 1.0
        if is_true.any():
            asked = np.where(is_capped[rule.name], below_decline, ACTIONS.index(rule.action))
            np.maximum(strictest, np.where(is_true, asked, 0), out=strictest)
    return strictest


def _group_aware(probability: Floats, orders: OrderTable, policy: Policy) -> Floats:
    """The probability that costs are weighed by; a group is looked at only while the policy's switch is on."""
    if not policy.fairness.group_aware:
        return probability
    known = dict(policy.fairness.probability_factors)
    factors = np.array([known.get(group, 1.0) for group in orders.texts(GROUP_COLUMN).tolist()])
    return np.asarray(np.minimum(probability * factors, 1.0))


def _cheapest(costs: Floats, allowed: Flags, certain: Ranks) -> Ranks:
    """The least expected cost among the actions at least as strict as what is certain; the mildest of equals.

    Where no allowed action is as strict as that, what is certain.
    """
    choosable = allowed[None, :] & (certain[:, None] <= _RANKS)
    return np.where(choosable.any(axis=1), np.where(choosable, costs, np.inf).argmin(axis=1), certain)


def _unserved(
    action: Ranks,
    costs: Floats,
    allowed: Flags,
    certain: Ranks,
    is_open: Flags,
    policy: Policy,
    days: Days,
    left: dict[Any, int],
) -> Flags:
    """Orders that the model would have reviewed, and that the day's reviewers are not for.

    Reviews that a rule, a list or the stand-in asks for come first; of the model's, those that save most.
    """
    asked: Flags = (action == _REVIEW) & is_open & (certain < _REVIEW)
    if not asked.any():
        return asked
    for day in days[(action == _REVIEW) & ~asked].tolist():
        left[day] -= 1
    choosable = allowed[None, :] & (certain[:, None] <= _RANKS)
    choosable[:, _REVIEW] = False
    others = np.where(choosable, costs, np.inf).min(axis=1)
    saving = others - costs[:, _REVIEW]
    unserved: Flags = asked & (saving < policy.reviews.minimum_saving_cents)
    waiting = np.flatnonzero(asked & ~unserved)
    for position in waiting[np.argsort(-saving[waiting], kind="stable")].tolist():
        unserved[position] = left[days[position]] <= 0
        left[days[position]] -= 1
    return unserved


def trace_of(chosen: Chosen, policy: Policy, n: int) -> list[list[dict[str, Any]]]:
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
