import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ml.evaluation.bootstrap import paired_difference, resampled


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


def test_any_statistic_of_the_weights_is_resampled() -> None:
    values = np.array([1.0, 2.0, 3.0, 6.0])
    found = resampled(lambda weight: float((values * weight).sum() / weight.sum()), list("abcd"), draws=300, seed=1)
    assert found.mean == 3.0
    assert 1.0 <= found.low < 3.0 < found.high <= 6.0
    assert found.clusters == 4


def test_clusters_are_drawn_whole_and_rows_without_one_by_themselves() -> None:
    seen: list[list[float]] = []

    def keep(weight: npt.NDArray[np.float64]) -> float:
        seen.append(weight.tolist())
        return 0.0

    found = resampled(keep, pd.Series(["a", "a", None, None]), draws=50, seed=1)
    assert found.clusters == 3
    assert all(weight[0] == weight[1] and sum(weight[1:]) == 3 for weight in seen)
    assert any(weight[2] != weight[3] for weight in seen)


def test_of_each_stratum_as_many_clusters_are_drawn_as_it_has() -> None:
    sums: list[float] = []

    def keep(weight: npt.NDArray[np.float64]) -> float:
        sums.append(float(weight[:2].sum()))
        return 0.0

    resampled(keep, list("abcde"), draws=50, seed=1, strata=[1, 1, 2, 2, 2])
    assert len(sums) == 51
    assert set(sums) == {2.0}


def test_draws_in_which_a_statistic_is_not_defined_are_left_out() -> None:
    found = resampled(lambda weight: float(weight[0]) if weight[0] else math.nan, ["a", "b", "c"], draws=100, seed=1)
    assert found.mean == 1.0
    assert found.low >= 1.0
    assert math.isnan(resampled(lambda _weight: math.nan, ["a"], draws=5, seed=1).low)
    assert resampled(lambda _weight: 0.0, [], draws=5, seed=1).clusters == 0
