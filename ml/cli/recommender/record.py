"""What people are told of a training: its run in MLflow, with pictures."""

from collections.abc import Mapping

import pandas as pd

from ml.evaluation.promotion import PromotionConfig, group_means
from ml.evaluation.ranking_metrics import Judged, K
from ml.recommender import pictures
from ml.recommender.ranker import Ranker
from ml.settings import Settings
from ml.stores import mlflow_tracking
from ml.stores.bundles import ModelBundle


def record_training(
    settings: Settings,
    ranker: Ranker,
    bundle: ModelBundle,
    baseline: str,
    judged: Mapping[str, Judged],
    curve: Mapping[int, float],
    groups: pd.DataFrame,
    milliseconds: float,
) -> None:
    """Log a trained ranker to MLflow.

    Args:
        baseline: The best baseline, which the pictures compare with.
        curve: NDCG@10 of the ranker by number of trees.
        groups: customer_id and one column per attribute.
        milliseconds: What the exact contributions of ten rows take on one thread.
    """
    level = judged[baseline].summary()[f"ndcg_at_{K}"]
    slices = {name: _by_group(judged[name], groups) for name in (baseline, ranker.name)}
    mlflow_tracking.log_bundle(
        settings,
        bundle,
        metrics={"explain_ten_rows_ms": milliseconds},
        pictures={
            "importance": pictures.importance(ranker.booster.get_score(importance_type="total_gain")),
            "quality_by_slice": pictures.quality_by_slice(slices),
            "learning_curve": pictures.learning_curve(list(curve), list(curve.values()), level),
        },
    )


def _by_group(judged: Judged, groups: pd.DataFrame) -> dict[str, float]:
    smallest = PromotionConfig().min_group_customers
    return {
        f"{attribute}: {group}": value
        for attribute in groups.columns.drop("customer_id")
        for group, value in group_means(judged.per_customer, groups[["customer_id", attribute]], smallest).items()
    }
