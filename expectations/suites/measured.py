"""Expectations about the measures of a large table (see `expectations.profile`), one row of measures per column."""

from collections.abc import Mapping

import great_expectations.expectations as gxe
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from expectations.validation import rule_meta

COLUMNS = "columns"
"""Judges the profile: one row per column of the table."""
FACTS = "facts"
"""Judges one row of facts about the table as a whole."""

_ANY_SHARE = 1.0
_FEWEST_ROWS = 20
"""A share of fewer rows than this says little."""
_ROUNDING = 1e-9


def with_limits(profile: pd.DataFrame, null_shares_before: Mapping[str, float]) -> pd.DataFrame:
    """The profile with the limits that the rules of `measured_expectations` compare with.

    Args:
        null_shares_before: Column -> share of nulls in what was published before; what is not named is not compared.
    """
    limits = [_range_of(name) for name in profile["column"]]
    shares = zip(profile["column"], profile["rows"], strict=True)
    return profile.assign(
        allowed_minimum=pd.Series([low for low, _ in limits], dtype="float64"),
        allowed_maximum=pd.Series([high for _, high in limits], dtype="float64"),
        allowed_null_share=pd.Series(
            [_allowed_null_share(null_shares_before.get(name), rows) for name, rows in shares], dtype="float64"
        ),
    )


def _range_of(column: str) -> tuple[float | None, float | None]:
    """What a column's name says about its values: names carry their units (docs/naming.md)."""
    words = column.split("_")
    if "share" in words:
        return -_ROUNDING, 1 + _ROUNDING
    if words[0] in ("count", "days", "mean", "median", "quantity") or "cents" in words:
        return 0.0, None
    return None, None


def _allowed_null_share(before: float | None, rows: int) -> float:
    if before is None or before > 0.5 or rows < _FEWEST_ROWS:
        return _ANY_SHARE
    return (1 + before) / 2


def measured_expectations() -> list[Expectation]:
    """Finite numbers, in the range that the column's name promises, and no column that turned empty."""
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column="count_infinite",
            max_value=0,
            meta=rule_meta("finite", COLUMNS, "finite numbers in every column", counts="columns"),
        ),
        _at_least("minimum", "allowed_minimum", "not_too_small", "counts, amounts, days and shares of at least 0"),
        _at_least("allowed_maximum", "maximum", "not_too_large", "shares of at most 1"),
        _at_least(
            "allowed_null_share", "null_share", "null_share", "no column whose nulls more than halved what was filled"
        ),
    ]


def _at_least(larger: str, smaller: str, rule: str, expected: str) -> Expectation:
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=larger,
        column_B=smaller,
        or_equal=True,
        ignore_row_if="either_value_is_missing",
        meta=rule_meta(rule, COLUMNS, expected, counts="columns"),
    )


def fact_between(
    fact: str, rule: str, expected: str, low: float | None = None, high: float | None = None, *, is_day: bool = False
) -> Expectation:
    """One of the facts lies within bounds, both inclusive."""
    return gxe.ExpectColumnMaxToBeBetween(
        column=fact, min_value=low, max_value=high, meta=rule_meta(rule, FACTS, expected, is_day=is_day)
    )
