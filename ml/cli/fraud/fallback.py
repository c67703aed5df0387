"""The model for missing features of one training: fitted, judged, and kept or not, with the rule that decided it."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ml.evaluation.promotion import Rule
from ml.fraud.config import FraudConfig
from ml.fraud.evaluate import judge
from ml.fraud.fallback import fallback_files, judge_fallback
from ml.fraud.score import FraudModel


@dataclass(frozen=True)
class FallbackTrial:
    """A fallback model on the test days.

    Attributes:
        model: None where it is not worth having.
        rule: What was observed; None where nothing could be learnt.
    """

    model: FraudModel | None
    rule: Rule | None

    def files(self) -> dict[str, bytes]:
        return {} if self.model is None else fallback_files(self.model)

    def told(self) -> dict[str, Any] | None:
        """The rule as JSON; what is not defined is null."""
        if self.rule is None:
            return None
        observed = self.rule.observed
        return self.rule.as_dict() | {
            "observed": observed if observed is not None and math.isfinite(observed) else None
        }


NOT_TRIED = FallbackTrial(None, None)


def try_fallback(model: FraudModel | None, test: pd.DataFrame, config: FraudConfig) -> FallbackTrial:
    """Judge a fallback model: it is kept where it is better than knowing nothing beyond doubt."""
    if model is None:
        return NOT_TRIED
    rule = judge_fallback(judge(test, model.probabilities(test), config), config)
    return FallbackTrial(model if rule.passed else None, rule)
