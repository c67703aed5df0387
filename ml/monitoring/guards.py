"""What must hold before two windows can be compared. A guard that fails makes the verdict unknown, never ok.

Measured on Evidently 0.7: a column missing from the current data is silently left out, 3 rows and 50% nulls
give "no drift", and one all-null column makes the whole report raise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class GuardConfig:
    """When two windows may be compared.

    Attributes:
        min_rows: With 200 rows on each side the distance of two equal windows stays below the warning threshold.
        max_null_share_change: A larger change of the null share is a broken source, not a drifting shop.
    """

    min_rows: int = 200
    max_null_share_change: float = 0.2


@dataclass(frozen=True)
class Guarded:
    """What the guards say of the columns.

    Attributes:
        comparable: Columns that can be compared.
        empty: Columns without any value on both sides: there is nothing to compare, and nothing changed.
        problems: Column -> why it cannot be compared; names and counts, never values.
    """

    comparable: tuple[str, ...]
    empty: tuple[str, ...]
    problems: dict[str, str]


def guard(reference: pd.DataFrame, current: pd.DataFrame, columns: Sequence[str], config: GuardConfig) -> Guarded:
    """Sort columns by whether the two windows can be compared on them."""
    comparable, empty, problems = [], [], {}
    for column in columns:
        problem = _problem(reference, current, column, config)
        if problem is not None:
            problems[column] = problem
        elif reference[column].isna().all():
            empty.append(column)
        else:
            comparable.append(column)
    return Guarded(tuple(comparable), tuple(empty), problems)


def _problem(reference: pd.DataFrame, current: pd.DataFrame, column: str, config: GuardConfig) -> str | None:
    windows = {"reference": reference, "current": current}
    for name, frame in windows.items():
        if column not in frame.columns:
            return f"missing from the {name} window"
        if len(frame) < config.min_rows:
            return f"{len(frame)} rows in the {name} window, {config.min_rows} are needed"
        if not pd.api.types.is_numeric_dtype(frame[column]):
            return f"not a number in the {name} window but {frame[column].dtype}"
        infinite = int(np.isinf(frame[column].to_numpy(np.float64, na_value=np.nan)).sum())
        if infinite:
            return f"{infinite} of {len(frame)} values are not finite in the {name} window"
    return _null_problem(reference[column], current[column], config)


def _null_problem(reference: "pd.Series[float]", current: "pd.Series[float]", config: GuardConfig) -> str | None:
    before, now = float(reference.isna().mean()), float(current.isna().mean())
    if (before == 1.0) != (now == 1.0):
        return f"all null in the {'reference' if before == 1.0 else 'current'} window only"
    if abs(now - before) > config.max_null_share_change:
        return f"the null share went from {before:.0%} to {now:.0%}"
    valued = min(int(reference.notna().sum()), int(current.notna().sum()))
    if before < 1.0 and valued < config.min_rows:
        return f"{valued} rows have a value, {config.min_rows} are needed"
    return None
