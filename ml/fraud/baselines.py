"""Baselines with the model's interface. Each is a few lines that honest trees must beat."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.calibration import Calibration, fit_calibration
from ml.fraud.config import FraudConfig
from ml.fraud.features import signs
from ml.fraud.inputs import Bounds, Values, input_values, learn_bounds, unusable_features
from ml.fraud.line import Line, fit_line
from ml.fraud.protocols import BIAS, FraudScorer, Judged
from ml.outcomes import DataFailed

Floats = npt.NDArray[np.float64]

SCORING = "scoring.json"


@dataclass(frozen=True)
class RatesBaseline:
    """How often the order's entities were fraud before: rates over the shop's, added up as if independent."""

    features: tuple[str, ...]
    calibration: Calibration
    bounds: Bounds
    name: str = "rates"
    kind: Literal["baseline"] = "baseline"

    def probabilities(self, rows: pd.DataFrame) -> Floats:
        return self.scored(input_values(rows, self.features))

    def contributions(self, rows: pd.DataFrame) -> pd.DataFrame:
        shares = self.judged(input_values(rows, self.features)).shares
        return pd.DataFrame(shares, columns=[*self.features, BIAS], index=rows.index)

    def scored(self, values: Values) -> Floats:
        scored = self.calibration.probabilities(_sums(values))
        return np.where(self.bounds.faulty(values) == "", scored, np.nan)

    def judged(self, values: Values) -> Judged:
        wide = values.astype(np.float64)
        shares = np.where(np.isfinite(wide), wide, 0.0) * self.calibration.slope
        bias = np.full((len(values), 1), self.calibration.intercept)
        return Judged(self.scored(values), np.hstack([shares, bias]), self.bounds.faulty(values))

    def faults(self, rows: pd.DataFrame) -> "pd.Series[str]":
        return pd.Series(self.bounds.faulty(input_values(rows, self.features)), index=rows.index, dtype=object)

    def files(self) -> dict[str, bytes]:
        return _files(self, {})

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "RatesBaseline":
        return cls(tuple(raw["features"]), Calibration(**raw["calibration"]), Bounds.from_dict(raw["bounds"]))


@dataclass(frozen=True)
class LogisticBaseline:
    """Logistic regression on the model's inputs."""

    features: tuple[str, ...]
    line: Line
    calibration: Calibration
    bounds: Bounds
    name: str = "logistic"
    kind: Literal["baseline"] = "baseline"

    def probabilities(self, rows: pd.DataFrame) -> Floats:
        return self.scored(input_values(rows, self.features))

    def contributions(self, rows: pd.DataFrame) -> pd.DataFrame:
        shares = self.judged(input_values(rows, self.features)).shares
        return pd.DataFrame(shares, columns=[*self.features, BIAS], index=rows.index)

    def scored(self, values: Values) -> Floats:
        scored = self.calibration.probabilities(self.line.margins(values))
        return np.where(self.bounds.faulty(values) == "", scored, np.nan)

    def judged(self, values: Values) -> Judged:
        shares = self.line.shares(values) * self.calibration.slope
        bias = np.full((len(values), 1), self.calibration.slope * self.line.intercept + self.calibration.intercept)
        return Judged(self.scored(values), np.hstack([shares, bias]), self.bounds.faulty(values))

    def faults(self, rows: pd.DataFrame) -> "pd.Series[str]":
        return pd.Series(self.bounds.faulty(input_values(rows, self.features)), index=rows.index, dtype=object)

    def files(self) -> dict[str, bytes]:
        return _files(self, {"line": self.line.as_dict()})

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "LogisticBaseline":
        return cls(
            tuple(raw["features"]),
            Line.from_dict(raw["line"]),
            Calibration(**raw["calibration"]),
            Bounds.from_dict(raw["bounds"]),
        )


def fit_rates(rows: pd.DataFrame) -> RatesBaseline:
    """The rates as they are; only the calibration is learnt.

    Raises:
        DataFailed: No rate is among the columns, or the labels are all alike.
    """
    features = [name for name in rows.columns if name.startswith("fraud_rate_over_shop_") and name.endswith("_ever")]
    if not features:
        raise DataFailed("fraud training set: expected a feature fraud_rate_over_shop_<entity>_ever")
    learnt = _learnt(rows)
    values = input_values(learnt, features)
    dropped = unusable_features(values, features)
    kept = [name for name in features if name not in dropped] or features[:1]
    values = input_values(learnt, kept)
    calibration = fit_calibration(_sums(values), learnt["is_fraud"], *_weights(learnt))
    # An order whose entities are all unknown has the shop's rate, so nothing may be missing too much.
    bounds = Bounds(np.full(len(kept), np.inf), max_missing_share=1.0)
    return RatesBaseline(tuple(kept), calibration, bounds)


def fit_logistic(rows: pd.DataFrame, features: list[str], config: FraudConfig) -> LogisticBaseline:
    """L2-penalised logistic regression, calibrated on the calibration days.

    Raises:
        DataFailed: The labels are all alike.
    """
    learnt = _learnt(rows)
    values = input_values(learnt, features)
    dropped = unusable_features(values, features)
    kept = [name for name in features if name not in dropped]
    values = input_values(learnt, kept)
    bounds = learn_bounds(values, kept, config.trees.max_missing_share, config.trees.implausible_factor)
    is_fraud, weight = learnt["is_fraud"].to_numpy(bool), learnt["weight"].to_numpy(np.float64)
    line = fit_line(values, signs(kept), is_fraud, weight, config.logistic, config.seed)
    held = _learnt(rows, "calibration")
    if held["is_fraud"].sum() < config.trees.min_calibration_frauds:
        held = learnt
    calibration = fit_calibration(line.margins(input_values(held, kept)), held["is_fraud"], *_weights(held))
    return LogisticBaseline(tuple(kept), line, calibration, bounds)


def fit_baselines(rows: pd.DataFrame, features: list[str], config: FraudConfig) -> list[FraudScorer]:
    """Every baseline, in the order in which tables show them."""
    return [fit_rates(rows), fit_logistic(rows, features, config)]


def _learnt(rows: pd.DataFrame, fold: str | None = None) -> pd.DataFrame:
    learnt = rows[rows["fold"].eq(fold)] if fold else rows[rows["fold"].ne("test")]
    if fold is None and learnt["is_fraud"].nunique() < 2:
        raise DataFailed("fraud training set: the labels are all alike; expected frauds and legitimate orders")
    return learnt


def _weights(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Weight of each order without the correction for unknown frauds, and the share that is known."""
    share = rows["known_share"].to_numpy(np.float64)
    weight = rows["weight"].to_numpy(np.float64)
    return np.where(rows["is_fraud"], weight * share, weight), share


def _sums(values: Values) -> Floats:
    return np.asarray(np.where(np.isfinite(values), values.astype(np.float64), 0.0).sum(axis=1))


def _files(model: RatesBaseline | LogisticBaseline, own: Mapping[str, Any]) -> dict[str, bytes]:
    scoring = {
        "kind": model.kind,
        "name": model.name,
        "features": list(model.features),
        "calibration": model.calibration.as_dict(),
        "bounds": model.bounds.as_dict(),
        **own,
    }
    return {SCORING: json.dumps(scoring, sort_keys=True, indent=1).encode()}
