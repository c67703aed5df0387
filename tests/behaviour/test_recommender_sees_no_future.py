"""What is recommended as of a day depends on nothing that happens on it or later, whichever model recommends."""

from datetime import timedelta

import duckdb
import numpy as np
import pandas as pd
import pytest

from ml.recommender.baselines import all_baselines
from ml.recommender.config import HistoryConfig, RankerConfig, RecommenderConfig, SplitConfig
from ml.recommender.dataset import read_history
from ml.recommender.evaluate import open_cut
from ml.recommender.features import FEATURES
from ml.recommender.ranker import Ranker
from ml.recommender.train import fit, rows_of_cut
from tests.recommender_marts import day, empty_feed, mart_views

CONFIG = RecommenderConfig(
    history=HistoryConfig(catalogue_min_purchases=2),
    ranker=RankerConfig(trees=10, depth=3, min_child_weight=0.0, threads=1),
    split=SplitConfig(min_trips=2),
    reference_customers=5,
)
AS_OF = day(42)


def _shop() -> duckdb.DuckDBPyConnection:
    draw = np.random.default_rng(11)
    lines = [
        (f"c{customer}", f"p{product}", offset)
        for customer in range(20)
        for offset in range(customer % 4, 56, 4)
        for product in {customer % 12, int(draw.integers(12)), int(draw.integers(12))}
    ]
    return mart_views(lines)


def _recommended(connection: duckdb.DuckDBPyConnection) -> dict[str, pd.DataFrame]:
    cut = open_cut(connection, AS_OF - timedelta(days=7), CONFIG)
    rows, _ = rows_of_cut(cut, empty_feed, CONFIG)
    ranker = Ranker(fit(rows, FEATURES, CONFIG.ranker, CONFIG.seed), CONFIG, empty_feed)
    history = read_history(connection, AS_OF, CONFIG.history)
    customers = [f"c{number}" for number in range(20)]
    models = [*all_baselines(CONFIG.baselines), ranker]
    return {model.name: model.recommend(history, customers, AS_OF, 5) for model in models}


@pytest.mark.parametrize(
    "change",
    [
        "delete from fct_order_lines where order_date >= $as_of_date",
        "update fct_order_lines set product_id = 'p1', customer_id = 'c1' where order_date >= $as_of_date",
        "update fct_order_lines set store_id = 's9' where order_date >= $as_of_date",
        "update fct_order_lines set quantity = 99, is_merchandise = false where order_date >= $as_of_date",
    ],
)
def test_another_future_recommends_the_same(change: str) -> None:
    before = _recommended(_shop())
    other = _shop()
    other.execute(change, {"as_of_date": AS_OF})
    after = _recommended(other)
    assert sorted(before) == ["personal_frequency", "popularity", "ranker", "recency_count", "tifu_knn"]
    for name, recommended in before.items():
        pd.testing.assert_frame_equal(recommended, after[name], obj=name)


def test_another_past_recommends_something_else() -> None:
    other = _shop()
    other.execute("delete from fct_order_lines where order_date = $day", {"day": AS_OF - timedelta(days=2)})
    before, after = _recommended(_shop()), _recommended(other)
    assert not before["ranker"].equals(after["ranker"])
    assert not before["recency_count"].equals(after["recency_count"])
