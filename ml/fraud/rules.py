"""Rules beside the model: which orders each matches, and the circuit breaker that caps what one may decline."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.expression_values import Floats, truths
from ml.fraud.policy import ACTIONS, Breaker, Policy, Rule

HIT_COLUMNS = ("rule", "policy_version", "order_id", "ordered_at", "action", "is_capped")
_HOUR = 3_600_000_000_000  # nanoseconds
Moments = npt.NDArray[np.int64]


def matches(orders: pd.DataFrame, rules: Sequence[Rule]) -> dict[str, Floats]:
    """Rule -> 1.0 where it is true of the order, 0.0 where it is not, NaN where a missing value leaves it open."""
    return {rule.name: truths(rule.when, orders) for rule in rules}


def rule_score(orders: pd.DataFrame, policy: Policy) -> Floats:
    """Orders ranked by rules alone, shape (n,): the strictest action asked for, then how many rules ask."""
    said = matches(orders, policy.rules)
    strictest, count = np.zeros(len(orders)), np.zeros(len(orders))
    for rule in policy.rules:
        is_true = said[rule.name] == 1.0
        strictest = np.maximum(strictest, is_true * float(ACTIONS.index(rule.action)))
        count += is_true
    return strictest + count / (len(policy.rules) + 1)


def capped(
    orders: pd.DataFrame,
    said: Mapping[str, Floats],
    rules: Sequence[Rule],
    past_hits: pd.DataFrame | None,
    past_orders: Sequence[Any] | pd.Series | None = None,
) -> dict[str, npt.NDArray[np.bool_]]:
    """Rule -> orders of which its circuit breaker stood open, so that it may not decline them; shape (n,).

    Orders are taken in the order of (attempted_at, order_id), so one batch and many small ones cap the same.

    Args:
        past_hits: Columns rule, order_id, ordered_at, action, is_capped of orders decided before; those of `orders`
            themselves are left out, so that a repeated run counts nothing twice.
        past_orders: When the orders decided before were attempted, for limits that are a share; without them the
            share is of these orders alone.
    """
    times = nanoseconds(orders["attempted_at"])
    sequence = np.lexsort((orders["order_id"].astype(str).to_numpy(), times))
    everyone = np.sort(np.concatenate([times, nanoseconds(past_orders)]))
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for rule in rules:
        is_over = np.zeros(len(orders), dtype=np.bool_)
        if rule.action == "decline":
            matched = sequence[said[rule.name][sequence] == 1.0]
            before = _declined_before(rule.name, orders, past_hits)
            is_over[matched] = _over(times[matched], before, everyone, rule.breaker)
        found[rule.name] = is_over
    return found


def hits(decided: pd.DataFrame, orders: pd.DataFrame, policy: Policy) -> pd.DataFrame:
    """What to record of the rules that matched, one row per rule and order: `HIT_COLUMNS`.

    Args:
        decided: What `decide` returned for `orders`.
    """
    rows = [
        (one["rule"], policy.version, order_id, moment, one["action"], bool(one["capped"]))
        for order_id, moment, trace in zip(
            decided["order_id"], pd.to_datetime(orders["attempted_at"], utc=True), decided["rule_trace"], strict=True
        )
        for one in trace
        if one["kind"] == "rule" and one["matched"]
    ]
    return pd.DataFrame(rows, columns=list(HIT_COLUMNS))


def nanoseconds(moments: Sequence[Any] | pd.Series | None) -> Moments:
    """Moments as nanoseconds since 1970, UTC; none are an empty array."""
    if moments is None or len(moments) == 0:
        return np.empty(0, dtype=np.int64)
    instants = pd.DatetimeIndex(pd.to_datetime(pd.Series(moments), utc=True))
    return np.asarray(instants.as_unit("ns").asi8, dtype=np.int64)


def _declined_before(rule: str, orders: pd.DataFrame, past_hits: pd.DataFrame | None) -> Moments:
    if past_hits is None or past_hits.empty:
        return np.empty(0, dtype=np.int64)
    counted = past_hits[
        (past_hits["rule"] == rule)
        & (past_hits["action"] == "decline")
        & ~past_hits["is_capped"].astype(bool)
        & ~past_hits["order_id"].isin(orders["order_id"])
    ].drop_duplicates("order_id")
    return np.sort(nanoseconds(counted["ordered_at"]))


def _over(moments: Moments, before: Moments, everyone: Moments, breaker: Breaker) -> npt.NDArray[np.bool_]:
    """Which of a rule's own hits, in order of time, come when [t - window, t] holds all that it may decline."""
    window = int(breaker.window_hours * _HOUR)
    orders_in_window = np.searchsorted(everyone, moments, "left") - np.searchsorted(everyone, moments - window, "left")
    allowed = np.maximum(breaker.declines, np.floor(breaker.share * orders_in_window)).astype(np.int64)
    declined: deque[int] = deque()
    waiting = deque(before.tolist())
    is_over = np.zeros(len(moments), dtype=np.bool_)
    for position, moment in enumerate(moments.tolist()):
        while waiting and waiting[0] <= moment:
            declined.append(waiting.popleft())
        while declined and declined[0] < moment - window:
            declined.popleft()
        is_over[position] = len(declined) >= allowed[position]
        if not is_over[position]:
            declined.append(moment)
    return is_over
