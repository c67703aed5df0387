from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from ml.recommender.candidates import bought_together, own_purchases, propose
from ml.recommender.candidates.own_purchases import best_per_row
from ml.recommender.config import CandidateConfig, HistoryConfig, RecommenderConfig
from ml.recommender.dataset import History, read_history
from tests.recommender_marts import day, mart_views

CONFIG = RecommenderConfig(
    history=HistoryConfig(catalogue_min_purchases=1),
    candidates=CandidateConfig(
        own_purchases=2, bought_together=1, popular_in_store=1, popular=1, together_min_baskets=1
    ),
)

# p1 and p2 share two trips of three each; p3 goes alone with p1 once. Customer c knows p1 only.
LINES = [
    ("a", "p1", 0),
    ("a", "p2", 0),
    ("a", "p1", 1),
    ("a", "p2", 1),
    ("b", "p1", 2),
    ("b", "p3", 2),
    ("b", "p2", 3),
    ("b", "p4", 3),
    ("c", "p1", 4),
]


@pytest.fixture
def history() -> History:
    return read_history(mart_views(LINES), day(7), CONFIG.history)


def test_companions_are_by_cosine_of_trips(history: History) -> None:
    found = bought_together.companions(history, CONFIG.candidates).toarray()
    product = {name: code for code, name in enumerate(history.products)}
    # Trips of two or more products: p1 in 3, p2 in 3, p3 in 1, p4 in 1; p1 and p2 together in 2.
    assert found[product["p1"], product["p2"]] == pytest.approx(2 / 3)
    assert found[product["p1"], product["p3"]] == pytest.approx(1 / np.sqrt(3))
    assert found[product["p1"], product["p1"]] == 0


def test_too_few_shared_trips_say_nothing(history: History) -> None:
    config = replace(CONFIG.candidates, together_min_baskets=2)
    found = bought_together.companions(history, config).tocoo()
    pairs = {
        (str(history.products[row]), str(history.products[column]))
        for row, column in zip(found.row, found.col, strict=True)
    }
    assert pairs == {("p1", "p2"), ("p2", "p1")}


def test_bought_together_proposes_only_what_is_new(history: History) -> None:
    found = propose(history, ["c"], CONFIG)
    assert dict(zip(found["product_id"], found["source"], strict=True)) == {
        "p1": "own_purchases",
        "p2": "bought_together",
    }


def test_a_product_keeps_its_first_source_and_comes_once(history: History) -> None:
    found = propose(history, ["a", "b", "c"], CONFIG)
    assert not found.duplicated(["customer_id", "product_id"]).any()
    mine = found[found["customer_id"] == "a"]
    assert set(mine.loc[mine["product_id"].isin(["p1", "p2"]), "source"]) == {"own_purchases"}


def test_together_score_is_the_mean_nearness_to_what_is_bought(history: History) -> None:
    found = propose(history, ["c"], CONFIG).set_index("product_id")["together_score"]
    # c buys nothing but p1, so the score of p2 is its nearness to p1.
    assert found["p2"] == pytest.approx(2 / 3)


def test_own_purchases_are_cut_by_recency_weight(history: History) -> None:
    own = own_purchases.weights(history, 0.5)
    rows, products = own_purchases.propose(history, own, 1)
    chosen = {
        str(history.customers[row]): str(history.products[product]) for row, product in zip(rows, products, strict=True)
    }
    # b bought p2 and p4 on the newest trip; p2 is more popular.
    assert chosen["b"] == "p2"


def test_customers_without_history_are_not_asked(history: History) -> None:
    with pytest.raises(AssertionError, match="1 customers have no history"):
        propose(history, ["nobody"], CONFIG)


def test_nobody_asked_gives_no_rows(history: History) -> None:
    assert propose(history, [], CONFIG).empty


def test_best_per_row_orders_by_value_then_popularity_then_column() -> None:
    scores = sparse.csr_matrix(np.array([[1.0, 2.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]))
    rows, columns, values = best_per_row(scores, 3, np.array([0.0, 0.0, 5.0, 0.0]))
    assert columns.tolist() == [1, 2, 0]
    assert rows.tolist() == [0, 0, 0]
    assert values.tolist() == [2.0, 1.0, 1.0]
