"""Training of the trees: the newest days learnt from say how many and calibrate, then all days are learnt from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost as xgb

from ml.fraud.calibration import Calibration, fit_calibration
from ml.fraud.config import FraudConfig, TreesConfig
from ml.fraud.dataset import draw_rows
from ml.fraud.features import model_features, signs
from ml.fraud.inputs import Values, input_values, learn_bounds, unusable_features
from ml.fraud.line import fit_line
from ml.fraud.score import FraudModel, mixed_margins
from ml.outcomes import DataFailed

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Learnt:
    """Values and labels of one range of days."""

    values: Values
    is_fraud: npt.NDArray[np.bool_]
    weight: Floats
    known_share: Floats

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "Learnt":
        return Learnt(self.values[chosen], self.is_fraud[chosen], self.weight[chosen], self.known_share[chosen])


def fit(rows: pd.DataFrame, config: FraudConfig) -> FraudModel:
    """Train trees and calibrate them.

    Trees are grown on the train days until the log-loss of the calibration days stops falling; their margins there
    give the calibration; then as many trees are grown on both. With few frauds in the calibration days, a fixed
    number of trees is grown on all days.

    Args:
        rows: As `ml.fraud.dataset.training_rows` gives them; test days are not looked at.

    Raises:
        DataFailed: The labels are all alike, or no feature says anything.
    """
    learnt = rows[rows["fold"].ne("test")]
    count_frauds = int(learnt["is_fraud"].sum())
    if count_frauds == 0 or count_frauds == len(learnt):
        raise DataFailed(
            f"fraud training set: {count_frauds} of {len(learnt)} orders are fraud; expected frauds and legitimate ones"
        )
    learnt = draw_rows(learnt, config.trees.max_rows, config.seed)
    features, dropped, values = _usable(learnt)
    bounds = learn_bounds(values, features, config.trees.max_missing_share, config.trees.implausible_factor)
    is_clean = bounds.faulty(values) == ""
    data = Learnt(values, *_labels(learnt)).rows(is_clean)
    is_held = learnt["fold"].eq("calibration").to_numpy()[is_clean]
    threads = int(np.clip(len(data.is_fraud) // config.trees.min_rows_per_thread, 1, config.trees.threads))
    parameters = xgboost_parameters(config.trees, features, _share(data), threads, config.seed)
    enough = min(data.is_fraud[is_held].sum(), data.is_fraud[~is_held].sum()) >= config.trees.min_calibration_frauds
    if enough:
        trees, calibration = _count_trees(data.rows(~is_held), data.rows(is_held), features, parameters, config)
    else:
        trees, calibration = config.trees.trees // 4, Calibration()
    booster = xgb.train(parameters, _matrix(data, features, parameters), num_boost_round=trees)
    booster.set_param({"nthread": 1})
    line = fit_line(data.values, signs(features), data.is_fraud, data.weight, config.logistic, config.seed)
    report: dict[str, Any] = {
        "rows": len(data.is_fraud),
        "frauds": int(data.is_fraud.sum()),
        "trees": trees,
        "is_calibrated": bool(enough),
        "left_out_rows": {str(name): int(count) for name, count in _counts(bounds.faulty(values)).items()},
    }
    return FraudModel(booster, line, config.trees.line_share, calibration, tuple(features), bounds, dropped, report)


def _count_trees(
    train: Learnt, held: Learnt, features: Sequence[str], parameters: dict[str, Any], config: FraudConfig
) -> tuple[int, Calibration]:
    """How many trees the later days ask for, and the calibration on them."""
    matrix = _matrix(train, features, parameters)
    booster = xgb.train(
        parameters,
        matrix,
        num_boost_round=config.trees.trees,
        evals=[(_matrix(held, features, parameters, matrix), "held")],
        early_stopping_rounds=config.trees.patience,
        verbose_eval=False,
    )
    trees = booster.best_iteration + 1
    line = fit_line(train.values, signs(features), train.is_fraud, train.weight, config.logistic, config.seed)
    margins = mixed_margins(booster[:trees], line, config.trees.line_share, held.values)
    weight = np.where(held.is_fraud, held.weight * held.known_share, held.weight)
    return trees, fit_calibration(margins, held.is_fraud, weight, held.known_share)


def _matrix(
    data: Learnt, features: Sequence[str], parameters: Mapping[str, Any], reference: xgb.DMatrix | None = None
) -> xgb.QuantileDMatrix:
    return xgb.QuantileDMatrix(
        data.values,
        label=data.is_fraud.astype(np.float32),
        weight=data.weight.astype(np.float32),
        feature_names=list(features),
        max_bin=parameters["max_bin"],
        nthread=parameters["nthread"],
        ref=reference,
    )


def xgboost_parameters(
    config: TreesConfig, features: Sequence[str], fraud_share: float, threads: int, seed: int
) -> dict[str, Any]:
    """XGBoost's parameters of a config."""
    return {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "max_bin": config.max_bin,
        "max_depth": config.depth,
        "eta": config.learning_rate,
        "min_child_weight": config.min_child_weight,
        "subsample": config.row_share,
        "colsample_bytree": config.column_share,
        "lambda": config.l2,
        "base_score": fraud_share if config.base_score is None else config.base_score,
        "scale_pos_weight": config.fraud_weight,
        "monotone_constraints": tuple(signs(features).tolist()),
        "nthread": threads,
        "seed": seed,
        "verbosity": 0,
    }


def _share(data: Learnt) -> float:
    """Of the frauds, by weight."""
    return float(np.average(data.is_fraud, weights=data.weight))


def _usable(rows: pd.DataFrame) -> tuple[list[str], dict[str, str], Values]:
    features = list(model_features(rows.columns))
    values = input_values(rows, features)
    dropped = unusable_features(values, features)
    kept = [name for name in features if name not in dropped]
    if not kept:
        raise DataFailed("fraud training set: every feature is constant or missing; expected at least one that differs")
    return kept, dropped, values[:, [place for place, name in enumerate(features) if name not in dropped]]


def _labels(rows: pd.DataFrame) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
    return (
        rows["is_fraud"].to_numpy(bool),
        rows["weight"].to_numpy(np.float64),
        rows["known_share"].to_numpy(np.float64),
    )


def _counts(faults: npt.NDArray[np.object_]) -> dict[str, int]:
    names, counts = np.unique(faults[faults != ""].astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
