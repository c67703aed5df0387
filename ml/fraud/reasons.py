"""Why an order was judged as it was, in words a person understands, from exact contributions.

The model splits its margin (log-odds) exactly into one contribution per feature. Each feature belongs to exactly one
group, found by rules on its name; groups and the bias add up to the margin. A group tells the value that moved it
most, beside what is usual.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.feature_names import group_of
from ml.fraud.reason_texts import say

BIAS = "bias"


class ReasonGroups:
    """The groups of a model's features, found once."""

    def __init__(self, features: Sequence[str]) -> None:
        self._features = tuple(features)
        places: dict[str, list[int]] = {}
        for place, feature in enumerate(features):
            places.setdefault(group_of(feature), []).append(place)
        self.codes = tuple(places)
        self._members = list(places.values())
        self._by_group = np.array([place for members in self._members for place in members], dtype=np.intp)
        self._starts = np.cumsum([0, *(len(members) for members in self._members)])[:-1]

    def sums(self, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Contributions of each group, rows x groups.

        Args:
            shares: Rows x features; what stands behind them, such as the bias, is left out.
        """
        if not self.codes:
            return np.zeros((len(shares), 0))
        return np.asarray(np.add.reduceat(shares.take(self._by_group, axis=1), self._starts, axis=1))

    def reasons(
        self,
        row: Mapping[Hashable, Any],
        weights: Sequence[float],
        sums: npt.NDArray[np.float64],
        limit: int | None = 5,
    ) -> list[dict[str, Any]]:
        """The reasons of one order, the most important first; see `reason_codes`.

        Args:
            weights: Contributions of its features; what stands behind them is left out.
            sums: What `sums` says of them, shape (groups,).
        """
        order = np.argsort(-np.abs(sums), kind="stable")[:limit].tolist()
        totals = sums.tolist()
        return [
            _reason(row, self.codes[group], totals[group], self._by_weight(weights, group, totals[group]))
            for group in order
            if totals[group] != 0
        ]

    def _by_weight(self, weights: Sequence[float], group: int, total: float) -> list[str]:
        """A group's features, those first that moved it most in the direction in which it moved."""
        members = sorted(self._members[group], key=weights.__getitem__, reverse=total > 0)
        return [self._features[place] for place in members]


def group_contributions(contributions: pd.DataFrame) -> pd.DataFrame:
    """Contributions summed by group, with the bias as it is; each row adds up to the same margin.

    Args:
        contributions: One column per feature and `bias`, in log-odds.
    """
    features = [str(name) for name in contributions.columns if name != BIAS]
    groups = ReasonGroups(features)
    sums = groups.sums(contributions[features].to_numpy(dtype=float))
    summed = pd.DataFrame(sums, columns=list(groups.codes), index=contributions.index)
    return summed.assign(**{BIAS: contributions[BIAS].astype(float)}) if BIAS in contributions else summed


def reason_codes(rows: pd.DataFrame, contributions: pd.DataFrame, limit: int | None = 5) -> list[list[dict[str, Any]]]:
    """For each row its reasons, the most important first.

    Args:
        rows: What the model saw of each order, at least the columns of `feat_order_risk`.
        contributions: In the same order: one column per feature and `bias`, in log-odds.
        limit: Reasons of each row; None for every group, so that with the bias they add up to the margin.

    Returns:
        Per row dicts of code, text, feature (the member that moved the group most), contribution (of the whole
        group), value and usual (of that feature; null where there is none).
    """
    assert len(rows) == len(contributions), f"{len(rows)} rows, {len(contributions)} rows of contributions"
    features = [str(name) for name in contributions.columns if name != BIAS]
    groups, shares = ReasonGroups(features), contributions[features].to_numpy(dtype=float)
    sums = groups.sums(shares)
    records = rows.to_dict("records")
    return [groups.reasons(record, shares[at].tolist(), sums[at], limit) for at, record in enumerate(records)]


def _reason(row: Mapping[Hashable, Any], code: str, total: float, features: Sequence[str]) -> dict[str, Any]:
    told = say(row, code, features)
    return {"code": code, "contribution": total, **told}
