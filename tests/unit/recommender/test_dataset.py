import numpy as np
import pytest

from ml.outcomes import DataFailed
from ml.recommender.config import HistoryConfig
from ml.recommender.dataset import read_history, read_truth
from tests.recommender_marts import day, mart_views

ANY = HistoryConfig(catalogue_min_purchases=1)


def test_two_orders_of_one_day_are_one_trip() -> None:
    connection = mart_views([("a", "p1", 0), ("a", "p2", 0), ("a", "p1", 0), ("a", "p1", 3)])
    history = read_history(connection, day(7), ANY)
    assert history.count_trips.tolist() == [2]
    assert len(history.purchases.product) == 3


def test_trips_are_counted_back_from_the_newest() -> None:
    connection = mart_views([("a", "p1", 0), ("a", "p2", 3), ("a", "p1", 5), ("b", "p1", 1)])
    history = read_history(connection, day(7), ANY)
    found = {
        (str(history.customers[customer]), str(history.products[product]), int(ago)): int(trips)
        for customer, product, ago, trips in zip(
            history.purchases.customer,
            history.purchases.product,
            history.purchases.days_ago,
            history.purchases.trips_ago,
            strict=True,
        )
    }
    assert found == {("a", "p1", 7): 2, ("a", "p2", 4): 1, ("a", "p1", 2): 0, ("b", "p1", 6): 0}


def test_the_day_itself_and_what_follows_are_not_history() -> None:
    connection = mart_views([("a", "p1", 0), ("a", "p2", 7), ("b", "p1", 8)])
    history = read_history(connection, day(7), ANY)
    assert list(history.customers) == ["a"]
    assert list(history.products) == ["p1"]


def test_what_is_not_merchandise_is_neither_history_nor_truth() -> None:
    connection = mart_views([("a", "p1", 0), ("a", "fuel", 1), ("a", "fuel", 8)], not_merchandise=["fuel"])
    history = read_history(connection, day(7), ANY)
    assert history.count_trips.tolist() == [1]
    assert read_truth(connection, day(7)).empty


def test_a_suspect_order_is_neither_history_nor_popular_nor_truth() -> None:
    lines = [("a", "p1", 0), ("b", "p1", 1), ("a", "p2", 1), ("a", "p2", 8)]
    frauds = [("a", "p2", 2), ("b", "p2", 2), (None, "p2", 2), ("thief", "p3", 3), ("b", "p3", 8)]
    history = read_history(mart_views(lines, suspect=frauds), day(7), ANY)
    without = read_history(mart_views(lines), day(7), ANY)
    assert list(history.customers) == list(without.customers) == ["a", "b"]
    assert list(history.products) == ["p1", "p2"]
    assert history.popularity.tolist() == without.popularity.tolist()
    assert history.store_popularity.toarray().tolist() == without.store_popularity.toarray().tolist()
    assert history.count_trips.tolist() == without.count_trips.tolist()
    truth = read_truth(mart_views(lines, suspect=frauds), day(7))
    assert truth.values.tolist() == [["a", "p2", True]]


def test_the_catalogue_counts_customer_days() -> None:
    lines = [("a", "p1", 0), ("a", "p1", 0), ("a", "p2", 0), ("a", "p2", 1), ("b", "p2", 1)]
    history = read_history(mart_views(lines), day(7), HistoryConfig(catalogue_min_purchases=3))
    assert list(history.products) == ["p2"]
    assert (history.purchases.product == -1).sum() == 1
    assert len(history.catalogue_purchases.product) == 3


def test_popularity_is_of_the_recent_window_with_all_time_as_tie_break() -> None:
    lines = [("a", "p1", 0), ("b", "p1", 0), ("a", "p1", 2), ("a", "p2", 40), ("b", "p3", 40), ("a", "p3", 1)]
    history = read_history(mart_views(lines), day(42), ANY)
    # p2 and p3 sold once lately, p1 never; p3 sold more often in all.
    assert [str(history.products[product]) for product in history.popular_order] == ["p3", "p2", "p1"]


def test_truth_is_the_week_and_knows_what_was_bought_before() -> None:
    connection = mart_views([("a", "p1", 0), ("a", "p1", 7), ("a", "p2", 13), ("a", "p3", 14), ("a", "p1", 8)])
    truth = read_truth(connection, day(7))
    assert truth.to_dict("list") == {
        "customer_id": ["a", "a"],
        "product_id": ["p1", "p2"],
        "is_repeat": [True, False],
    }


def test_no_history_is_said_so() -> None:
    connection = mart_views([("a", "p1", 9)])
    with pytest.raises(DataFailed, match="no purchase of merchandise before 2024-01-08"):
        read_history(connection, day(7), ANY)


def test_an_empty_catalogue_is_said_so() -> None:
    with pytest.raises(DataFailed, match="no product was bought 10 times"):
        read_history(mart_views([("a", "p1", 0)]), day(7), HistoryConfig())


def test_the_home_store_is_that_of_most_days() -> None:
    connection = mart_views([("a", "p1", 0), ("a", "p1", 1), ("a", "p1", 2), ("b", "p2", 2)])
    connection.execute("update fct_order_lines set store_id = 's2' where order_date >= $day", {"day": day(1)})
    history = read_history(connection, day(7), ANY)
    popularity = history.store_popularity[history.home_store].toarray()
    # In s2 one customer bought p1 and one p2; nobody's home is s1.
    assert np.array_equal(popularity, [[1.0, 1.0], [1.0, 1.0]])


def test_a_guest_is_no_customer_and_has_no_truth() -> None:
    connection = mart_views([("a", "p1", 0), (None, "p1", 1), (None, "p2", 2), (None, "p1", 8), ("a", "p2", 8)])
    history = read_history(connection, day(7), ANY)
    assert list(history.customers) == ["a"]
    assert history.count_trips.tolist() == [1]
    assert len(history.purchases.product) == 1
    assert read_truth(connection, day(7)).to_dict("list") == {
        "customer_id": ["a"],
        "product_id": ["p2"],
        "is_repeat": [False],
    }


def test_each_order_of_a_guest_is_a_buyer_of_its_own() -> None:
    connection = mart_views([("a", "p1", 0), ("a", "p1", 1), (None, "p2", 1), (None, "p2", 1), (None, "p2", 1)])
    history = read_history(connection, day(7), HistoryConfig(catalogue_min_purchases=3))
    assert list(history.products) == ["p2"], "three guests are three purchases, two days of one customer are two"
    assert history.popularity.tolist() == [3.75]
    [store] = history.store_popularity.toarray()
    assert store.tolist() == [3.0]


def test_guests_alone_are_nobody_to_recommend_to() -> None:
    with pytest.raises(DataFailed, match="no purchase of merchandise before 2024-01-08"):
        read_history(mart_views([(None, "p1", 0)]), day(7), ANY)
