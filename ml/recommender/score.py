"""Scores of candidate rows: one function for batch, API and evaluation."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xgboost as xgb

from ml.outcomes import DataFailed
from ml.recommender.dataset import Floats


def score(booster: xgb.Booster, rows: pd.DataFrame, features: Sequence[str], max_missing_share: float) -> Floats:
    """Score rows; within a customer, larger is better.

    XGBoost scores infinities and all-missing rows without a word, so both are refused here.

    Raises:
        DataFailed: A feature is absent or infinite, or a row misses too many of them.
    """
    absent = [name for name in features if name not in rows.columns]
    if absent:
        raise DataFailed(f"model inputs: expected features {', '.join(absent)}")
    values = rows[list(features)].to_numpy(np.float32)
    infinite = np.isinf(values).any(axis=0)
    if infinite.any():
        raise DataFailed(f"model inputs: not finite: {', '.join(np.asarray(features)[infinite])}")
    missing = np.isnan(values).mean(axis=1)
    if (missing > max_missing_share).any():
        count = int((missing > max_missing_share).sum())
        raise DataFailed(
            f"model inputs: {count} of {len(rows)} rows miss more than {max_missing_share:.0%} of the features"
        )
    if len(rows) == 0:
        return np.empty(0)
    return np.asarray(booster.inplace_predict(values), dtype=np.float64)


def best_per_customer(scored: pd.DataFrame, k: int) -> pd.DataFrame:
    """The k best rows of each customer with their rank; ties go to the first product id.

    Args:
        scored: customer_id, product_id, score and anything else.
    """
    ordered = scored.sort_values(["customer_id", "score", "product_id"], ascending=[True, False, True], kind="stable")
    ordered = ordered.assign(rank=ordered.groupby("customer_id", sort=False).cumcount() + 1)
    return ordered[ordered["rank"] <= k].reset_index(drop=True)
