"""The decision about a ranker: the recommender's rules, applied as those of every product are."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from ml.cli.promotion import decide_challenge
from ml.cli.recommender.inputs import PRODUCT
from ml.evaluation.promotion import Challenge, PromotionConfig, Rule, judge_challenge
from ml.settings import get_settings


def decide_promotion(partition: date) -> dict[str, Any]:
    """Decide a day's challenge. A lost challenge is no failure.

    Raises:
        ToolFailed: Nothing was measured for the day, or the champion has changed since it was measured.
    """
    settings = get_settings()

    def judge(measured: Mapping[str, Any]) -> list[Rule]:
        return judge_challenge(Challenge.from_dict(measured), PromotionConfig(seed=settings.seed))

    return decide_challenge(settings, PRODUCT, partition, judge, "ndcg_at_10")
