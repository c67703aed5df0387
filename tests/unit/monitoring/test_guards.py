"""What cannot be compared is named; what has nothing to compare is told apart from it."""

import numpy as np
import pandas as pd
import pytest

from ml.monitoring.guards import GuardConfig, guard

CONFIG = GuardConfig(min_rows=4, max_null_share_change=0.2)
SOUND = pd.DataFrame({"price": [1.0, 2.0, 3.0, 4.0, 5.0]})


def problem(reference: pd.DataFrame, current: pd.DataFrame) -> str | None:
    return guard(reference, current, ["price"], CONFIG).problems.get("price")


def prices(*values: object) -> pd.DataFrame:
    return pd.DataFrame({"price": values})


def test_two_sound_windows_are_comparable():
    verdict = guard(SOUND, SOUND, ["price"], CONFIG)
    assert (verdict.comparable, verdict.empty, verdict.problems) == (("price",), (), {})


@pytest.mark.parametrize(
    ("current", "why"),
    [
        (pd.DataFrame({"other": [1.0] * 5}), "missing from the current window"),
        (prices(1.0, 2.0, 3.0), "3 rows in the current window, 4 are needed"),
        (prices(*"abcde"), "not a number in the current window but object"),
        (prices(1.0, 2.0, np.inf, -np.inf, 5.0), "2 of 5 values are not finite in the current window"),
        (prices(*[np.nan] * 5), "all null in the current window only"),
        (prices(1.0, 2.0, 3.0, np.nan, np.nan), "the null share went from 0% to 40%"),
    ],
)
def test_a_sick_column_is_named_without_its_values(current, why):
    assert problem(SOUND, current) == why


def test_the_reference_window_is_guarded_too():
    assert problem(prices(1.0, 2.0), SOUND) == "2 rows in the reference window, 4 are needed"
    assert problem(prices(*[np.nan] * 5), SOUND) == "all null in the reference window only"


def test_a_null_share_at_the_limit_passes():
    assert problem(SOUND, prices(1.0, 2.0, 3.0, 4.0, np.nan)) is None


def test_too_few_values_among_enough_rows_are_a_problem():
    rare = prices(1.0, 2.0, 3.0, np.nan, np.nan, np.nan)
    assert problem(rare, rare) == "3 rows have a value, 4 are needed"


def test_a_column_without_values_on_both_sides_has_nothing_to_compare():
    nothing = prices(*[np.nan] * 5)
    verdict = guard(nothing, nothing, ["price"], CONFIG)
    assert (verdict.comparable, verdict.empty, verdict.problems) == ((), ("price",), {})
