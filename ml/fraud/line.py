"""A line over the inputs: L2-penalised logistic regression on signed logarithms, missing as a value of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from ml.fraud.config import LogisticConfig
from ml.fraud.inputs import Values

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """log-odds = sum of shares + intercept.

    Attributes:
        mean, spread: Of each input after the logarithm.
        weights: Of each standardised input.
        missing_weights: Of the input being missing.
    """

    mean: Floats
    spread: Floats
    weights: Floats
    missing_weights: Floats
    intercept: float

    def shares(self, values: Values) -> Floats:
        """Log-odds that each input adds, rows x inputs."""
        is_missing = ~np.isfinite(values)
        return np.asarray(
            _standardised(values, self.mean, self.spread) * self.weights + is_missing * self.missing_weights
        )

    def margins(self, values: Values) -> Floats:
        return np.asarray(self.shares(values).sum(axis=1) + self.intercept)

    def as_dict(self) -> dict[str, Any]:
        return {
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
            "weights": self.weights.tolist(),
            "missing_weights": self.missing_weights.tolist(),
            "intercept": self.intercept,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Line":
        return cls(
            np.asarray(raw["mean"], dtype=np.float64),
            np.asarray(raw["spread"], dtype=np.float64),
            np.asarray(raw["weights"], dtype=np.float64),
            np.asarray(raw["missing_weights"], dtype=np.float64),
            float(raw["intercept"]),
        )


def fit_line(
    values: Values,
    signs: npt.NDArray[np.int64],
    is_fraud: npt.NDArray[np.bool_],
    weight: Floats,
    config: LogisticConfig,
    seed: int,
) -> Line:
    """Fit on all frauds and a draw of the other orders, weighted up for those left out.

    Args:
        signs: Of each input: +1 where its weight may not be negative, -1 where it may not be positive, else 0.
    """
    chosen, factor = _drawn(is_fraud, config.max_rows, seed)
    values, target = values[chosen], is_fraud[chosen].astype(np.float32)
    weights = (weight[chosen] * np.where(is_fraud[chosen], 1.0, factor)).astype(np.float32)
    logs = _logs(values)
    is_known = np.isfinite(logs)
    counts = np.maximum(is_known.sum(axis=0), 1)
    mean = np.where(is_known, logs, 0.0).sum(axis=0) / counts
    spread = np.sqrt(np.square(np.where(is_known, logs - mean, 0.0)).sum(axis=0) / counts)
    spread = np.where(spread > 1e-6, spread, 1.0)
    # All inputs of an entity are missing together: one indicator speaks for them.
    missing, first = np.unique(~is_known, axis=1, return_index=True)
    differs = missing.any(axis=0) & ~missing.all(axis=0)
    size = values.shape[1]
    standard = _standardised(values, mean, spread)
    inputs = np.hstack([standard, missing[:, differs], np.ones((len(values), 1))]).astype(np.float32)
    bounds = [(0.0 if sign > 0 else None, 0.0 if sign < 0 else None) for sign in signs]
    bounds += [(None, None)] * (inputs.shape[1] - size)
    found = _minimise(inputs, target, weights, bounds, config)
    missing_weights = np.zeros(size)
    missing_weights[first[differs]] = found[size:-1]
    return Line(mean, spread, found[:size], missing_weights, float(found[-1]))


def _drawn(is_fraud: npt.NDArray[np.bool_], max_rows: int, seed: int) -> tuple[npt.NDArray[np.int64], float]:
    others = np.flatnonzero(~is_fraud)
    kept = max(max_rows - int(is_fraud.sum()), 1)
    if len(others) <= kept:
        return np.arange(len(is_fraud)), 1.0
    drawn = np.random.default_rng(seed).permutation(others)[:kept]
    return np.sort(np.concatenate([np.flatnonzero(is_fraud), drawn])), len(others) / kept


def _minimise(
    inputs: Values,
    target: Values,
    weights: Values,
    bounds: list[tuple[float | None, float | None]],
    config: LogisticConfig,
) -> Floats:
    """Weights of the penalised log-likelihood within bounds; the last is the intercept, which is not penalised."""
    penalty = np.full(inputs.shape[1], 1.0 / config.inverse_penalty)
    penalty[-1] = 0.0

    def loss(found: Floats) -> tuple[float, Floats]:
        margins = inputs @ found.astype(np.float32)
        loss = float((weights * (np.logaddexp(np.float32(0), margins) - target * margins)).sum(dtype=np.float64))
        gradient = inputs.T @ (weights * (special.expit(margins) - target))
        return loss + 0.5 * float((penalty * found**2).sum()), gradient.astype(np.float64) + penalty * found

    start = np.zeros(inputs.shape[1])
    share = float(np.clip(np.average(target, weights=weights), 1e-6, 1 - 1e-6))
    start[-1] = np.log(share / (1 - share))
    options = {"maxiter": config.max_iterations, "ftol": 1e-7, "maxcor": 20}
    solved = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(solved.x, dtype=np.float64)


def _logs(values: Values) -> Floats:
    finite = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    return np.asarray(np.sign(finite) * np.log1p(np.abs(finite)))


def _standardised(values: Values, mean: Floats, spread: Floats) -> Floats:
    # Far outside of what training saw a line goes on for ever; here it stops at ten spreads.
    standard = (_logs(values) - mean) / spread
    return np.minimum(np.maximum(np.where(np.isnan(standard), 0.0, standard), -10.0), 10.0)
