from dataclasses import replace

import pandas as pd
import pytest

from ml.recommender.baselines import (
    Baseline,
    all_baselines,
    frequency_scores,
    popularity_scores,
    recency_scores,
    tifu_knn_scores,
)
from ml.recommender.config import BaselineConfig, HistoryConfig
from ml.recommender.dataset import History, read_history
from ml.recommender.explain import REASON_NEW_CUSTOMER
from ml.recommender.protocols import RECOMMENDATION_COLUMNS
from tests.recommender_marts import day, mart_views

ANY = HistoryConfig(catalogue_min_purchases=1)
CONFIG = BaselineConfig()

# Customer a: p1 on trips 2 and 1 ago, p2 on the newest trip and 2 ago, p3 on the newest.
LINES = [("a", "p1", 0), ("a", "p2", 0), ("a", "p1", 2), ("a", "p2", 4), ("a", "p3", 4), ("b", "p4", 4), ("c", "p4", 3)]


@pytest.fixture
def history() -> History:
    return read_history(mart_views(LINES), day(7), ANY)


def _scores(found: pd.DataFrame, customer: str) -> dict[str, float]:
    rows = found[found["customer_id"] == customer]
    return dict(zip(rows["product_id"], rows["score"], strict=True))


def test_recency_is_the_sum_of_powers_of_095_by_trips_ago(history: History) -> None:
    found = Baseline("recency_count", recency_scores, CONFIG).recommend(history, ["a"], day(7), 3)
    assert list(found["product_id"]) == ["p2", "p1", "p3"]
    assert _scores(found, "a") == pytest.approx({"p2": 1.0 + 0.95**2, "p1": 0.95 + 0.95**2, "p3": 1.0})


def test_frequency_counts_trips_and_breaks_ties_by_popularity(history: History) -> None:
    found = Baseline("personal_frequency", frequency_scores, CONFIG).recommend(history, ["a"], day(7), 3)
    assert _scores(found, "a") == {"p1": 2.0, "p2": 2.0, "p3": 1.0}


def test_places_that_remain_go_to_what_is_popular(history: History) -> None:
    found = Baseline("recency_count", recency_scores, CONFIG).recommend(history, ["b"], day(7), 3)
    assert found["product_id"].iloc[0] == "p4"
    assert list(found["source"]) == ["own_purchases", "popular", "popular"]
    assert found["product_id"].is_unique
    assert list(found["rank"]) == [1, 2, 3]


def test_a_customer_never_seen_gets_popularity_and_is_told_so(history: History) -> None:
    for baseline in all_baselines(CONFIG):
        found = baseline.recommend(history, ["nobody"], day(7), 2)
        assert set(found["reason"]) == {REASON_NEW_CUSTOMER}, baseline.name
        assert list(found["product_id"]) == [str(history.products[code]) for code in history.popular_order[:2]]


def test_popularity_is_the_same_for_everybody(history: History) -> None:
    found = Baseline("popularity", popularity_scores, CONFIG).recommend(history, ["a", "b"], day(7), 2)
    lists = found.groupby("customer_id")["product_id"].agg(list)
    assert lists["a"] == lists["b"]


def test_all_baselines_keep_the_interface(history: History) -> None:
    names = []
    for baseline in all_baselines(CONFIG):
        found = baseline.recommend(history, ["c", "a"], day(7), 2)
        assert tuple(found.columns) == RECOMMENDATION_COLUMNS
        assert list(found["customer_id"]) == ["c", "c", "a", "a"]
        names.append(baseline.name)
    assert names == ["popularity", "personal_frequency", "recency_count", "tifu_knn"]


def test_tifu_without_neighbours_weighs_groups_and_trips_by_hand(history: History) -> None:
    config = replace(
        CONFIG, tifu_group_trips=2, tifu_within_decay=0.5, tifu_group_decay=0.8, tifu_own_share=1.0, tifu_neighbours=1
    )
    found = Baseline("tifu_knn", tifu_knn_scores, config).recommend(history, ["a"], day(7), 3)
    # Groups from the newest trip: {0, 1} and {2}. Newest group: weights 1/2 and 0.5/2; older group, a single trip:
    # 0.8 * 1; all halved, for there are two groups.
    assert _scores(found, "a") == pytest.approx({"p2": (0.5 + 0.8) / 2, "p1": (0.25 + 0.8) / 2, "p3": 0.25})


def test_tifu_takes_products_from_the_nearest_customer(history: History) -> None:
    config = replace(CONFIG, tifu_neighbours=1, tifu_own_share=0.5)
    found = Baseline("tifu_knn", tifu_knn_scores, config).recommend(history, ["b"], day(7), 1)
    # b and c both bought p4 on their only trip: the mean of the two is 1.
    assert _scores(found, "b") == pytest.approx({"p4": 1.0})


def test_a_history_of_another_day_is_refused(history: History) -> None:
    with pytest.raises(AssertionError, match="2024-01-08"):
        all_baselines(CONFIG)[0].recommend(history, ["a"], day(8), 2)
