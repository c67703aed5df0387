"""Rules beside the model: which orders each matches, and the circuit breaker that caps what one may decline."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.expression_values import Floats, truths
from ml.fraud.order_table import Orders, order_table
from ml.fraud.policy import ACTIONS, Breaker, Policy, Rule

HIT_COLUMNS = ("rule", "policy_version", "order_id", "ordered_at", "action", "is_capped")
_HOUR = 3_600_000_000_000  # nanoseconds
Moments = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RuleHistory:
    """What the rules' circuit breakers count, of orders decided before (not those that are being decided).

    Whoever keeps it may drop what is older than the longest `Breaker.window_hours` of the policy.

    Attributes:
        declines: Rule -> when the orders were attempted that it matched with action decline while it was not capped;
            nanoseconds since 1970, sorted, one per order.
        orders: When all decided orders were attempted; nanoseconds since 1970, sorted.
    """

    declines: Mapping[str, Sequence[int]] = field(default_factory=dict)
    orders: Sequence[int] = ()


def matches(orders: Orders, rules: Sequence[Rule]) -> dict[str, Floats]:
    """Rule -> 1.0 where it is true of the order, 0.0 where it is not, NaN where a missing value leaves it open."""
    table = order_table(orders)
    return {rule.name: truths(rule.when, table) for rule in rules}


def rule_score(orders: Orders, policy: Policy) -> Floats:
    """Orders ranked by rules alone, shape (n,): the strictest action asked for, then how many rules ask."""
    table = order_table(orders)
    said = matches(table, policy.rules)
    strictest, count = np.zeros(table.n), np.zeros(table.n)
    for rule in policy.rules:
        is_true = said[rule.name] == 1.0
        strictest = np.maximum(strictest, is_true * float(ACTIONS.index(rule.action)))
        count += is_true
    return strictest + count / (len(policy.rules) + 1)


def capped(
    times: Moments,
    sequence: Moments,
    said: Mapping[str, Floats],
    rules: Sequence[Rule],
    history: RuleHistory,
) -> dict[str, npt.NDArray[np.bool_]]:
    """Rule -> orders of which its circuit breaker stood open, so that it may not decline them; shape (n,).

    Orders are taken in the order of (attempted_at, order_id), so one batch and many small ones cap the same.

    Args:
        times: When the orders were attempted, nanoseconds since 1970.
        sequence: Positions of the orders in the order of events.
        history: Limits that are a share count its orders and these.
    """
    found: dict[str, npt.NDArray[np.bool_]] = {}
    for rule in rules:
        is_over = np.zeros(len(times), dtype=np.bool_)
        if rule.action == "decline":
            matched = sequence[said[rule.name][sequence] == 1.0]
            if len(matched):
                declined = history.declines.get(rule.name, ())
                is_over[matched] = _over(times[matched], declined, times[sequence], history.orders, rule.breaker)
        found[rule.name] = is_over
    return found


def history_of(
    orders: pd.DataFrame, past_hits: pd.DataFrame | None, past_orders: Sequence[Any] | pd.Series | None
) -> RuleHistory:
    """What a record of orders decided before tells.

    Args:
        orders: Those being decided: their own hits are left out, so that a repeated run counts nothing twice.
        past_hits: Columns rule, order_id, ordered_at, action, is_capped.
        past_orders: When the orders decided before were attempted; without them a share is of `orders` alone.
    """
    everyone = np.sort(nanoseconds(past_orders)).tolist()
    if past_hits is None or past_hits.empty:
        return RuleHistory({}, everyone)
    counted = past_hits[
        (past_hits["action"] == "decline")
        & ~past_hits["is_capped"].astype(bool)
        & ~past_hits["order_id"].isin(orders["order_id"])
    ].drop_duplicates(["rule", "order_id"])
    declines = {
        str(rule): np.sort(nanoseconds(times)).tolist() for rule, times in counted.groupby("rule")["ordered_at"]
    }
    return RuleHistory(declines, everyone)


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


def _over(
    moments: Moments, before: Sequence[int], batch: Moments, earlier: Sequence[int], breaker: Breaker
) -> npt.NDArray[np.bool_]:
    """Which of a rule's own hits, in order of time, come when [t - window, t] holds all that it may decline."""
    window = int(breaker.window_hours * _HOUR)
    starts = moments - window
    orders_in_window = np.searchsorted(batch, moments, "left") - np.searchsorted(batch, starts, "left")
    if breaker.share > 0:
        orders_in_window += np.array(
            [bisect_left(earlier, until) - bisect_left(earlier, start) for until, start in _pairs(moments, starts)]
        )
    allowed = np.maximum(breaker.declines, np.floor(breaker.share * orders_in_window)).astype(np.int64)
    declined: deque[int] = deque()
    begin, end = bisect_left(before, int(starts[0])), bisect_right(before, int(moments[-1]))
    waiting = deque(before[begin:end])
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


def _pairs(moments: Moments, starts: Moments) -> Iterator[tuple[int, int]]:
    return zip(moments.tolist(), starts.tolist(), strict=True)
