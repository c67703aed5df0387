"""What is compared on the same orders, each trained on the same rows: rules, logistic regression, XGBoost as it comes,
ours."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from fraud_marts import BuiltMarts

from ml.fraud.config import FraudConfig
from ml.fraud.policy import ACTIONS, Policy, expected_costs

Floats = npt.NDArray[np.float64]

RULES, LOGISTIC, RAW_XGBOOST, OURS, ATTAINABLE = "rules", "logistic", "raw_xgboost", "ours", "attainable"
PROBABILISTIC = (LOGISTIC, RAW_XGBOOST, OURS, ATTAINABLE)

# A payment's own columns, as a first attempt would take them: nothing counted, categories as codes.
_RAW_NUMBERS = ("amount_cents",)
_RAW_MOMENTS = ("attempted_at", "account_created_at")
_RAW_CODES = (
    "customer_id",
    "terminal_id",
    "instrument_hash",
    "device_hash",
    "ip_hash",
    "ip_country",
    "shipping_address_hash",
    "billing_address_hash",
    "email_domain",
    "channel",
)


@dataclass(frozen=True)
class Judged:
    """The test orders of one data set.

    Attributes:
        orders: order_id, customer_id, attempted_at, amount_cents, is_fraud, and what rules and costs read.
        scores: Method -> score per order; a probability for all but the rules.
        seconds: What took how long.
        trained: What the training says of itself.
    """

    orders: pd.DataFrame
    scores: Mapping[str, Floats]
    seconds: Mapping[str, float]
    trained: Mapping[str, Any]


def judge_methods(
    marts: BuiltMarts, first: date, train_at: datetime, test_until: date, known_at: datetime, config: FraudConfig
) -> Judged:
    """Train every method at one moment, from what was known then, and score the days after it.

    Args:
        first: First day with orders.
        test_until: The day after the last test day.
        known_at: The labels of the test days are what is known then.
    """
    from ml.fraud import baselines, train
    from ml.fraud.features import model_features
    from ml.fraud.rules import rule_score

    begun = perf_counter()
    rows, payments, about = training_rows_of(marts, first, train_at, test_until, known_at, config)
    seconds = {"training_rows": perf_counter() - begun}
    learnt, test = rows[rows["fold"] != "test"], rows[rows["fold"] == "test"].reset_index(drop=True)

    begun = perf_counter()
    ours = train.fit(rows, config)
    seconds["training"] = perf_counter() - begun
    begun = perf_counter()
    scores = {OURS: ours.probabilities(test)}
    seconds["scoring"] = perf_counter() - begun
    begun = perf_counter()
    logistic = baselines.fit_logistic(rows, list(model_features(rows.columns)), config)
    seconds["logistic"] = perf_counter() - begun
    scores[LOGISTIC] = logistic.probabilities(test)
    scores[RAW_XGBOOST] = _raw_xgboost(learnt, test, payments)
    unscored = {name: int((~np.isfinite(score)).sum()) for name, score in scores.items()}
    # An order of which a model says nothing has the rate of all.
    base = float(learnt["is_fraud"].mean())
    scores = {name: np.where(np.isfinite(score), score, base) for name, score in scores.items()}
    policy = _policy()
    scores[RULES] = rule_score(test, policy)
    trained = {
        **about,
        "learnt_orders": len(learnt),
        "learnt_frauds": int(learnt["is_fraud"].sum()),
        "test_orders": len(test),
        "test_frauds": int(test["is_fraud"].sum()),
        "features": len(ours.features),
        "unscored": unscored,
        **dict(ours.report),
    }
    return Judged(test, scores, seconds, trained)


def training_rows_of(
    marts: BuiltMarts, first: date, train_at: datetime, test_until: date, known_at: datetime, config: FraudConfig
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Rows to learn from at one moment and to judge by, the payments, and how labels and days were parted."""
    from ml.fraud.dataset import training_rows
    from ml.fraud.labels import estimate_delay
    from ml.fraud.splits import split_at

    connection = marts.connect()
    features, payments, labels = (
        connection.table(name).df() for name in ("feat_order_risk", "fct_order_payments", "fct_fraud_labels")
    )
    connection.close()
    delay = estimate_delay(payments, labels, train_at, config.labels)
    split = split_at(first, train_at, test_until, delay, config.split)
    rows = training_rows(features, payments, labels, None, split, known_at, config)
    return rows, payments, {"split": split.as_dict(), "maturity_days": delay.maturity_days}


def _policy() -> Policy:
    from ml.fraud.policy_file import default_policy

    return default_policy()


def _raw_xgboost(learnt: pd.DataFrame, test: pd.DataFrame, payments: pd.DataFrame) -> Floats:
    from xgboost import XGBClassifier

    model = XGBClassifier(n_jobs=2)
    inputs = _raw_columns(payments)
    model.fit(inputs.loc[learnt["order_id"]], learnt["is_fraud"].astype(int))
    return np.asarray(model.predict_proba(inputs.loc[test["order_id"]])[:, 1], float)


def _raw_columns(payments: pd.DataFrame) -> pd.DataFrame:
    columns: dict[str, Any] = {name: payments[name].astype(float) for name in _RAW_NUMBERS}
    for name in _RAW_MOMENTS:
        moments = pd.to_datetime(payments[name], utc=True)
        if moments.notna().any():
            columns[name] = (moments - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    local = pd.to_datetime(payments["attempted_at"], utc=True)
    columns["hour"], columns["weekday"] = local.dt.hour, local.dt.weekday
    for name in _RAW_CODES:
        if payments[name].notna().any():
            codes = pd.factorize(payments[name])[0].astype(float)
            columns[name] = np.where(codes < 0, np.nan, codes)
    return pd.DataFrame(columns).set_index(payments["order_id"].to_numpy())


def saved_cents(judged: Judged, method: str, policy: Policy | None = None, seed: int = 0) -> Floats:
    """Per order, what the method's decision saved against approving it, by what the order turned out to be.

    Probabilities go through the default policy without its rules, within its reviewers' day; rules act by themselves.
    """
    from ml.fraud.decide import choose
    from ml.fraud.rules import RuleHistory, capped, matches, nanoseconds

    policy = policy or _policy()
    orders = judged.orders
    if method == RULES:
        said = matches(orders, policy.rules)
        times = nanoseconds(orders["attempted_at"])
        sequence = np.lexsort((orders["order_id"].astype(str).to_numpy(), times))
        over = capped(times, sequence, said, policy.rules, RuleHistory())
        action = np.zeros(len(orders), dtype=np.int64)
        for rule in policy.rules:
            asked = np.where(over[rule.name], ACTIONS.index(policy.below_decline), ACTIONS.index(rule.action))
            action = np.maximum(action, np.where(said[rule.name] == 1.0, asked, 0))
    else:
        by_model = replace(policy, rules=())
        probabilities = np.clip(judged.scores[method], 0.0, 1.0)
        action = choose(orders, probabilities, by_model, (), None, None, seed).action
    costs = costs_in_truth(judged, policy)
    return np.asarray(costs[:, 0] - costs[np.arange(len(orders)), action], float)


def costs_in_truth(judged: Judged, policy: Policy | None = None) -> Floats:
    """What each action would have cost, shape (n, 4)."""
    policy = policy or _policy()
    orders = judged.orders
    certain = orders["is_fraud"].to_numpy().astype(float)
    return expected_costs(certain, orders["amount_cents"].to_numpy(), orders, policy).to_numpy(float)
