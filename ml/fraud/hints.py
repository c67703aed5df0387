"""What would have changed a decision: the probability, the signals and the amount at which a milder action costs less.

A hint speaks of the model and of the policy's costs. Lists, rules, exploration and the reviewers' day come on top of
them, so a decision that one of those made says so instead.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.features import with_derived
from ml.fraud.order_table import OrderTable, order_table
from ml.fraud.policy import ACTIONS, Policy, costs_of
from ml.fraud.protocols import BIAS, FraudScorer
from ml.fraud.reason_titles import title_of
from ml.fraud.reasons import group_contributions

Floats = npt.NDArray[np.float64]

_GRID = 400
_AMOUNTS = 40
# More signals than this are no hint but a different order.
_MAX_SIGNALS = 3
_DONE = {"approve": "approved", "challenge": "challenged", "review": "reviewed", "decline": "declined"}
_STRICTNESS: Mapping[str, int] = {action: place for place, action in enumerate(ACTIONS)}
_MADE_BY = {
    "list": "An entry of a list decided, whatever the model says",
    "rule": "A rule decided; by probability and costs alone it would have been {action}",
    "standin": "No model scored the order: the stand-in's limits decided",
}


@dataclass(frozen=True)
class Asked:
    """One order that a hint is about.

    Attributes:
        order: A table of one row.
        probability, amount: Of the order.
        probabilities_at: Of the same order at other amounts.
        signals: Groups of reasons and what each adds to the log-odds; and the log-odds as a whole.
    """

    order: OrderTable
    probability: float
    amount: float
    probabilities_at: Callable[[Floats], Floats]
    signals: Callable[[], tuple[Mapping[str, float], float]]


def what_would_change(
    row: pd.DataFrame | pd.Series | Mapping[str, Any],
    model: FraudScorer | None,
    policy: Policy,
    decided: Mapping[str, Any] | None = None,
) -> str | None:
    """What would have led to a milder action; None where nothing is milder, or nothing is known.

    Args:
        row: One order: a row of `feat_order_risk`, derived features included or not.
        decided: The decision's `action` and `source`; without it, the hint speaks of what the costs prefer.
    """
    order = _one_row(row)
    if model is None:
        return hint_of(None, policy, decided)
    inputs = with_derived(order)

    def signals() -> tuple[Mapping[str, float], float]:
        grouped = group_contributions(model.contributions(inputs)).iloc[0]
        return {str(code): float(grouped[code]) for code in grouped.index if code != BIAS}, float(grouped.sum())

    def probabilities_at(amounts: Floats) -> Floats:
        repeated = order.iloc[np.zeros(len(amounts), dtype=int)].reset_index(drop=True).assign(amount_cents=amounts)
        return model.probabilities(with_derived(repeated))

    amount = float(pd.to_numeric(order["amount_cents"]).iloc[0])
    probability = float(model.probabilities(inputs)[0])
    return hint_of(Asked(order_table(order), probability, amount, probabilities_at, signals), policy, decided)


def hint_of(asked: Asked | None, policy: Policy, decided: Mapping[str, Any] | None = None) -> str | None:
    """`what_would_change` of an order that is read already; None for one that no model scored."""
    source = str(decided["source"]) if decided else "model"
    if source in ("list", "standin"):
        return _MADE_BY[source]
    if asked is None:
        return None
    probability, amount = asked.probability, asked.amount
    if not (np.isfinite(probability) and np.isfinite(amount) and amount >= 0):
        return None
    preferred = ACTIONS[_preferred(asked.order, np.array([probability]), np.array([amount]), policy)[0]]
    action = str(decided["action"]) if decided else preferred
    if source == "rule":
        return _MADE_BY["rule"].format(action=_DONE[preferred])
    if action != preferred:  # exploration or the reviewers' day made something else of it
        return f"By probability and costs alone it would have been {_DONE[preferred]}"
    if action == ACTIONS[0]:
        return None
    milder = _milder_below(asked, _STRICTNESS[action], policy)
    if milder is None:
        return None
    threshold, target = milder
    below = f"below a probability of {_percent(threshold)}; it is {_percent(probability)}"
    said = f"It would have been {_DONE[ACTIONS[target]]} {below}"
    more = [_signals(asked, threshold), _amount(asked, _STRICTNESS[action], policy)]
    return ". ".join([said, *(one for one in more if one is not None)])


def _one_row(row: pd.DataFrame | pd.Series | Mapping[str, Any]) -> pd.DataFrame:
    frame = row if isinstance(row, pd.DataFrame) else pd.DataFrame([dict(row)]).infer_objects()
    assert len(frame) == 1, f"a hint is about one order, not {len(frame)}"
    return frame.reset_index(drop=True)


def _preferred(order: OrderTable, probability: Floats, amount: Floats, policy: Policy) -> npt.NDArray[np.int64]:
    """The cheapest action at each probability and amount; a review has to save what the policy asks of it."""
    # Segments may be told apart by the amount.
    costs = costs_of(probability, amount, order.repeated(len(amount), amount_cents=amount), policy)
    costs = np.where([action in policy.actions for action in ACTIONS], costs, np.inf)
    others = np.delete(costs, _STRICTNESS["review"], axis=1).min(axis=1)
    review = costs[:, _STRICTNESS["review"]]
    with np.errstate(invalid="ignore"):  # a policy without reviews asks for none
        is_worth = others - review >= policy.reviews.minimum_saving_cents
    costs[:, _STRICTNESS["review"]] = np.where(is_worth, review, np.inf)
    return np.asarray(costs.argmin(axis=1))


def _milder_below(asked: Asked, action: int, policy: Policy) -> tuple[float, int] | None:
    """The largest probability below the order's at which a milder action is preferred, and that action."""
    above, below, target = asked.probability, 0.0, None
    for _refined in range(2):
        grid = np.linspace(above, below, _GRID)
        found = _preferred(asked.order, grid, np.full(_GRID, asked.amount), policy)
        milder = np.flatnonzero(found < action)
        if not len(milder):
            return None
        place = int(milder[0])
        above, below, target = float(grid[max(place - 1, 0)]), float(grid[place]), int(found[place])
    assert target is not None
    return below, target


