"""What a fraud model is, for the trees and the baselines alike."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

BIAS = "bias"


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

    def faults(self, rows: pd.DataFrame) -> "pd.Series[str]":
        """Why a row cannot be scored, by row; empty text where it can."""
        ...

    def files(self) -> Mapping[str, bytes]:
        """The model as files of JSON; `ml.fraud.score.from_files` reads them."""
        ...
