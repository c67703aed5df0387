"""Why an order was judged as it was, in words a person understands, from exact contributions.

The model splits its margin (log-odds) exactly into one contribution per feature. Each feature belongs to exactly one
group, found by rules on its name; groups and the bias add up to the margin. A group tells the value that moved it
most, beside what is usual.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ml.fraud.feature_names import group_of
from ml.fraud.reason_texts import say

BIAS = "bias"


def group_contributions(contributions: pd.DataFrame) -> pd.DataFrame:
    """Contributions summed by group, with the bias as it is; each row adds up to the same margin.

    Args:
        contributions: One column per feature and `bias`, in log-odds.
    """
    features = [str(name) for name in contributions.columns if name != BIAS]
    members: dict[str, list[str]] = {}
    for feature in features:
        members.setdefault(group_of(feature), []).append(feature)
    summed = {code: contributions[names].sum(axis=1).astype(float) for code, names in members.items()}
    if BIAS in contributions:
        summed[BIAS] = contributions[BIAS].astype(float)
    return pd.DataFrame(summed, index=contributions.index)


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
    grouped = group_contributions(contributions).drop(columns=BIAS, errors="ignore")
    features = [str(name) for name in contributions.columns if name != BIAS]
    weights = contributions[features].to_numpy(dtype=float)
    places: dict[str, list[int]] = {}
    for place, feature in enumerate(features):
        places.setdefault(group_of(feature), []).append(place)
    codes, sums = list(grouped.columns), grouped.to_numpy(dtype=float)
    order = np.argsort(-np.abs(sums), axis=1, kind="stable")
    return [
        [
            _reason(
                record,
                codes[column],
                float(sums[at, column]),
                _by_weight(features, weights[at], places, codes[column], float(sums[at, column])),
            )
            for column in order[at][:limit]
            if sums[at, column] != 0
        ]
        for at, record in enumerate(rows.to_dict("records"))
    ]


def _by_weight(
    features: Sequence[str], weights: np.ndarray, places: Mapping[str, Sequence[int]], code: str, total: float
) -> list[str]:
    """A group's features, those first that moved it most in the direction in which it moved."""
    return [features[place] for place in sorted(places[code], key=lambda place: -weights[place] * np.sign(total))]


def _reason(row: Mapping[Hashable, Any], code: str, total: float, features: Sequence[str]) -> dict[str, Any]:
    told = say(row, code, features)
    return {"code": code, "contribution": total, **told}
