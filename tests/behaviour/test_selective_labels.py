"""Declined orders have no label. A past policy declined half of the frauds: what is left lies about fraud, unless the
few that were let through by chance speak for the others."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.bootstrap import Interval
from ml.fraud.config import FraudConfig, TreesConfig
from ml.fraud.dataset import training_rows
from ml.fraud.evaluate import average_precision, interval, judge
from ml.fraud.splits import FraudSplit
from ml.fraud.train import fit
from tests.fraud_rows import START, labelled_rows

CONFIG = FraudConfig(trees=TreesConfig(trees=80, patience=15, learning_rate=0.1))
COUNT = 40_000
EXPLORED = 0.1
_DAYS = COUNT * 30 // (24 * 60)
MOMENT = START + timedelta(days=_DAYS + 200)


def _day(share: float) -> date:
    return (START + timedelta(days=round(share * _DAYS))).date()


SPLIT = FraudSplit(_day(0), _day(0.3), _day(0.5), _day(0.5), _day(1.0), MOMENT)


def _truth(seed: int) -> pd.DataFrame:
    """Every order with its label, also of those that were declined: what nobody in the shop ever sees."""
    return labelled_rows(COUNT, seed)


def _decisions(truth: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The past policy wanted to decline every new device, and let a tenth of those through to review."""
    would_decline = truth["is_new_device_for_customer"].eq(1)
    explored = np.random.default_rng(seed).random(len(truth)) < EXPLORED
    return pd.DataFrame(
        {
            "order_id": truth["order_id"],
            "action": np.select([would_decline & ~explored, would_decline], ["decline", "review"], "approve"),
            "would_decline": would_decline,
            "propensity": np.where(would_decline, EXPLORED, 1.0),
        }
    )


def _seen(truth: pd.DataFrame, decisions: pd.DataFrame, use: pd.DataFrame | None) -> pd.DataFrame:
    """Rows of the orders that got a label; `use` are the decisions that the code under test is told."""
    got_through = truth[decisions["action"].ne("decline").to_numpy()]
    frauds = got_through[got_through["is_fraud"]]
    labels = frauds[["order_id", "is_fraud"]].assign(
        known_at=frauds["attempted_at"] + timedelta(days=30), label_source="chargeback"
    )
    features = (got_through if use is None else truth).drop(
        columns=["is_fraud", "fold", "weight", "known_share", "propensity", "customer_id"]
    )
    features = features.assign(attempt_date=features["attempted_at"].dt.date)
    payments = truth[["order_id", "customer_id", "attempted_at"]].assign(is_approved=True)
    return training_rows(features, payments, labels, use, SPLIT, MOMENT, CONFIG)


def _naive(truth: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """As if the orders that were approved were all there are."""
    through = decisions["action"].eq("approve")
    return _seen(truth[through.to_numpy()], decisions[through], None)


def _share(rows: pd.DataFrame, probability: np.ndarray) -> Interval:  # type: ignore[type-arg]
    judged = judge(rows, probability, CONFIG)
    is_fraud, weight = judged.per_order["is_fraud"].to_numpy(float), judged.per_order["weight"].to_numpy()
    return interval(judged, lambda drawn: float((is_fraud * drawn * weight).sum() / (drawn * weight).sum()), seed=1)


def _tests(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["fold"] == "test"].reset_index(drop=True)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.full) for seed in (2, 3))])
def test_the_reweighted_estimate_covers_the_truth_and_the_naive_one_does_not(seed: int) -> None:
    truth = _truth(seed)
    decisions = _decisions(truth, seed)
    is_test = truth["attempted_at"] >= pd.Timestamp(SPLIT.test_first, tz="UTC")
    declined = decisions["action"].eq("decline").to_numpy()
    assert 0.35 < truth["is_fraud"].to_numpy()[declined].sum() / truth["is_fraud"].sum() < 0.6

    naive = _tests(_naive(truth, decisions))
    reweighted = _tests(_seen(truth, decisions, decisions))
    assert len(naive) > 15_000
    assert reweighted["weight"].max() == pytest.approx(1 / EXPLORED)

    true_share = truth.loc[is_test, "is_fraud"].mean()
    naive_share = _share(naive, naive["probability"].to_numpy())
    share = _share(reweighted, reweighted["probability"].to_numpy())
    assert naive_share.high < true_share
    assert share.low <= true_share <= share.high

    true_precision = judge(truth[is_test], truth.loc[is_test, "probability"], CONFIG).summary()["average_precision"]
    judged_naive = judge(naive, naive["probability"], CONFIG)
    judged = judge(reweighted, reweighted["probability"], CONFIG)
    assert interval(judged_naive, average_precision(judged_naive), seed=1).high < true_precision
    found = interval(judged, average_precision(judged), seed=1)
    assert found.low <= true_precision <= found.high


def test_trained_on_what_was_approved_the_model_does_not_know_what_was_declined() -> None:
    truth = _truth(1)
    decisions = _decisions(truth, 1)
    naive = fit(_naive(truth, decisions), CONFIG)
    reweighted = fit(_seen(truth, decisions, decisions), CONFIG)
    fresh = labelled_rows(20_000, seed=9)
    new = fresh[fresh["is_new_device_for_customer"].eq(1)]
    true_share = new["probability"].mean()
    assert naive.probabilities(new).mean() < 0.4 * true_share
    assert reweighted.probabilities(new).mean() == pytest.approx(true_share, rel=0.5)
    rest = fresh[fresh["is_new_device_for_customer"].eq(0)]
    assert reweighted.probabilities(rest).mean() == pytest.approx(rest["probability"].mean(), rel=0.35)
