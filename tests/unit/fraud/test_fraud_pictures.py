"""Pictures are drawn of good models and of those of which nothing can be said."""

import numpy as np
import pandas as pd

from ml.fraud.config import EvaluationConfig
from ml.fraud.evaluate import JudgedFraud, judge
from ml.fraud.pictures import importance, precision_recall_curve, reliability_curve

_PNG = b"\x89PNG"


def _judged(frauds: int) -> JudgedFraud:
    rows = pd.DataFrame({"order_id": range(20), "is_fraud": np.arange(20) < frauds, "amount_cents": 1})
    return judge(rows, np.linspace(0.9, 0.01, 20), EvaluationConfig(min_frauds=1))


def test_curves_are_drawn_also_where_no_order_is_fraud() -> None:
    judged = {"trees": _judged(3), "rates": _judged(0)}
    assert reliability_curve(judged).startswith(_PNG)
    assert precision_recall_curve(judged).startswith(_PNG)


def test_importance_is_drawn_also_of_a_model_without_splits() -> None:
    assert importance({"count_frauds_device_30d": 2.0, "log_amount": 1.0}).startswith(_PNG)
    assert importance({}).startswith(_PNG)