def _signals(asked: Asked, threshold: float) -> str | None:
    """The fewest groups of signals, the strongest first, without which the probability is below the threshold."""
    if threshold <= 0:
        return None
    signals, margin = asked.signals()
    wanted = float(np.log(threshold / (1 - threshold)))
    raising = [(code, share) for code, share in sorted(signals.items(), key=lambda one: -one[1]) if share > 0]
    raising = raising[:_MAX_SIGNALS]
    for code, share in raising:
        if margin - share < wanted:
            return f"So it would without: {title_of(code)}"
    left = margin
    for count, (_, share) in enumerate(raising, start=1):
        left -= share
        if left < wanted:
            return f"So it would without: {', '.join(title_of(code) for code, _ in raising[:count])}"
    return None


def _amount(asked: Asked, action: int, policy: Policy) -> str | None:
    """The largest amount of a grid at which the model and the costs together prefer a milder action."""
    amounts = np.unique(np.round(np.linspace(0, asked.amount, _AMOUNTS + 1)[1:-1]))[::-1]
    if not len(amounts):
        return None
    probabilities = asked.probabilities_at(amounts)
    known = np.isfinite(probabilities)
    found = _preferred(asked.order, probabilities[known], amounts[known], policy)
    milder = np.flatnonzero(found < action)
    if not len(milder):
        return None
    cents, other = amounts[known][milder[0]], ACTIONS[found[milder[0]]]
    return f"At an amount of {cents / 100:,.2f} instead of {asked.amount / 100:,.2f} it would have been {_DONE[other]}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
