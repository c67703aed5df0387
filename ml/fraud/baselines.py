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
from ml.fraud.dataset import draw_rows
from ml.fraud.inputs import Bounds, Values, input_values, learn_bounds, unusable_features
from ml.fraud.protocols import BIAS, FraudScorer
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
        values = input_values(rows, self.features)
        scored = self.calibration.probabilities(_sums(values))
        return np.where(self.bounds.faulty(values) == "", scored, np.nan)

    def contributions(self, rows: pd.DataFrame) -> pd.DataFrame:
        values = input_values(rows, self.features).astype(np.float64)
        shares = np.where(np.isfinite(values), values, 0.0) * self.calibration.slope
        bias = np.full((len(rows), 1), self.calibration.intercept)
        return pd.DataFrame(np.hstack([shares, bias]), columns=[*self.features, BIAS], index=rows.index)

    def faults(self, rows: pd.DataFrame) -> "pd.Series[str]":
        return pd.Series(self.bounds.faulty(input_values(rows, self.features)), index=rows.index, dtype=object)

    def files(self) -> dict[str, bytes]:
        return _files(self, {})

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "RatesBaseline":
        return cls(tuple(raw["features"]), Calibration(**raw["calibration"]), Bounds.from_dict(raw["bounds"]))


@dataclass(frozen=True)
class LogisticBaseline:
    """Logistic regression on the same inputs: signed logarithms, standardised, missing as a value of its own.

    Attributes:
        mean, spread: Of each input after the logarithm.
        weights: Of each standardised input.
        missing_weights: Of the input being missing.
    """

    features: tuple[str, ...]
    mean: Floats
    spread: Floats
    weights: Floats
    missing_weights: Floats
    intercept: float
    calibration: Calibration
    bounds: Bounds
    name: str = "logistic"
    kind: Literal["baseline"] = "baseline"

    def probabilities(self, rows: pd.DataFrame) -> Floats:
        values = input_values(rows, self.features)
        scored = self.calibration.probabilities(self.margins(values))
        return np.where(self.bounds.faulty(values) == "", scored, np.nan)

    def margins(self, values: Values) -> Floats:
        return np.asarray(self._shares(values).sum(axis=1) + self.intercept)

    def contributions(self, rows: pd.DataFrame) -> pd.DataFrame:
        shares = self._shares(input_values(rows, self.features)) * self.calibration.slope
        bias = np.full((len(rows), 1), self.calibration.slope * self.intercept + self.calibration.intercept)
        return pd.DataFrame(np.hstack([shares, bias]), columns=[*self.features, BIAS], index=rows.index)

    def faults(self, rows: pd.DataFrame) -> "pd.Series[str]":
        return pd.Series(self.bounds.faulty(input_values(rows, self.features)), index=rows.index, dtype=object)

    def files(self) -> dict[str, bytes]:
        return _files(
            self,
            {
                "mean": self.mean.tolist(),
                "spread": self.spread.tolist(),
                "weights": self.weights.tolist(),
                "missing_weights": self.missing_weights.tolist(),
                "intercept": self.intercept,
            },
        )

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "LogisticBaseline":
        return cls(
            tuple(raw["features"]),
            np.asarray(raw["mean"], dtype=np.float64),
            np.asarray(raw["spread"], dtype=np.float64),
            np.asarray(raw["weights"], dtype=np.float64),
            np.asarray(raw["missing_weights"], dtype=np.float64),
            float(raw["intercept"]),
            Calibration(**raw["calibration"]),
            Bounds.from_dict(raw["bounds"]),
        )

    def _shares(self, values: Values) -> Floats:
        standard = _standardised(values, self.mean, self.spread)
        is_missing = ~np.isfinite(values)
        return np.asarray(standard * self.weights + is_missing * self.missing_weights)


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
    """L2-penalised logistic regression, on all frauds and a draw of the other orders.

    Raises:
        DataFailed: The labels are all alike.
    """
    from sklearn.linear_model import LogisticRegression

    learnt = draw_rows(_learnt(rows), config.logistic.max_rows, config.seed)
    values = input_values(learnt, features)
    dropped = unusable_features(values, features)
    kept = [name for name in features if name not in dropped]
    values = input_values(learnt, kept)
    bounds = learn_bounds(values, kept, config.trees.max_missing_share, config.trees.implausible_factor)
    logs = _logs(values)
    mean = np.nan_to_num(np.nanmean(logs, axis=0))
    spread = np.nan_to_num(np.nanstd(logs, axis=0), nan=1.0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    is_missing = ~np.isfinite(values)
    model = LogisticRegression(C=config.logistic.inverse_penalty, max_iter=config.logistic.max_iterations)
    inputs = np.hstack([_standardised(values, mean, spread), is_missing])
    model.fit(inputs, learnt["is_fraud"].to_numpy(), sample_weight=learnt["weight"].to_numpy())
    weights = model.coef_[0].astype(np.float64)
    fitted = LogisticBaseline(
        tuple(kept), mean, spread, weights[: len(kept)], weights[len(kept) :], float(model.intercept_[0]),
        Calibration(), bounds,
    )  # fmt: skip
    held = _learnt(rows, "calibration")
    if held["is_fraud"].sum() < config.trees.min_calibration_frauds:
        held = learnt
    calibration = fit_calibration(fitted.margins(input_values(held, kept)), held["is_fraud"], *_weights(held))
    return LogisticBaseline(
        fitted.features, mean, spread, fitted.weights, fitted.missing_weights, fitted.intercept, calibration, bounds
    )


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


def _logs(values: Values) -> Floats:
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    return np.asarray(np.sign(finite) * np.log1p(np.abs(finite)))


def _standardised(values: Values, mean: Floats, spread: Floats) -> Floats:
    return np.nan_to_num((_logs(values) - mean) / spread)


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
