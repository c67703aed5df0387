"""What would have changed a decision: the probability, the signals and the amount at which a milder action costs less.

A hint speaks of the model and of the policy's costs. Lists, rules, exploration and the reviewers' day come on top of
them, so a decision that one of those made says so instead.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.features import with_derived
from ml.fraud.policy import ACTIONS, Policy, expected_costs
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
    source = str(decided["source"]) if decided else "model"
    if source in ("list", "standin"):
        return _MADE_BY[source]
    if model is None:
        return None
    inputs = with_derived(order)
    probability = float(model.probabilities(inputs)[0])
    amount = float(pd.to_numeric(order["amount_cents"]).iloc[0])
    if not (np.isfinite(probability) and np.isfinite(amount) and amount >= 0):
        return None
    preferred = _preferred(order, np.array([probability]), np.array([amount]), policy)[0]
    action = str(decided["action"]) if decided else preferred
    if source == "rule":
        return _MADE_BY["rule"].format(action=_DONE[preferred])
    if action != preferred:  # exploration or the reviewers' day made something else of it
        return f"By probability and costs alone it would have been {_DONE[preferred]}"
    if action == ACTIONS[0]:
        return None
    milder = _milder_below(order, probability, amount, action, policy)
    if milder is None:
        return None
    threshold, target = milder
    below = f"below a probability of {_percent(threshold)}; it is {_percent(probability)}"
    said = f"It would have been {_DONE[target]} {below}"
    more = [_signals(model, inputs, threshold), _amount(model, order, amount, action, policy)]
    return ". ".join([said, *(one for one in more if one is not None)])


def _one_row(row: pd.DataFrame | pd.Series | Mapping[str, Any]) -> pd.DataFrame:
    frame = row if isinstance(row, pd.DataFrame) else pd.DataFrame([dict(row)]).infer_objects()
    assert len(frame) == 1, f"a hint is about one order, not {len(frame)}"
    return frame.reset_index(drop=True)


def _preferred(order: pd.DataFrame, probability: Floats, amount: Floats, policy: Policy) -> list[str]:
    """The cheapest action at each probability and amount; a review has to save what the policy asks of it."""
    repeated = order.iloc[np.zeros(len(probability), dtype=int)].reset_index(drop=True)
    if "amount_cents" in repeated:  # segments may be told apart by it
        repeated = repeated.assign(amount_cents=amount)
    costs = expected_costs(probability, amount, repeated, policy)[list(policy.actions)]
    if "review" in costs:
        others = costs.drop(columns="review")
        is_worth = others.min(axis=1) - costs["review"] >= policy.reviews.minimum_saving_cents
        costs = costs.assign(review=costs["review"].where(is_worth, np.inf))
    return [str(action) for action in costs.idxmin(axis=1)]


def _milder_below(
    order: pd.DataFrame, probability: float, amount: float, action: str, policy: Policy
) -> tuple[float, str] | None:
    """The largest probability below the order's at which a milder action is preferred, and that action."""
    above, below, target = probability, 0.0, None
    for _refined in range(2):
        grid = np.linspace(above, below, _GRID)
        found = _preferred(order, grid, np.full(_GRID, amount), policy)
        place = next((at for at, other in enumerate(found) if _is_milder(other, action)), None)
        if place is None:
            return None
        above, below, target = float(grid[max(place - 1, 0)]), float(grid[place]), found[place]
    assert target is not None
    return below, target


def _is_milder(other: str, action: str) -> bool:
    return _STRICTNESS[other] < _STRICTNESS[action]


def _signals(model: FraudScorer, inputs: pd.DataFrame, threshold: float) -> str | None:
    """The fewest groups of signals, the strongest first, without which the probability is below the threshold."""
    if threshold <= 0:
        return None
    grouped = group_contributions(model.contributions(inputs)).iloc[0]
    wanted = float(np.log(threshold / (1 - threshold)))
    margin, raising = float(grouped.sum()), grouped.drop(labels=BIAS).sort_values(ascending=False)
    raising = raising[raising > 0][:_MAX_SIGNALS]
    single = raising[margin - raising < wanted]
    if len(single):
        return f"So it would without: {title_of(str(single.index[0]))}"
    enough = np.flatnonzero(margin - raising.cumsum().to_numpy() < wanted)
    if not len(enough):
        return None
    return f"So it would without: {', '.join(title_of(str(code)) for code in raising.index[: enough[0] + 1])}"


def _amount(model: FraudScorer, order: pd.DataFrame, amount: float, action: str, policy: Policy) -> str | None:
    """The largest amount of a grid at which the model and the costs together prefer a milder action."""
    amounts = np.unique(np.round(np.linspace(0, amount, _AMOUNTS + 1)[1:-1]))[::-1]
    if not len(amounts):
        return None
    repeated = order.iloc[np.zeros(len(amounts), dtype=int)].reset_index(drop=True).assign(amount_cents=amounts)
    probabilities = model.probabilities(with_derived(repeated))
    known = np.isfinite(probabilities)
    found = _preferred(order, probabilities[known], amounts[known], policy)
    for cents, other in zip(amounts[known], found, strict=True):
        if ACTIONS.index(other) < ACTIONS.index(action):
            return (
                f"At an amount of {cents / 100:,.2f} instead of {amount / 100:,.2f} it would have been {_DONE[other]}"
            )
    return None


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
