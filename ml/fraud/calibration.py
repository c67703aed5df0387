"""Margins made probabilities: a line over the log-odds, fitted on days that no tree was grown on.

Two parameters keep the order of the scores and let contributions add up to the calibrated log-odds exactly; an
isotonic step function does neither, and with a hundred frauds it follows noise.
"""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

_MIN_SLOPE, _MAX_SLOPE = 0.05, 20.0


@dataclass(frozen=True)
class Calibration:
    """log-odds = slope * margin + intercept."""

    slope: float = 1.0
    intercept: float = 0.0

    def log_odds(self, margins: npt.ArrayLike) -> Floats:
        return np.asarray(self.slope * np.asarray(margins, dtype=np.float64) + self.intercept)

    def probabilities(self, margins: npt.ArrayLike) -> Floats:
        return np.asarray(special.expit(self.log_odds(margins)), dtype=np.float64)

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def fit_calibration(
    margins: npt.ArrayLike,
    is_fraud: npt.ArrayLike,
    weight: npt.ArrayLike,
    known_share: npt.ArrayLike | None = None,
    *,
    ridge: float = 1.0,
    rate_ridge: float = 16.0,
) -> Calibration:
    """Platt's line by Newton's method on the log-likelihood.

    Where only a share of the frauds is known yet, a known fraud counts 1 / known_share of a fraud and as much less of a
    legitimate order, which leaves the sums of both unbiased.

    Args:
        weight: Weight of an order, without the correction for what is not known yet.
        ridge: Pull of the slope towards 1, in observations: few frauds do not turn it over.
        rate_ridge: Pull of the intercept towards 0, as 1 / variance: the rate of fraud of a few weeks is a quarter off
            that of the weeks to come, whatever its own counting error says.

    Returns:
        The line; its slope stays positive, so calibration never turns an order of scores around. With no frauds at all
        the margins stay as they are.
    """
    x = np.asarray(margins, dtype=np.float64)
    w = np.asarray(weight, dtype=np.float64)
    share = np.ones_like(x) if known_share is None else np.asarray(known_share, dtype=np.float64)
    target = np.asarray(is_fraud, dtype=np.float64) / np.clip(share, 1e-3, 1.0)
    if not (target * w).sum() > 0:
        return Calibration()
    slope, intercept = 1.0, 0.0
    for _ in range(100):
        p = special.expit(slope * x + intercept)
        residual, curvature = w * (p - target), w * p * (1 - p) + 1e-12
        gradient = np.array([(residual * x).sum() + ridge * (slope - 1.0), residual.sum() + rate_ridge * intercept])
        hessian = np.array(
            [[(curvature * x * x).sum() + ridge, (curvature * x).sum()], [0.0, curvature.sum() + rate_ridge]]
        )
        hessian[1, 0] = hessian[0, 1]
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
        # A long step leaves the region where the quadratic is true.
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        slope = float(np.clip(slope - step[0], _MIN_SLOPE, _MAX_SLOPE))
        intercept -= float(step[1])
        if np.abs(step).max() < 1e-8:
            break
    return Calibration(slope, intercept)
