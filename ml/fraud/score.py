"""Probabilities of fraud and what they are made of: one model for batch, online and evaluation."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost as xgb

from ml.evaluation.forest import Forest, forest_of
from ml.fraud.baselines import LogisticBaseline, RatesBaseline
from ml.fraud.calibration import Calibration
from ml.fraud.inputs import Bounds, input_values
from ml.fraud.line import Line
from ml.fraud.protocols import BIAS, FraudScorer, Judged
from ml.outcomes import DataFailed

Floats = npt.NDArray[np.float64]

MODEL = "model.json"
SCORING = "scoring.json"


@dataclass(frozen=True)
class FraudModel:
    """Boosted trees and a line, mixed; the calibration of their margins and the bounds of what they know.

    Both say log-odds, and their mean is better than either where frauds are few: the trees see what goes together, the
    line does not follow noise.

    Attributes:
        line_share: Weight of the line in the mean.
        dropped: Feature -> why training left it out.
        report: Figures of the training: rows, frauds, trees, rows left out.
    """

    booster: xgb.Booster
    line: Line
    line_share: float
    calibration: Calibration
    features: tuple[str, ...]
    bounds: Bounds
    dropped: Mapping[str, str] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)
    name: str = "trees"
    kind: Literal["trees"] = "trees"

    def probabilities(self, rows: pd.DataFrame) -> Floats:
        return self.scored(input_values(rows, self.features))

    def contributions(self, rows: pd.DataFrame) -> pd.DataFrame:
        shares = self.judged(input_values(rows, self.features)).shares
        return pd.DataFrame(shares, columns=[*self.features, BIAS], index=rows.index)

    def scored(self, values: npt.NDArray[np.float32]) -> Floats:
        scored = self.calibration.probabilities(self._margins(values))
        return np.where(self.bounds.faulty(values) == "", scored, np.nan)

    def judged(self, values: npt.NDArray[np.float32]) -> Judged:
        clean = finite_or_missing(values)
        trees, shares = self._explained(clean)
        line = self.line.shares(clean)
        margins = (1.0 - self.line_share) * trees + self.line_share * (line.sum(axis=1) + self.line.intercept)
        log_odds = self.calibration.log_odds(margins)
        shares *= 1.0 - self.line_share
        shares[:, :-1] += self.line_share * line
        shares[:, -1] += self.line_share * self.line.intercept
        shares *= self.calibration.slope
        shares[:, -1] += self.calibration.intercept
        # Margins are added in float32; what rounding lost goes to the bias, so that sums are exact.
        shares[:, -1] += log_odds - shares.sum(axis=1)
        faults = self.bounds.faulty(values)
        return Judged(np.where(faults == "", self.calibration.probabilities(margins), np.nan), shares, faults)

    def faults(self, rows: pd.DataFrame) -> "pd.Series[str]":
        return pd.Series(self.bounds.faulty(input_values(rows, self.features)), index=rows.index, dtype=object)

    @cached_property
    def _forest(self) -> Forest | None:
        return forest_of(self.booster)

    def _explained(self, values: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
        """Margins and contributions of the trees."""
        if self._forest is not None:
            margins, shares = self._forest.explained(values)
            return margins.astype(np.float64), shares
        if len(values) == 0:
            return np.empty(0), np.empty((0, values.shape[1] + 1))
        matrix = xgb.DMatrix(values, feature_names=list(self.features), nthread=1)
        shares = self.booster.predict(matrix, pred_contribs=True, strict_shape=False).astype(np.float64)
        return np.asarray(self.booster.inplace_predict(values, predict_type="margin"), dtype=np.float64), shares

    def leaves(self) -> int:
        """Leaves of all trees together, which bounds the time to explain a row exactly."""
        return int(sum(tree.count("leaf=") for tree in self.booster.get_dump()))

    def files(self) -> dict[str, bytes]:
        scoring = {
            "kind": self.kind,
            "name": self.name,
            "features": list(self.features),
            "line": self.line.as_dict(),
            "line_share": self.line_share,
            "calibration": self.calibration.as_dict(),
            "bounds": self.bounds.as_dict(),
            "dropped": dict(self.dropped),
            "report": dict(self.report),
        }
        return {
            MODEL: bytes(self.booster.save_raw(raw_format="json")),
            SCORING: json.dumps(scoring, sort_keys=True, indent=1).encode(),
        }

    def _margins(self, values: npt.NDArray[np.float32]) -> Floats:
        if len(values) == 0:
            return np.empty(0)
        return mixed_margins(self.booster, self.line, self.line_share, values)


def mixed_margins(booster: xgb.Booster, line: Line, line_share: float, values: npt.NDArray[np.float32]) -> Floats:
    """Log-odds of the trees and the line, weighted; what is not finite is missing."""
    clean = finite_or_missing(values)
    trees = np.asarray(booster.inplace_predict(clean, predict_type="margin"), dtype=np.float64)
    return (1.0 - line_share) * trees + line_share * line.margins(clean)


def finite_or_missing(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The values, with what is not finite as missing: XGBoost refuses an infinity, or scores it without a word."""
    return np.where(np.isfinite(values), values, np.float32(np.nan))


def from_files(files: Mapping[str, bytes]) -> FraudScorer:
    """A model from its files; whoever reads them has checked their sha256.

    Raises:
        DataFailed: A file is missing or is not what `files()` wrote.
    """
    try:
        scoring = json.loads(files[SCORING])
        kind, name = scoring["kind"], scoring["name"]
        if kind == "trees":
            booster = xgb.Booster({"nthread": 1})
            booster.load_model(bytearray(files[MODEL]))
            return FraudModel(
                booster,
                Line.from_dict(scoring["line"]),
                float(scoring["line_share"]),
                Calibration(**scoring["calibration"]),
                tuple(scoring["features"]),
                Bounds.from_dict(scoring["bounds"]),
                scoring["dropped"],
                scoring["report"],
            )
        if kind == "baseline" and name in _BASELINES:
            return _BASELINES[name](scoring)
    except (KeyError, TypeError, ValueError, xgb.core.XGBoostError) as error:
        raise DataFailed(f"fraud model: {SCORING} or {MODEL} is damaged: {type(error).__name__}") from error
    raise DataFailed(f"fraud model: {SCORING}: kind and name are not known; expected trees or {', '.join(_BASELINES)}")


_BASELINES: Mapping[str, Callable[[Mapping[str, Any]], FraudScorer]] = {
    "rates": RatesBaseline.from_dict,
    "logistic": LogisticBaseline.from_dict,
}
