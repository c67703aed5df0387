import math

import pandas as pd
import pytest

from ml.evaluation.bootstrap import paired_difference


def test_the_mean_is_the_plain_mean_of_the_differences() -> None:
    found = paired_difference(
        pd.Series([0.5, 0.2, 0.9]), pd.Series([0.4, 0.2, 0.3]), pd.Series(["a", "a", "b"]), draws=200, seed=1
    )
    assert found.mean == pytest.approx(0.7 / 3)
    assert found.clusters == 2
    assert found.low <= found.mean <= found.high


def test_equal_differences_leave_no_doubt() -> None:
    ours, theirs = pd.Series([0.3, 0.5, 0.7]), pd.Series([0.2, 0.4, 0.6])
    found = paired_difference(ours, theirs, pd.Series(["a", "b", "c"]), draws=100, seed=1)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


def test_weeks_of_one_customer_are_drawn_together() -> None:
    # Two customers, one gains 1 in each of four weeks, one loses 1: whole clusters give means -1, 0 or 1 only.
    ours = pd.Series([1.0] * 4 + [0.0] * 4)
    theirs = 1.0 - ours
    clustered = paired_difference(ours, theirs, pd.Series(["a"] * 4 + ["b"] * 4), draws=400, seed=1)
    single = paired_difference(ours, theirs, pd.Series([str(row) for row in range(8)]), draws=400, seed=1)
    assert (clustered.low, clustered.high) == (-1.0, 1.0)
    assert single.high - single.low < 2.0


def test_undefined_pairs_are_left_out() -> None:
    found = paired_difference(
        pd.Series([0.5, math.nan]), pd.Series([0.25, 0.1]), pd.Series(["a", "b"]), draws=50, seed=1
    )
    assert found.mean == pytest.approx(0.25)
    assert found.clusters == 1


def test_nothing_to_compare_is_not_zero() -> None:
    empty = pd.Series([], dtype=float)
    assert math.isnan(paired_difference(empty, empty, pd.Series([], dtype=str), draws=50, seed=1).low)


def test_the_same_seed_gives_the_same_interval() -> None:
    ours, theirs = pd.Series([0.1, 0.5, 0.3, 0.8]), pd.Series([0.2, 0.1, 0.3, 0.5])
    cluster = pd.Series(["a", "b", "c", "d"])
    first = paired_difference(ours, theirs, cluster, draws=300, seed=7)
    assert first == paired_difference(ours, theirs, cluster, draws=300, seed=7)
