"""Trees as arrays say what XGBoost says: margins to the last bit, contributions to its float32 rounding."""

from dataclasses import replace

import numpy as np
import pytest
import xgboost as xgb

from ml.evaluation import forest as forest_module
from ml.evaluation.forest import MAX_DEPTH, forest_of


def grown(depth: int, base: float = 0.5, trees: int = 30, seed: int = 1) -> tuple[xgb.Booster, np.ndarray]:
    """Trees over ten inputs with ties, zeros and missing values, and rows to ask about."""
    draw = np.random.default_rng(seed)
    values = np.round(draw.normal(size=(3000, 10)), 1).astype(np.float32)
    values[draw.random(values.shape) < 0.15] = np.nan
    risk = np.nan_to_num(values[:, 0]) * np.nan_to_num(values[:, 1]) + np.nan_to_num(values[:, 2]) - 2
    target = draw.random(3000) < 1 / (1 + np.exp(-risk))
    parameters = {
        "objective": "binary:logistic", "max_depth": depth, "eta": 0.3, "base_score": base, "nthread": 1,
        "min_child_weight": 0.1, "colsample_bytree": 0.5, "seed": seed,
    }  # fmt: skip
    return xgb.train(parameters, xgb.DMatrix(values, label=target), num_boost_round=trees), values


@pytest.mark.parametrize(("depth", "base"), [(1, 0.5), (3, 0.01), (4, 0.5), (6, 0.037), (MAX_DEPTH, 0.9)])
def test_margins_and_contributions_are_those_of_xgboost(depth, base):
    booster, values = grown(depth, base, trees=12 if depth > 4 else 30)
    forest = forest_of(booster)
    assert forest is not None
    asked = values[:500]
    margins, shares = forest.explained(asked)
    assert np.array_equal(margins, booster.inplace_predict(asked, predict_type="margin"))
    assert np.array_equal(margins, forest.margins(asked))
    expected = booster.predict(xgb.DMatrix(asked, nthread=1), pred_contribs=True)
    assert np.abs(shares - expected).max() < 5e-5
    assert np.abs(shares.sum(axis=1) - margins).max() < 5e-5


def test_one_row_or_many_and_none():
    booster, values = grown(4)
    forest = forest_of(booster)
    assert np.array_equal(
        forest.shares(values[:100]), np.vstack([forest.shares(values[at : at + 1]) for at in range(100)])
    )
    assert forest.margins(values[:0]).shape == (0,)
    assert forest.shares(values[:0]).shape == (0, 11)


def test_a_feature_asked_twice_on_a_path_counts_once():
    """Two splits of one feature: the whole of what is not the mean is its own."""
    values = np.linspace(0, 1, 400, dtype=np.float32)[:, None]
    target = ((values[:, 0] > 0.3) & (values[:, 0] < 0.6)).astype(float)
    booster = xgb.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1},
        xgb.DMatrix(values, label=target),
        num_boost_round=5,
    )
    forest = forest_of(booster)
    margins, shares = forest.explained(values)
    assert np.abs(shares[:, 0] - (margins - forest.bias)).max() < 1e-6


@pytest.mark.parametrize("objective", ["rank:ndcg", "reg:squarederror"])
def test_a_base_that_is_no_probability(objective):
    booster, values = ranked(objective)
    margins, shares = forest_of(booster).explained(values)
    assert np.array_equal(margins, booster.inplace_predict(values, predict_type="margin"))
    assert np.abs(shares - booster.predict(xgb.DMatrix(values, nthread=1), pred_contribs=True)).max() < 5e-5


def test_an_objective_whose_base_is_read_wrongly_is_left_to_xgboost():
    assert forest_of(ranked("count:poisson")[0]) is None


def ranked(objective: str) -> tuple[xgb.Booster, np.ndarray]:
    draw = np.random.default_rng(2)
    values = draw.normal(size=(400, 5)).astype(np.float32)
    matrix = xgb.DMatrix(values, label=(values[:, 0] + draw.normal(size=400) > 0.5).astype(float), nthread=1)
    if objective.startswith("rank"):
        matrix.set_group([20] * 20)
    return xgb.train({"objective": objective, "max_depth": 4, "nthread": 1}, matrix, num_boost_round=20), values


def test_deeper_trees_are_left_to_xgboost():
    assert forest_of(grown(MAX_DEPTH + 1, trees=3)[0]) is None


def test_trees_that_were_read_wrongly_are_left_to_xgboost(monkeypatch):
    booster, _ = grown(3)
    right = forest_of(booster)
    swapped = replace(right, missing_left=~right.missing_left)
    monkeypatch.setattr(forest_module, "_read", lambda _booster: swapped)
    assert forest_of(booster) is None
