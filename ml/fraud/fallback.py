"""The model for orders whose counted features are missing: it knows only what the request itself tells.

It is trained as the model is, on the same orders, and kept only where it is better beyond doubt than knowing nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.evaluation.bootstrap import resampled
from ml.evaluation.promotion import Rule
from ml.fraud.attempt_rows import OWN_COLUMNS
from ml.fraud.config import FraudConfig
from ml.fraud.evaluate import JudgedFraud
from ml.fraud.features import model_features
from ml.fraud.protocols import FraudScorer
from ml.fraud.score import MODEL, SCORING, FraudModel, from_files
from ml.fraud.train import fit
from ml.outcomes import DataFailed

FALLBACK = "fallback.json"
FALLBACK_TREES = "fallback_trees.json"
FALLBACK_RULE = "fallback_log_loss_gain_low"
_SMALLEST = 1e-9


def fit_fallback(rows: pd.DataFrame, config: FraudConfig) -> FraudModel | None:
    """Train on what the request itself tells, calibrated as the model is.

    Args:
        rows: As `ml.fraud.dataset.training_rows` gives them; test days are not looked at.

    Returns:
        None where the request's own fields say nothing, or the calibration days have too few frauds to calibrate it.
    """
    known = set(model_features(OWN_COLUMNS))
    inputs = set(model_features(rows.columns)) - known
    try:
        model = fit(rows.drop(columns=[name for name in rows.columns if name in inputs]), config)
    except DataFailed:
        return None
    model = replace(model, name="fallback")
    return model if known.issuperset(model.features) and model.report["is_calibrated"] else None


def judge_fallback(judged: JudgedFraud, config: FraudConfig) -> Rule:
    """Whether it is better than knowing nothing: its log-loss against that of its own mean probability for every order.

    Args:
        judged: The fallback model on the test days.

    Returns:
        Passed where the 95% interval of the gain, by customer, lies above 0; unknown with too few frauds.
    """
    rows = judged.per_order[judged.per_order["probability"].notna()]
    if rows["is_fraud"].sum() < config.evaluation.min_frauds:
        return Rule(FALLBACK_RULE, "unknown", None, 0.0)
    weight, is_fraud = rows["weight"].to_numpy(np.float64), rows["is_fraud"].to_numpy(np.bool_)
    probability = np.clip(rows["probability"].to_numpy(np.float64), _SMALLEST, 1 - _SMALLEST)
    mean = float(np.average(probability, weights=weight))
    gains = np.log(np.where(is_fraud, probability / mean, (1 - probability) / (1 - mean)))

    def gain(drawn: npt.NDArray[np.float64]) -> float:
        return float(np.average(gains, weights=drawn * weight))

    found = resampled(gain, rows["customer_id"], draws=config.evaluation.draws, seed=config.seed)
    return Rule(FALLBACK_RULE, "passed" if found.low > 0 else "failed", found.low, 0.0)


def fallback_files(model: FraudModel) -> dict[str, bytes]:
    """The model as files of its own names, beside those of the model in one bundle."""
    files = model.files()
    return {FALLBACK: files[SCORING], FALLBACK_TREES: files[MODEL]}


def fallback_from_files(files: Mapping[str, bytes]) -> FraudScorer | None:
    """The fallback model of a bundle; None where the bundle has none.

    Raises:
        DataFailed: Its files are damaged.
    """
    if FALLBACK not in files:
        return None
    if FALLBACK_TREES not in files:
        raise DataFailed(f"fraud model: {FALLBACK_TREES} is missing beside {FALLBACK}; retrain")
    model = from_files({SCORING: files[FALLBACK], MODEL: files[FALLBACK_TREES]})
    if not set(model_features(OWN_COLUMNS)).issuperset(model.features):
        raise DataFailed(f"fraud model: {FALLBACK} needs more than the request tells; retrain")
    return replace(model, name=json.loads(files[FALLBACK])["name"]) if isinstance(model, FraudModel) else model
