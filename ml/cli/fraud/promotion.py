"""The decision about a fraud model: fraud's rules, applied as those of every product are."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from ml.cli.fraud.inputs import PRODUCT, labels_are_suspect
from ml.cli.promotion import decide_challenge
from ml.evaluation.classification_promotion import Challenge, PromotionConfig, judge_challenge
from ml.evaluation.promotion import Rule
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
        rules = judge_challenge(Challenge.from_dict(measured), PromotionConfig(seed=settings.seed))
        # What was measured with labels that may be wrong is not known.
        return [*rules, Rule("labels_as_usual", "unknown" if is_suspect else "passed", float(is_suspect), 0.0)]

    return decide_challenge(settings, PRODUCT, partition, judge, "average_precision")
