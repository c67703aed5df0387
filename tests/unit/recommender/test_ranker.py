"""Features joined, rows scored, the best shown: the ranker's stages on a shop of a few customers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from ml.outcomes import DataFailed
from ml.recommender.candidates import propose
from ml.recommender.config import HistoryConfig, RankerConfig, RecommenderConfig, SplitConfig
from ml.recommender.dataset import read_history
from ml.recommender.evaluate import open_cut
from ml.recommender.explain import REASON_NEW_CUSTOMER, THEMES, contributions, reasons
from ml.recommender.features import (
    CUSTOMER_FEATURES,
    FEATURES,
    PRODUCT_FEATURES,
    FeatureTables,
    add_features,
)
from ml.recommender.protocols import RECOMMENDATION_COLUMNS
from ml.recommender.ranker import Ranker, sample_rows
from ml.recommender.score import best_per_customer, score
from ml.recommender.train import fit, rows_of_cut, sample_negatives
from tests.recommender_marts import day, empty_feed, mart_views

CONFIG = RecommenderConfig(
    history=HistoryConfig(catalogue_min_purchases=1),
    ranker=RankerConfig(trees=5, depth=2, min_child_weight=0.0, threads=1, row_share=1.0, column_share=1.0),
    split=SplitConfig(min_trips=2),
    reference_customers=1,
)
# Everybody buys p1 on each trip and another product once; the label week begins on day 14.
LINES = [(customer, "p1", offset) for customer in "abc" for offset in (0, 7, 15)] + [
    ("a", "p2", 0),
    ("b", "p3", 7),
    ("c", "p4", 7),
]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    labelled, _ = rows_of_cut(open_cut(mart_views(LINES), day(14), CONFIG), empty_feed, CONFIG)
    return labelled


@pytest.fixture(scope="module")
def booster(rows: pd.DataFrame) -> xgb.Booster:
    return fit(rows, FEATURES, CONFIG.ranker, seed=1)


def test_labels_are_what_was_bought_in_the_week(rows: pd.DataFrame) -> None:
    assert set(rows.loc[rows["label"] == 1, "product_id"]) == {"p1"}
    assert sorted(rows["customer_id"].unique()) == ["a", "b", "c"]
    assert set(rows["cut"]) == {day(14)}


def test_the_ranker_learns_what_everybody_buys_again(rows: pd.DataFrame, booster: xgb.Booster) -> None:
    scored = rows.assign(score=score(booster, rows, FEATURES, 1.0))
    assert list(best_per_customer(scored, 1)["product_id"]) == ["p1", "p1", "p1"]


def test_training_again_gives_the_same_model(rows: pd.DataFrame, booster: xgb.Booster) -> None:
    shuffled = rows.sample(frac=1.0, random_state=3)
    assert fit(shuffled, FEATURES, CONFIG.ranker, seed=1).save_raw("json") == booster.save_raw("json")


def test_nothing_to_learn_from_is_said_so(rows: pd.DataFrame) -> None:
    with pytest.raises(DataFailed, match="no candidate was bought"):
        fit(rows.assign(label=0), FEATURES, CONFIG.ranker, seed=1)


def test_reference_rows_are_of_customers_drawn_from_all(rows: pd.DataFrame) -> None:
    lines = [*LINES, ("d", "p1", 3)]
    everybody = replace(CONFIG, reference_customers=99)
    _, reference = rows_of_cut(open_cut(mart_views(lines), day(14), everybody), empty_feed, everybody)
    # d has too few trips to be judged and bought nothing in the week, but would be scored.
    assert sorted(reference["customer_id"].unique()) == ["a", "b", "c", "d"]
    assert "d" not in set(rows["customer_id"])


def test_negatives_are_sampled_by_seed_and_purchases_kept() -> None:
    rows = pd.DataFrame({"cut": 1, "customer_id": ["a"] * 6 + ["b"] * 3, "label": [1, 0, 0, 0, 0, 1, 0, 0, 0]})
    kept = sample_negatives(rows, 2, seed=5)
    # b bought none of the candidates and teaches nothing.
    assert kept.groupby(["customer_id", "label"]).size().to_dict() == {("a", 0): 2, ("a", 1): 2}
    pd.testing.assert_frame_equal(kept, sample_negatives(rows, 2, seed=5))


def test_features_keep_the_order_of_the_pairs_and_take_services_by_name() -> None:
    history = read_history(mart_views(LINES), day(14), CONFIG.history)
    pairs = propose(history, ["c", "a"], CONFIG)
    customer = pd.DataFrame({"customer_id": ["a", "c"], **{name: [1.0, 3.0] for name in CUSTOMER_FEATURES.values()}})
    product = pd.DataFrame({"product_id": ["p1"], **{name: [7.0] for name in PRODUCT_FEATURES.values()}})
    sql = empty_feed(history, pairs).pair_sql
    found = add_features(history, pairs, FeatureTables(sql, customer, product))
    assert list(found["product_id"]) == list(pairs["product_id"])
    assert dict(zip(found["customer_id"], found["customer_count_orders_28d"], strict=True)) == {"c": 3.0, "a": 1.0}
    is_p1 = found["product_id"] == "p1"
    assert set(found.loc[is_p1, "product_count_orders_28d"]) == {7.0}
    assert found.loc[~is_p1, "product_count_orders_28d"].isna().all()


def test_a_service_without_a_column_is_named() -> None:
    history = read_history(mart_views(LINES), day(14), CONFIG.history)
    pairs = propose(history, ["a"], CONFIG)
    tables = empty_feed(history, pairs)
    lacking = FeatureTables(tables.pair_sql, tables.customer.drop(columns="count_orders_28d"), tables.product)
    with pytest.raises(DataFailed, match="recommender_customer lacks count_orders_28d"):
        add_features(history, pairs, lacking)


def test_a_service_with_two_rows_for_a_customer_is_refused() -> None:
    history = read_history(mart_views(LINES), day(14), CONFIG.history)
    pairs = propose(history, ["a"], CONFIG)
    tables = empty_feed(history, pairs)
    twice = tables.customer.reindex(range(2)).assign(customer_id="a")
    with pytest.raises(pd.errors.MergeError):
        add_features(history, pairs, FeatureTables(tables.pair_sql, twice, tables.product))


def test_infinities_are_refused_before_they_get_a_confident_score(rows: pd.DataFrame, booster: xgb.Booster) -> None:
    spoiled = rows.assign(overdue_ratio=np.inf)
    with pytest.raises(DataFailed, match="not finite: overdue_ratio"):
        score(booster, spoiled, FEATURES, 1.0)


def test_rows_that_know_nothing_are_refused(rows: pd.DataFrame, booster: xgb.Booster) -> None:
    blank = rows.assign(**dict.fromkeys(FEATURES, np.nan))
    with pytest.raises(DataFailed, match="miss more than 90%"):
        score(booster, blank, FEATURES, 0.9)


def test_an_absent_feature_is_named(rows: pd.DataFrame, booster: xgb.Booster) -> None:
    with pytest.raises(DataFailed, match="expected features trip_share"):
        score(booster, rows.drop(columns="trip_share"), FEATURES, 1.0)


def test_ties_go_to_the_first_product() -> None:
    scored = pd.DataFrame({"customer_id": "a", "product_id": ["p2", "p1", "p3"], "score": [1.0, 1.0, 2.0]})
    found = best_per_customer(scored, 2)
    assert found[["product_id", "rank"]].to_numpy().tolist() == [["p3", 1], ["p1", 2]]


def test_recommending_keeps_the_interface_and_tells_the_unknown_customer() -> None:
    history = read_history(mart_views(LINES), day(14), CONFIG.history)
    labelled, _ = rows_of_cut(open_cut(mart_views(LINES), day(14), CONFIG), empty_feed, CONFIG)
    seen: list[pd.DataFrame] = []
    ranker = Ranker(fit(labelled, FEATURES, CONFIG.ranker, 1), CONFIG, empty_feed, seen.append)
    found = ranker.recommend(history, ["nobody", "b"], day(14), 2)
    assert tuple(found.columns) == RECOMMENDATION_COLUMNS
    assert list(found["customer_id"]) == ["nobody", "nobody", "b", "b"]
    assert set(found.loc[found["customer_id"] == "nobody", "reason"]) == {REASON_NEW_CUSTOMER}
    assert found.loc[found["customer_id"] == "b", "product_id"].iloc[0] == "p1"
    assert len(seen) == 1
    assert set(seen[0]["customer_id"]) == {"b"}


def test_contributions_add_up_to_the_score(rows: pd.DataFrame, booster: xgb.Booster) -> None:
    parts = contributions(booster, rows, FEATURES)
    assert parts.shape == (len(rows), len(FEATURES) + 1)
    assert np.allclose(parts.sum(axis=1), score(booster, rows, FEATURES, 1.0), atol=1e-5)


def test_reasons_are_true_of_their_rows(rows: pd.DataFrame, booster: xgb.Booster) -> None:
    shown = rows[rows["product_id"] == "p1"].reset_index(drop=True)
    told = reasons(booster, shown, FEATURES)
    assert len(told) == 3
    assert set(told) <= {
        "You bought it 2 times, the last time 7 days ago",
        "You bought it 7 days ago",
        "You buy it about every 7 days; the last time was 7 days ago",
        "You often buy this kind of product",
        "You bought it before",
    }


def test_a_reason_that_would_not_be_true_is_not_said() -> None:
    never_bought = dict.fromkeys(FEATURES, np.nan) | dict.fromkeys(
        ("count_purchases", "together_score", "subcategory_trip_share", "count_store_customers_28d"), 0.0
    )
    said = {theme.name: theme.say(never_bought | {"product_count_orders_28d": np.nan}) for theme in THEMES}
    assert said == dict.fromkeys(said)
    assert len(said) == 7


def test_every_feature_of_a_theme_exists_and_has_one_theme() -> None:
    named = [name for theme in THEMES for name in theme.features]
    assert set(named) <= set(FEATURES)
    assert len(named) == len(set(named))


def test_a_sample_holds_no_ids_and_is_drawn_by_seed(rows: pd.DataFrame) -> None:
    scored = rows.assign(score=0.5)
    sample = sample_rows(scored, 3, seed=1)
    assert list(sample.columns) == [*FEATURES, "score"]
    assert len(sample) == 3
    pd.testing.assert_frame_equal(sample, sample_rows(scored, 3, seed=1))
