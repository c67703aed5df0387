"""feature_repo/pairs/customer_product.sql by hand-worked values."""

from typing import Any

import pandas as pd
import pytest

from ml.recommender.features import KEYS, PAIR_FEATURES
from ml.stores.features import pair_sql
from tests.recommender_marts import day, mart_views

# Customer a: trips on days 0, 4, 10, 12 (3, 2, 1, 0 trips ago as of day 14). p1 and x1 are of one subcategory.
LINES = [
    ("a", "p1", 0),
    ("a", "p2", 0),
    ("a", "p1", 4),
    ("a", "x1", 10),
    ("a", "p1", 12),
    ("b", "p1", 13),
]


def _features(lines: list[tuple[str, str, int]], *pairs: tuple[str, str]) -> pd.DataFrame:
    connection = mart_views(lines)
    connection.register("candidates", pd.DataFrame(pairs, columns=list(KEYS)))
    found: pd.DataFrame = connection.execute(pair_sql(), {"as_of_date": day(14)}).df()
    return found.set_index(list(KEYS))


def _one(customer: str, product: str) -> dict[str, Any]:
    row: dict[str, Any] = _features(LINES, (customer, product)).loc[(customer, product)].to_dict()
    return row


def test_the_query_gives_what_the_ranker_declares() -> None:
    assert set(_features(LINES, ("a", "p1")).columns) == set(PAIR_FEATURES)


def test_habit_and_recency_of_a_product_bought_three_times() -> None:
    found = _one("a", "p1")
    expected = {
        "count_purchases": 3,
        "count_purchases_28d": 3,
        "trip_share": 0.75,
        "days_since_last_purchase": 2,
        "trips_since_last_purchase": 0,
        "recency_weight_95": 1 + 0.95**2 + 0.95**3,
        "recency_weight_80": 1 + 0.8**2 + 0.8**3,
        "recency_weight_daily_98": 0.98**2 + 0.98**10 + 0.98**14,
        "last_quantity": 1,
        "discount_share": 0.25,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_rhythm_and_being_overdue() -> None:
    found = _one("a", "p1")
    # Gaps of 4 and 8 days; of 1 and 2 trips.
    expected = {
        "mean_gap_days": 6,
        "std_gap_days": 2,
        "last_gap_days": 8,
        "mean_gap_trips": 1.5,
        "overdue_ratio": 2 / 6,
        "overdue_ratio_trips": 0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_product_bought_once_has_no_rhythm() -> None:
    found = _one("a", "p2")
    assert found["count_purchases"] == 1
    assert [name for name in ("mean_gap_days", "overdue_ratio", "last_gap_days") if not pd.isna(found[name])] == []


def test_a_product_never_bought_has_zeros_and_gaps_but_knows_its_kind() -> None:
    found = _one("b", "x1")
    assert found["count_purchases"] == 0
    assert found["recency_weight_95"] == 0
    assert pd.isna(found["days_since_last_purchase"])
    # b bought p1, of the same subcategory, on the only trip, a day ago.
    assert found["subcategory_trip_share"] == 1
    assert found["subcategory_days_since_last_purchase"] == 1


def test_subcategory_counts_days_on_which_any_of_its_products_was_bought() -> None:
    found = _one("a", "p1")
    # Days 0, 4, 10 and 12 of four trips: every 4 days, the last 2 days ago.
    assert found["subcategory_trip_share"] == 1
    assert found["subcategory_overdue_ratio"] == pytest.approx(0.5)
    assert found["share_of_subcategory"] == pytest.approx(0.75)


def test_store_figures_count_customers_of_the_home_store() -> None:
    found = _one("a", "p1")
    assert found["count_store_customers_28d"] == 2
    assert found["store_customer_share_28d"] == 1
    assert found["count_store_customers_7d"] == 2


def test_one_row_per_pair_even_if_it_is_asked_twice() -> None:
    assert len(_features(LINES, ("a", "p1"), ("a", "p1"), ("b", "p2"))) == 2


def test_the_day_itself_and_the_future_change_nothing() -> None:
    pairs = (("a", "p1"), ("a", "p2"), ("b", "x1"))
    later = [("a", "p1", 14), ("a", "p2", 15), ("b", "x1", 20), ("c", "p1", 16)]
    before, after = _features(LINES, *pairs), _features([*LINES, *later], *pairs)
    pd.testing.assert_frame_equal(before.sort_index(), after.sort_index())


def test_the_check_of_the_future_would_notice_a_leak() -> None:
    later = [("a", "p1", 13)]
    before, after = _features(LINES, ("a", "p1")), _features([*LINES, *later], ("a", "p1"))
    assert after["count_purchases"].item() == before["count_purchases"].item() + 1
