"""Calibration, bounds, files: what stands between a booster's margin and a probability."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from ml.fraud.baselines import LogisticBaseline, RatesBaseline, fit_rates
from ml.fraud.calibration import Calibration, fit_calibration
from ml.fraud.inputs import Bounds, input_values, learn_bounds, unusable_features
from ml.fraud.line import Line
from ml.fraud.score import SCORING, from_files
from ml.outcomes import DataFailed

NONE = Bounds(np.full(2, np.inf), 0.9)


def test_a_line_over_the_margins_is_found_again() -> None:
    # Two margins with as many frauds as 2 * margin - 1 says: 2/3 of logit 0.693 at margin 0.8466, half at 0.5.
    margins = [0.5] * 1000 + [(1 + math.log(2)) / 2] * 900
    truth = [True] * 500 + [False] * 500 + [True] * 600 + [False] * 300
    found = fit_calibration(margins, truth, np.ones(1900), ridge=0.0, rate_ridge=0.0)
    assert found.slope == pytest.approx(2.0, abs=1e-4)
    assert found.intercept == pytest.approx(-1.0, abs=1e-4)


def test_frauds_that_are_not_known_yet_are_made_up_for() -> None:
    # Half of the frauds are known: 10 known of 100 are 20 in truth.
    found = fit_calibration(np.zeros(100), [True] * 10 + [False] * 90, np.ones(100), np.full(100, 0.5), rate_ridge=0.0)
    assert found.probabilities([0.0])[0] == pytest.approx(0.2, abs=1e-4)


def test_a_few_weeks_rate_moves_the_probabilities_part_of_the_way() -> None:
    # 25 of 100 at margin 0: log 3 below it. The pull of 16 balances 100 * (p - 1/4) = -16 * intercept at p = 0.34944.
    found = fit_calibration(np.zeros(100), [True] * 25 + [False] * 75, np.ones(100))
    assert found.probabilities([0.0])[0] == pytest.approx(0.34944, abs=1e-4)


def test_calibration_never_turns_the_order_around() -> None:
    found = fit_calibration([3.0, 2.0, 1.0, 0.0] * 5, [False, False, True, True] * 5, np.ones(20), ridge=0.0)
    assert found.slope > 0
    assert fit_calibration([1.0], [False], [1.0]) == Calibration()


def test_rows_that_cannot_be_scored_are_told_apart() -> None:
    bounds = Bounds(np.array([10.0, np.inf]), max_missing_share=0.6)
    values = np.array([[1, 2], [np.inf, 2], [11, 2], [np.nan, np.nan], [np.nan, 2], [-0.0, 1e30]], dtype=np.float32)
    assert bounds.faulty(values).tolist() == ["", "infinite", "implausible", "missing", "", ""]
    assert (
        Bounds.from_dict(json.loads(json.dumps(bounds.as_dict()))).faulty(values).tolist()
        == bounds.faulty(values).tolist()
    )


def test_a_few_poisoned_rows_do_not_move_the_bounds() -> None:
    counts = np.full((1000, 1), 3.0, dtype=np.float32)
    counts[:5] = 3e6
    bounds = learn_bounds(counts, ["count_orders_device_1h"], 0.9, 1000.0)
    assert bounds.largest.tolist() == [3000.0]
    assert (bounds.faulty(counts)[:5] == "implausible").all()


def test_ratios_have_no_size_and_a_row_without_values_is_never_scored() -> None:
    values = np.array([[5.0], [np.nan]], dtype=np.float32)
    bounds = learn_bounds(values, ["amount_distance_customer"], 1.0, 1000.0)
    assert np.isinf(bounds.largest).all()
    assert bounds.faulty(values).tolist() == ["", "missing"]


def test_features_that_say_nothing_are_named() -> None:
    values = np.array([[1, np.nan, 0, 5, np.inf], [2, np.nan, np.nan, 5, np.inf]], dtype=np.float32)
    assert unusable_features(values, list("abcde")) == {
        "b": "all missing", "c": "constant", "d": "constant", "e": "all missing",
    }  # fmt: skip


def test_an_absent_feature_is_named() -> None:
    with pytest.raises(DataFailed, match="expected features b"):
        input_values(pd.DataFrame({"a": [1.0]}), ("a", "b"))


def test_the_rates_baseline_adds_up_what_it_knows() -> None:
    names = ("fraud_rate_over_shop_device_ever", "fraud_rate_over_shop_ip_ever")
    model = RatesBaseline(names, Calibration(2.0, -4.0), NONE)
    rows = pd.DataFrame({names[0]: [1.0, np.nan], names[1]: [0.5, np.nan]}).astype(np.float32)
    assert model.contributions(rows).sum(axis=1).tolist() == [-1.0, -4.0]
    assert model.probabilities(rows)[0] == pytest.approx(1 / (1 + math.e))
    assert (from_files(model.files()).contributions(rows) == model.contributions(rows)).all().all()


def test_the_logistic_baseline_is_read_back_from_its_file() -> None:
    ones = np.ones(1)
    model = LogisticBaseline(
        ("a",), Line(0 * ones, ones, 2 * ones, 5 * ones, -3.0), Calibration(), Bounds(np.inf * ones, 1.0)
    )
    rows = pd.DataFrame({"a": np.array([math.e - 1, np.nan], dtype=np.float32)})
    assert model.contributions(rows)["bias"].tolist() == [-3.0, -3.0]
    assert model.contributions(rows)["a"].tolist() == pytest.approx([2.0, 5.0])
    assert from_files(model.files()).probabilities(rows).tolist() == model.probabilities(rows).tolist()


def test_labels_that_are_all_alike_teach_a_baseline_nothing() -> None:
    rows = pd.DataFrame({"fraud_rate_over_shop_ip_ever": [0.1], "is_fraud": [False], "fold": ["train"]})
    with pytest.raises(DataFailed, match="all alike"):
        fit_rates(rows)


@pytest.mark.parametrize("files", [{}, {SCORING: b"{"}, {SCORING: b'{"kind": "trees", "name": "trees"}'}])
def test_a_damaged_model_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(DataFailed, match="is damaged"):
        from_files(files)


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(DataFailed, match="expected trees or rates, logistic"):
        from_files({SCORING: b'{"kind": "pickle", "name": "x"}'})
