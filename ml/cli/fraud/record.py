"""What people are told of a training: its run in MLflow, with pictures."""

from collections.abc import Mapping

from ml.cli.fraud.inputs import origin
from ml.fraud import pictures
from ml.fraud.evaluate import JudgedFraud
from ml.fraud.score import FraudModel
from ml.settings import Settings
from ml.stores import mlflow_tracking
from ml.stores.bundles import ModelBundle


def record_training(
    settings: Settings, bundle: ModelBundle, judged: Mapping[str, JudgedFraud], model: FraudModel
) -> None:
    """Log a trained model to MLflow, and say of what kind its payments are.

    Args:
        judged: Of all methods on the same test orders.
    """
    mlflow_tracking.log_bundle(
        settings,
        bundle,
        params=origin(settings),
        pictures={
            "reliability": pictures.reliability_curve(judged),
            "precision_recall": pictures.precision_recall_curve(judged),
            "importance": pictures.importance(model.booster.get_score(importance_type="total_gain")),
        },
    )
