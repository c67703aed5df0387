"""What a model accepts: values that are numbers, of a size that its training knew, and enough of them.

XGBoost scores infinities, 1e39 and rows without any value, without a word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.features import numbers
from ml.outcomes import DataFailed

Values = npt.NDArray[np.float32]

# Inputs with a unit: an order 10^6 times the usual amount is a fault of the feed, not an order.
_SIZED = ("log_amount", "count_", "amount_cents_", "mean_amount_", "deviation_amount_", "account_age_days")

INFINITE, IMPLAUSIBLE, MISSING = "infinite", "implausible", "missing"


def input_values(rows: pd.DataFrame, features: Sequence[str]) -> Values:
    """rows x features, missing as NaN.

    Raises:
        DataFailed: A feature is absent.
    """
    absent = [name for name in features if name not in rows.columns]
    if absent:
        raise DataFailed(f"model inputs: expected features {', '.join(absent)}")
    chosen = rows[list(features)]
    if (chosen.dtypes == np.float32).all():
        return np.ascontiguousarray(chosen.to_numpy())
    return (
        np.column_stack([numbers(chosen[name]) for name in features])
        if features
        else np.empty((len(rows), 0), np.float32)
    )


@dataclass(frozen=True)
class Bounds:
    """What training knew.

    Attributes:
        largest: By feature, the largest absolute value that is still scored.
        max_missing_share: A row that misses more is not scored.
    """

    largest: npt.NDArray[np.float64]
    max_missing_share: float

    def faulty(self, values: Values) -> npt.NDArray[np.object_]:
        """By row: infinite, implausible, missing, or empty text."""
        found = np.full(len(values), "", dtype=object)
        if values.shape[1] == 0:
            return found
        with np.errstate(invalid="ignore"):
            found[np.isnan(values).sum(axis=1) / values.shape[1] > self.max_missing_share] = MISSING
            found[(np.abs(values) > self.largest).any(axis=1)] = IMPLAUSIBLE
        found[np.isinf(values).any(axis=1)] = INFINITE
        return found

    def as_dict(self) -> dict[str, Any]:
        return {
            "largest": [None if np.isinf(one) else one for one in self.largest.tolist()],
            "max_missing_share": self.max_missing_share,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Bounds":
        largest = [np.inf if one is None else one for one in raw["largest"]]
        return cls(np.asarray(largest, dtype=np.float64), float(raw["max_missing_share"]))


def learn_bounds(
    values: Values, features: Sequence[str], max_missing_share: float, implausible_factor: float
) -> Bounds:
    """Bounds from training rows.

    The usual size of a count, an amount or a time is the 90th percentile of its values that are not 0: poisoned rows,
    as long as they are fewer than that, do not move it. Ratios have no size of their own; they only have to be finite.
    """
    largest = np.full(len(features), np.inf)
    for place, name in enumerate(features):
        column = np.abs(values[:, place])
        column = column[np.isfinite(column) & (column > 0)]
        if not name.startswith(_SIZED) or not column.size:
            continue
        usual = max(float(np.quantile(column, 0.9)), 1.0)
        largest[place] = usual + np.log(implausible_factor) if name.startswith("log_") else usual * implausible_factor
    missing = np.isnan(values).mean(axis=1) if values.shape[1] else np.zeros(len(values))
    usual_missing = float(np.quantile(missing, 0.999)) if len(missing) else 0.0
    # A row without any value is never scored, whatever training saw.
    return Bounds(largest, min(max(max_missing_share, usual_missing), 1.0 - 0.5 / max(values.shape[1], 1)))


def unusable_features(values: Values, features: Sequence[str]) -> dict[str, str]:
    """Feature -> why nothing can be learnt from it."""
    found = {}
    for place, name in enumerate(features):
        column = values[:, place]
        column = column[np.isfinite(column)]
        if column.size == 0:
            found[name] = "all missing"
        elif column.min() == column.max() and (column.size == len(values) or column[0] == 0):
            found[name] = "constant"
    return found
