"""Golden rows: raw inputs with the probabilities they had at training, by which a loaded model proves to be the one.

A file may be whole and still be the wrong one, and code may compute another input under an old name. So a bundle keeps
some rows as the mart gave them, before anything was derived, and what each of its models made of them.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.fallback import fallback_from_files
from ml.fraud.features import input_plan, model_features, raw_values, read_columns
from ml.fraud.protocols import FraudScorer
from ml.fraud.score import from_files
from ml.outcomes import DataFailed

GOLDEN = "golden.json"
GOLDEN_ROWS = 16
TOLERANCE = 1e-6
_MODEL, _FALLBACK = "model", "fallback"


def golden_file(rows: pd.DataFrame, scorer: FraudScorer, fallback: FraudScorer | None) -> bytes:
    """The golden rows of a bundle.

    Args:
        rows: Rows of `feat_order_risk` in any order; of those that the model scores, some of each height are kept.
    """
    columns = read_columns(rows.columns)
    scored = _probabilities(scorer, columns, raw_values(rows))
    known = np.flatnonzero(np.isfinite(scored))
    by_score = known[np.argsort(scored[known], kind="stable")]
    chosen = by_score[np.unique(np.linspace(0, len(by_score) - 1, GOLDEN_ROWS).astype(int))] if len(by_score) else known
    raw = raw_values(rows.iloc[chosen])
    models = {_MODEL: scorer} if fallback is None else {_MODEL: scorer, _FALLBACK: fallback}
    golden = {
        "columns": list(columns),
        "rows": [[None if np.isnan(one) else one for one in row] for row in raw.astype(np.float64).tolist()],
        "models": {
            name: {
                "inputs": inputs_digest(model.features),
                "probabilities": [
                    None if np.isnan(one) else one for one in _probabilities(model, columns, raw).tolist()
                ],
            }
            for name, model in models.items()
        },
    }
    return json.dumps(golden, sort_keys=True, allow_nan=False).encode()


def check_golden(files: Mapping[str, bytes]) -> None:
    """Load a bundle's models and score its golden rows.

    Args:
        files: The bundle's files by name.

    Raises:
        DataFailed: The rows are missing, a probability differs by more than 1e-6, or the inputs are not the same in the
            same order.
    """
    if GOLDEN not in files:
        raise DataFailed(f"fraud model: {GOLDEN} is missing; retrain")
    models = {_MODEL: from_files(files)}
    fallback = fallback_from_files(files)
    if fallback is not None:
        models[_FALLBACK] = fallback
    try:
        golden = json.loads(files[GOLDEN])
        columns, expected = tuple(map(str, golden["columns"])), golden["models"]
        raw = np.array(golden["rows"], dtype=np.float32).reshape(-1, len(columns))
        if len(raw) == 0 or len(raw) > GOLDEN_ROWS:
            raise DataFailed(f"fraud model: {GOLDEN} has {len(raw)} rows, expected 1 to {GOLDEN_ROWS}")
        if set(expected) != set(models):
            raise DataFailed(f"fraud model: {GOLDEN} speaks of other models than the bundle holds")
        for name, model in models.items():
            _check(name, model, columns, raw, expected[name])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataFailed(f"fraud model: {GOLDEN} is damaged: {type(error).__name__}") from error


def inputs_digest(features: tuple[str, ...]) -> str:
    """Names the inputs and their order."""
    return hashlib.sha256("\n".join(features).encode()).hexdigest()[:16]


def _check(
    name: str, model: FraudScorer, columns: tuple[str, ...], raw: npt.NDArray[np.float32], expected: Mapping[str, Any]
) -> None:
    if inputs_digest(model.features) != expected["inputs"]:
        raise DataFailed(f"fraud model: the inputs of the {name} are others, or in another order, than at training")
    absent = len(set(model.features) - set(model_features(columns)))
    if absent:
        raise DataFailed(f"fraud model: {absent} inputs of the {name} do not follow from the golden rows' columns")
    wanted = np.array(expected["probabilities"], dtype=np.float64)
    if wanted.shape != (len(raw),):
        raise DataFailed(f"fraud model: {GOLDEN} has {len(raw)} rows and {wanted.size} probabilities of the {name}")
    found = _probabilities(model, columns, raw)
    differs = (np.isnan(found) != np.isnan(wanted)) | (np.abs(found - wanted) > TOLERANCE)
    if differs.any():
        raise DataFailed(
            f"fraud model: {int(differs.sum())} of {len(raw)} golden rows do not score as at training ({name})"
        )


def _probabilities(
    model: FraudScorer, columns: tuple[str, ...], raw: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    return model.scored(input_plan(columns, model.features).compute(raw))
