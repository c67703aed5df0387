"""The decision about a fraud model: fraud's rules, applied as those of every product are."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from ml.cli.fraud.inputs import PRODUCT, labels_are_suspect
from ml.cli.promotion import decide_challenge
from ml.evaluation.classification_promotion import Challenge, PromotionConfig, judge_challenge
from ml.evaluation.promotion import Rule, at_least
from ml.settings import get_settings
from ml.stores.operations import Operations


def decide_promotion(partition: date) -> dict[str, Any]:
    """Decide a day's challenge. A lost challenge is no failure.

    Raises:
        ToolFailed: Nothing was measured for the day, or the champion has changed since it was measured.
    """
    settings = get_settings()
    is_suspect = labels_are_suspect(Operations.from_settings(settings))

    def judge(measured: Mapping[str, Any]) -> list[Rule]:
        compared = {name: value for name, value in measured.items() if name != "fallback"}
        rules = judge_challenge(Challenge.from_dict(compared), PromotionConfig(seed=settings.seed))
        # A model is served without one too; the stand-in decides then while features are missing.
        rules.append(at_least("fallback_models", _count_fallbacks(measured.get("fallback")), 0.0))
        # What was measured with labels that may be wrong is not known.
        return [*rules, Rule("labels_as_usual", "unknown" if is_suspect else "passed", float(is_suspect), 0.0)]

    return decide_challenge(settings, PRODUCT, partition, judge, "average_precision")


def _count_fallbacks(rule: Mapping[str, Any] | None) -> float:
    """How many models for missing features were better than knowing nothing, beyond doubt: one or none."""
    return float(rule is not None and rule["status"] == "passed")
