"""Training rows: features of an order beside what was known of it, without the orders whose label was prevented."""

from collections.abc import Collection
from datetime import datetime

import numpy as np
import pandas as pd

from ml.fraud.config import FraudConfig
from ml.fraud.features import with_derived
from ml.fraud.labels import estimate_delay, known_labels
from ml.fraud.splits import FraudSplit
from ml.outcomes import DataFailed

KEY_COLUMNS = ("order_id", "attempted_at", "attempt_date", "customer_id", "amount_cents")
TRAIN, CALIBRATION, TEST = "train", "calibration", "test"
DECLINE = "decline"


def training_rows(
    features: pd.DataFrame,
    payments: pd.DataFrame,
    labels: pd.DataFrame,
    decisions: pd.DataFrame | None,
    split: FraudSplit,
    moment: datetime,
    config: FraudConfig,
) -> pd.DataFrame:
    """Rows to learn from and to judge by.

    Declined orders have no label and are left out; of the orders that the policy wanted to decline and let through by
    chance, each stands for as many as its propensity says. Rows that are learnt from carry the labels known at
    `split.label_moment`, rows of the test days those known at `moment`.

    Args:
        features: Rows of `feat_order_risk`.
        payments: Rows of `fct_order_payments`.
        labels: Rows of `fct_fraud_labels`.
        decisions: Rows of `fct_fraud_decisions`, or None where nobody decided.

    Returns:
        `KEY_COLUMNS`, is_fraud, source, known_share, propensity, weight, fold and the model's inputs, ordered by
        (attempted_at, order_id). `weight` is the label's weight over the propensity.

    Raises:
        DataFailed: A table misses a column, or no row is left to learn from.
    """
    _require(features, "feat_order_risk", ("order_id", "attempted_at", "attempt_date", "amount_cents"))
    _require(payments, "fct_order_payments", ("order_id", "attempted_at"))
    _require(labels, "fct_fraud_labels", ("order_id", "is_fraud", "known_at", "label_source"))
    known = pd.concat(
        [_learnt(payments, labels, split, config), _judged(payments, labels, moment, config)],
        keys=[True, False],
        names=["is_learnt"],
    ).reset_index("is_learnt")
    placed = features[["order_id"]].assign(fold=folds(features["attempt_date"], split)).dropna(subset=["fold"])
    placed = placed.assign(is_learnt=placed["fold"].ne(TEST))
    placed = placed.merge(known, on=["order_id", "is_learnt"], how="inner", validate="one_to_one")
    placed = placed.merge(_customers(payments), on="order_id", how="left", validate="one_to_one")
    placed = _reweighted(placed, decisions, config)
    placed = placed[placed["weight"] > 0]
    if not placed["fold"].ne(TEST).any():
        raise DataFailed("fraud training set: 0 orders with a label to learn from, expected at least 1")
    placed = placed.drop(columns=["is_learnt", "is_mature"])
    # Placed first, then looked up in order: a wide merge and a wide sort would each copy millions of wide rows.
    times = features[["order_id", "attempted_at"]]
    placed = placed.merge(times, on="order_id", how="inner", validate="one_to_one")
    placed = placed.sort_values(["attempted_at", "order_id"], kind="stable", ignore_index=True)
    own = features.drop(columns=[name for name in features.columns if name in placed.columns])
    places = pd.Index(features["order_id"]).get_indexer(pd.Index(placed["order_id"]))
    own = with_derived(own.take(places).reset_index(drop=True))
    return pd.concat([placed, own], axis=1)


def folds(attempt_date: pd.Series, split: FraudSplit) -> pd.Series:
    """train, calibration, test, or None for a day that is in none of them."""
    day = pd.to_datetime(attempt_date)
    bounds = np.array(
        [
            split.train_first,
            split.calibration_first,
            split.train_until,
            split.test_first,
            split.test_until,
        ],
        dtype="datetime64[us]",
    )
    names = np.array([None, TRAIN, CALIBRATION, None, TEST, None], dtype=object)
    return pd.Series(
        names[np.searchsorted(bounds, day.to_numpy("datetime64[us]"), side="right")], index=attempt_date.index
    )


def draw_rows(rows: pd.DataFrame, max_rows: int, seed: int) -> pd.DataFrame:
    """All frauds and so many of the other orders that at most `max_rows` remain, weighted up for those left out."""
    is_fraud = rows["is_fraud"].to_numpy()
    others = int((~is_fraud).sum())
    kept = max(max_rows - int(is_fraud.sum()), 1)
    if others <= kept:
        return rows
    chosen = np.random.default_rng(seed).permutation(np.flatnonzero(~is_fraud))[:kept]
    drawn = rows.iloc[np.sort(np.concatenate([np.flatnonzero(is_fraud), chosen]))]
    factor = np.where(drawn["is_fraud"], 1.0, others / kept)
    return drawn.assign(weight=drawn["weight"] * factor)


def _learnt(payments: pd.DataFrame, labels: pd.DataFrame, split: FraudSplit, config: FraudConfig) -> pd.DataFrame:
    delay = estimate_delay(payments, labels, split.label_moment, config.labels)
    return known_labels(payments, labels, split.label_moment, delay, config.labels)


def _judged(payments: pd.DataFrame, labels: pd.DataFrame, moment: datetime, config: FraudConfig) -> pd.DataFrame:
    """Only what is mature judges."""
    delay = estimate_delay(payments, labels, moment, config.labels)
    known = known_labels(payments, labels, moment, delay, config.labels)
    return known.assign(weight=known["weight"].where(known["is_mature"], 0.0))


def _customers(payments: pd.DataFrame) -> pd.DataFrame:
    if "customer_id" not in payments:
        return payments[["order_id"]].assign(customer_id=None)
    return payments[["order_id", "customer_id"]]


def _reweighted(placed: pd.DataFrame, decisions: pd.DataFrame | None, config: FraudConfig) -> pd.DataFrame:
    if decisions is None or decisions.empty:
        return placed.assign(propensity=1.0)
    _require(decisions, "fct_fraud_decisions", ("order_id", "action", "would_decline", "propensity"))
    decided = placed.merge(
        decisions[["order_id", "action", "would_decline", "propensity"]],
        on="order_id",
        how="left",
        validate="one_to_one",
    )
    would_decline = decided["would_decline"].eq(True)
    propensity = decided["propensity"].astype(float).where(would_decline, 1.0).fillna(1.0)
    is_declined = decided["action"].eq(DECLINE) | propensity.le(0)
    inverse = (1.0 / propensity.where(~is_declined, 1.0)).clip(upper=config.evaluation.max_weight)
    weight = (decided["weight"] * inverse).where(~is_declined, 0.0)
    return decided.drop(columns=["action", "would_decline"]).assign(propensity=propensity, weight=weight)


def _require(frame: pd.DataFrame, table: str, columns: Collection[str]) -> None:
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise DataFailed(f"{table}: expected columns {', '.join(absent)}")
