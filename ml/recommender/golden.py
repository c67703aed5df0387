"""Golden rows: a few inputs with the scores that the model gave them when it was trained, kept beside it.

A file can be whole and still be the wrong model: of another training, or with its columns in another order. Who loads
a ranker scores the rows again and refuses it when they differ.
"""

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from ml.outcomes import DataFailed
from ml.recommender.features import FEATURES

GOLDEN = "golden.json"
GOLDEN_ROWS = 16
TOLERANCE = 1e-6
_MODEL = "model.json"


def golden_rows(booster: xgb.Booster, inputs: npt.NDArray[np.float32]) -> bytes:
    """Contents of `golden.json`: rows spread evenly over those given, with their scores.

    Args:
        inputs: Rows x features, finite or missing; at least one.
    """
    places = np.unique(np.linspace(0, len(inputs) - 1, GOLDEN_ROWS).astype(np.int64))
    chosen = inputs[places]
    scores = booster.inplace_predict(chosen)
    rows = [[None if np.isnan(value) else float(value) for value in row] for row in chosen]
    content = {"features": booster.feature_names, "rows": rows, "scores": [float(score) for score in scores]}
    return json.dumps(content, allow_nan=False).encode()


def check_golden(files: Mapping[str, bytes]) -> None:
    """Score a bundle's golden rows again.

    Args:
        files: Contents of the bundle by name: model.json and golden.json.

    Raises:
        DataFailed: A file is missing, the columns are not the code's, or a score differs by more than `TOLERANCE`.
    """
    for name in (_MODEL, GOLDEN):
        if name not in files:
            raise DataFailed(f"the model has no {name}; retrain")
    try:
        golden = json.loads(files[GOLDEN])
        features, rows, scores = golden["features"], golden["rows"], golden["scores"]
        inputs = np.array([[np.nan if value is None else value for value in row] for row in rows], dtype=np.float32)
        expected = np.array(scores, dtype=np.float64)
    except (ValueError, KeyError, TypeError):
        raise DataFailed(f"{GOLDEN} cannot be read; retrain") from None
    if features != list(FEATURES):
        raise DataFailed(f"{GOLDEN}: the features or their order are not those that this code computes; retrain")
    if len(inputs) == 0 or inputs.shape != (len(expected), len(FEATURES)):
        raise DataFailed(f"{GOLDEN}: expected rows of {len(FEATURES)} values, each with its score")
    booster = xgb.Booster()
    try:
        json.loads(files[_MODEL])  # XGBoost guesses the format from the bytes, and a cut binary model ends the process
        booster.load_model(bytearray(files[_MODEL]))
    except (ValueError, xgb.core.XGBoostError):
        raise DataFailed(f"{_MODEL} cannot be read; retrain") from None
    if booster.feature_names != list(FEATURES):
        raise DataFailed(f"{_MODEL}: the features or their order are not those that this code computes; retrain")
    booster.set_param({"nthread": 1})
    difference = np.abs(np.asarray(booster.inplace_predict(inputs), dtype=np.float64) - expected)
    if not (difference <= TOLERANCE).all():
        count = int((~(difference <= TOLERANCE)).sum())
        raise DataFailed(f"{GOLDEN}: {count} of {len(expected)} rows get another score than at training; retrain")
