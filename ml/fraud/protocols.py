"""What a fraud model is, for the trees and the baselines alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

BIAS = "bias"


@dataclass(frozen=True)
class Judged:
    """What a model says of n rows of its inputs.

    Attributes:
        probabilities: Of fraud, shape (n,); NaN where a fault is named.
        shares: Log-odds that each feature adds, then the bias; n x (features + 1).
        faults: Why a row is not scored, empty text where it is; shape (n,).
    """

    probabilities: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]
    faults: npt.NDArray[np.object_]


class FraudScorer(Protocol):
    """Anything that can be champion.

    Attributes:
        name: Name in tables and verdicts.
        kind: "baseline" or "trees", as in the registry's manifest.
        features: Its inputs, names of `ml.fraud.features.model_features`.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def features(self) -> tuple[str, ...]: ...

    def probabilities(self, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Calibrated probability of fraud of each row, NaN where `faults` names one: nothing is said of such a row.

        Args:
            rows: As `ml.fraud.features.with_derived` gives them.

        Raises:
            DataFailed: A feature is absent.
        """
        ...

    def contributions(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Log-odds that each feature adds, with `BIAS`; a row's sum is the log-odds of its probability."""
        ...

    def scored(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """`probabilities` of an array, rows x features in the order of `features`, missing as NaN; without pandas."""
        ...

    def judged(self, values: npt.NDArray[np.float32]) -> Judged:
        """Probabilities, contributions and faults of such an array at once."""
        ...

    def faults(self, rows: pd.DataFrame) -> "pd.Series[str]":
        """Why a row cannot be scored, by row; empty text where it can."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """The model as files of JSON; `ml.fraud.score.from_files` reads them."""
        ...
