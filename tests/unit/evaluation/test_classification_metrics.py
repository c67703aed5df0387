"""Metrics of a probability, on rows few enough to count by hand."""

import math

import numpy as np
import pytest

from ml.evaluation.classification_metrics import (
    Ranking,
    average_precision,
    expected_calibration_error,
    precision_recall,
    recall_at_budget,
    reliability,
)


def test_average_precision_sums_precision_where_recall_is_gained() -> None:
    # Positives at places 1 and 3 of 4: half of the recall at precision 1, half at 2/3.
    assert average_precision([0.9, 0.8, 0.7, 0.1], [True, False, True, False]) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_rows_of_one_score_enter_together() -> None:
    one_way = average_precision([0.5, 0.5, 0.5, 0.5], [True, False, False, False])
    other_way = average_precision([0.5, 0.5, 0.5, 0.5], [False, False, False, True])
    assert one_way == other_way == pytest.approx(0.25)


def test_a_weight_of_two_is_a_row_given_twice() -> None:
    weighted = average_precision([0.9, 0.8, 0.7], [False, True, False], np.array([2.0, 1.0, 3.0]))
    assert weighted == pytest.approx(average_precision([0.9, 0.9, 0.8, 0.7, 0.7, 0.7], [0, 0, 1, 0, 0, 0]))
    assert weighted == pytest.approx(1 / 3)


@pytest.mark.parametrize("is_positive", [[True, True], [False, False], []])
def test_one_class_alone_says_nothing(is_positive: list[bool]) -> None:
    assert math.isnan(average_precision([0.5] * len(is_positive), is_positive))


def test_what_has_no_score_comes_last() -> None:
    assert average_precision([math.nan, 0.1], [True, False]) == pytest.approx(0.5)


def test_recall_at_a_budget_counts_the_highest_scores() -> None:
    scores, truth = [0.9, 0.8, 0.7, 0.1], [True, False, True, True]
    assert recall_at_budget(scores, truth, 0.25) == pytest.approx(1 / 3)
    assert recall_at_budget(scores, truth, 0.75) == pytest.approx(2 / 3)
    assert recall_at_budget(scores, truth, 1.0) == 1.0


def test_orders_of_one_score_share_the_rest_of_the_budget() -> None:
    assert recall_at_budget([0.5] * 10, [True] + [False] * 9, 0.2) == pytest.approx(0.2)


def test_recall_without_positives_is_not_defined() -> None:
    assert math.isnan(recall_at_budget([0.5, 0.4], [False, False], 0.5))


def test_calibration_error_is_the_mean_distance_over_bins_of_equal_weight() -> None:
    # Two bins: .1 said and 0 true; .6 said and 1 true.
    found = reliability([0.1, 0.1, 0.6, 0.6], [False, False, True, True], bins=2)
    assert found.predicted.tolist() == pytest.approx([0.1, 0.6])
    assert found.observed.tolist() == [0.0, 1.0]
    assert found.error() == pytest.approx((0.1 + 0.4) / 2)


def test_calibration_weighs_rows() -> None:
    error = expected_calibration_error([0.5, 0.5], [True, False], np.array([3.0, 1.0]), bins=1)
    assert error == pytest.approx(0.25)
    assert math.isnan(expected_calibration_error([], []))


def test_precision_and_recall_at_each_threshold() -> None:
    recall, precision = precision_recall([0.9, 0.8, 0.8], [True, False, True])
    assert recall.tolist() == [0.5, 1.0]
    assert precision.tolist() == pytest.approx([1.0, 2 / 3])
    assert precision_recall([0.5], [False])[0].size == 0


def test_a_ranking_is_weighted_as_often_as_asked() -> None:
    ranking = Ranking.of([0.2, 0.9], [False, True])
    assert ranking.average_precision() == 1.0
    assert math.isnan(ranking.average_precision(np.array([1.0, 0.0])))
    assert ranking.recall_at(0.5, np.array([1.0, 1.0])) == 1.0
