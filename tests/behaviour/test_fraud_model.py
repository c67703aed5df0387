"""The model of fraud on orders of a known process: it learns it, says how sure it is, is not fooled by bad data."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from ml.evaluation.classification_metrics import average_precision, expected_calibration_error
from ml.fraud.baselines import fit_baselines
from ml.fraud.config import FraudConfig, TreesConfig
from ml.fraud.dataset import training_rows
from ml.fraud.evaluate import judge
from ml.fraud.features import model_features, monotone_features
from ml.fraud.labels import DelayCurve
from ml.fraud.score import FraudModel, from_files
from ml.fraud.splits import split_at
from ml.fraud.train import fit
from ml.outcomes import DataFailed
from tests.fraud_rows import labelled_rows

CONFIG = FraudConfig(trees=TreesConfig(trees=80, patience=15, learning_rate=0.1))
DELAY = DelayCurve((0.0,) * 20 + (1.0,), maturity_days=20, learnable_days=20, count_frauds=99, is_estimated=True)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return labelled_rows(16_000, seed=1)


@pytest.fixture(scope="module")
def model(rows: pd.DataFrame) -> FraudModel:
    return fit(rows, CONFIG)


@pytest.fixture(scope="module")
def test_rows(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["fold"] == "test"].reset_index(drop=True)


def test_it_comes_near_to_what_can_be_known(model: FraudModel, test_rows: pd.DataFrame) -> None:
    many = labelled_rows(30_000, seed=2)
    attainable = average_precision(many["probability"], many["is_fraud"])
    assert average_precision(model.probabilities(many), many["is_fraud"]) > 0.7 * attainable
    assert attainable > 5 * many["is_fraud"].mean()


def test_its_probabilities_are_true(model: FraudModel) -> None:
    many = labelled_rows(30_000, seed=3)
    said = model.probabilities(many)
    assert model.report["is_calibrated"]
    assert expected_calibration_error(said, many["is_fraud"]) < 0.25 * many["is_fraud"].mean()
    assert said.mean() == pytest.approx(many["probability"].mean(), rel=0.25)


def test_contributions_add_up_to_the_log_odds_of_trees_and_baselines(model: FraudModel, rows: pd.DataFrame) -> None:
    some = rows.head(300)
    scorers = [model, *fit_baselines(rows, list(model_features(rows.columns)), CONFIG)]
    assert [one.name for one in scorers] == ["trees", "rates", "logistic"]
    for scorer in scorers:
        probability = scorer.probabilities(some)
        added = scorer.contributions(some).sum(axis=1).to_numpy()
        np.testing.assert_allclose(added, np.log(probability / (1 - probability)), atol=1e-9)


def test_a_model_is_read_back_from_json_as_it_was(model: FraudModel, test_rows: pd.DataFrame) -> None:
    again = from_files(model.files())
    np.testing.assert_array_equal(again.probabilities(test_rows), model.probabilities(test_rows))
    assert all(name.endswith(".json") for name in model.files())
    assert again.files() == model.files()


def test_the_same_training_gives_the_same_bytes(model: FraudModel, rows: pd.DataFrame) -> None:
    assert fit(rows, CONFIG).files() == model.files()


def test_what_speaks_against_an_order_never_lowers_its_probability(model: FraudModel, test_rows: pd.DataFrame) -> None:
    signs = monotone_features(model.features)
    before = model.probabilities(test_rows)
    moved = 0
    for name, sign in signs.items():
        more = model.probabilities(test_rows.assign(**{name: test_rows[name] + np.float32(1)}))
        assert (sign * (more - before)[~np.isnan(test_rows[name])] >= -1e-9).all(), name
        moved += int((np.abs(more - before) > 1e-6).any())
    assert moved >= 3


@pytest.mark.parametrize("poison", [np.inf, -np.inf, 1e39, 3e9])
def test_a_poisoned_row_is_not_scored_as_if_it_were_real(
    model: FraudModel, test_rows: pd.DataFrame, poison: float
) -> None:
    some = test_rows.head(4).astype({"count_orders_device_1h": np.float64})
    some.loc[1, "count_orders_device_1h"] = poison
    probability = model.probabilities(some)
    assert np.isnan(probability).tolist() == [False, True, False, False]
    assert model.faults(some).tolist()[1] in ("infinite", "implausible")
    assert np.isfinite(model.contributions(some).to_numpy()).all(), "the rows beside it are explained all the same"


def test_an_order_of_which_nothing_is_known_is_not_scored(model: FraudModel, test_rows: pd.DataFrame) -> None:
    some = test_rows.head(2).copy()
    some.loc[0, list(model.features)] = np.float32(np.nan)
    assert model.faults(some).tolist() == ["missing", ""]
    assert np.isnan(model.probabilities(some)).tolist() == [True, False]
    # Minus zero is zero.
    zero = test_rows.head(1).assign(count_orders_device_1h=np.float32(0.0))
    minus = zero.assign(count_orders_device_1h=np.float32(-0.0))
    assert model.probabilities(zero)[0] == model.probabilities(minus)[0]


def test_training_leaves_poison_out_and_says_so(model: FraudModel, rows: pd.DataFrame, test_rows: pd.DataFrame) -> None:
    poisoned = rows.copy()
    learnt = np.flatnonzero(rows["fold"] == "train")
    # Honest orders made to look extreme: 1% of the rows.
    places = learnt[~rows["is_fraud"].to_numpy()[learnt]][:80]
    poisoned.loc[places[:40], "count_failed_device_1h"] = np.float32(2e6)
    poisoned.loc[places[40:], "count_failed_device_1h"] = np.float32(np.inf)
    poisoned = poisoned.assign(hour_of_day=np.float32(np.nan), day_of_week=np.float32(3))
    found = fit(poisoned, CONFIG)
    assert found.report["left_out_rows"] == {"implausible": 40, "infinite": 40}
    assert {"hour_of_day": "all missing", "day_of_week": "constant"}.items() <= dict(found.dropped).items()
    truth = test_rows["is_fraud"]
    clean = average_precision(model.probabilities(test_rows), truth)
    assert average_precision(found.probabilities(test_rows), truth) > 0.8 * clean


@pytest.mark.parametrize("is_fraud", [True, False])
def test_labels_that_are_all_alike_are_not_learnt_from(rows: pd.DataFrame, is_fraud: bool) -> None:
    with pytest.raises(DataFailed, match="expected frauds and legitimate ones"):
        fit(rows.assign(is_fraud=is_fraud), CONFIG)


def test_where_all_labels_are_alike_nothing_is_said_of_a_model(model: FraudModel, test_rows: pd.DataFrame) -> None:
    for is_fraud in (True, False):
        flooded = test_rows.assign(is_fraud=is_fraud)
        assert np.isnan(judge(flooded, model.probabilities(flooded), CONFIG).summary()["average_precision"])


def test_no_feature_that_differs_is_refused(rows: pd.DataFrame) -> None:
    constant = rows.assign(**dict.fromkeys(model_features(rows.columns), np.float32(1)))
    with pytest.raises(DataFailed, match="every feature is constant or missing"):
        fit(constant, CONFIG)


def test_few_frauds_make_a_model_that_says_it_is_not_calibrated(rows: pd.DataFrame) -> None:
    few = pd.concat([rows[rows["is_fraud"]].head(15), rows[~rows["is_fraud"]].head(500)], ignore_index=True)
    found = fit(few, CONFIG)
    assert not found.report["is_calibrated"]
    assert np.isfinite(found.probabilities(few)).all()


def test_more_rows_than_asked_for_are_drawn_and_the_probabilities_stay_true(rows: pd.DataFrame) -> None:
    found = fit(rows, replace(CONFIG, trees=replace(CONFIG.trees, max_rows=4_000)))
    many = labelled_rows(20_000, seed=4)
    assert found.report["rows"] <= 4_000
    assert found.probabilities(many).mean() == pytest.approx(many["probability"].mean(), rel=0.35)


def test_what_becomes_known_later_does_not_change_what_is_learnt() -> None:
    """Labels known after the moment of training, planted on half of the orders, change no row that is learnt from."""
    features = labelled_rows(6_000, seed=5).drop(columns=["fold", "weight", "known_share", "propensity", "customer_id"])
    features = features.assign(attempt_date=features["attempted_at"].dt.date)
    payments = features[["order_id", "attempted_at"]].assign(customer_id="c", is_approved=True)
    frauds = features[features["is_fraud"]]
    labels = frauds[["order_id", "is_fraud"]].assign(
        known_at=frauds["attempted_at"] + timedelta(days=15), label_source="chargeback"
    )
    train_at = datetime(2024, 4, 1, tzinfo=UTC)
    split = split_at(date(2024, 1, 1), train_at, date(2024, 4, 20), DELAY, CONFIG.split)
    planted = features.iloc[::2][["order_id"]].assign(
        is_fraud=True, known_at=pd.Timestamp(train_at) + timedelta(seconds=1), label_source="chargeback"
    )
    moment = datetime(2024, 6, 1, tzinfo=UTC)
    clean = training_rows(features, payments, labels, None, split, moment, CONFIG)
    leaking = training_rows(features, payments, pd.concat([labels, planted]), None, split, moment, CONFIG)
    learnt = clean["fold"] != "test"
    assert learnt.sum() > 2_000
    assert clean[~learnt]["is_fraud"].mean() < 0.1 < leaking[leaking["fold"] == "test"]["is_fraud"].mean()
    pd.testing.assert_frame_equal(
        clean[learnt].reset_index(drop=True), leaking[leaking["fold"] != "test"].reset_index(drop=True)
    )
