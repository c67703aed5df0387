"""Past recommendations against what was bought, on lists and weeks worked out by hand."""

from datetime import date

import duckdb
import pandas as pd
import pytest

from ml.fairness.audit import FairnessConfig
from ml.monitoring.performance import PerformanceConfig, Purchases, judge_groups, judge_performance, read_purchases

CONFIG = PerformanceConfig(min_customers=2, min_past=3, draws=200)
AS_OF = date(2017, 11, 20)
SHOWN = pd.DataFrame(
    [("ann", "milk", 1), ("ann", "bread", 2), ("bob", "milk", 1), ("bob", "bread", 2), ("cyd", "milk", 1)],
    columns=["customer_id", "product_id", "rank"],
)


def bought(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame([(*pair, False) for pair in pairs], columns=["customer_id", "product_id", "is_repeat"])


def judge(week: pd.DataFrame, past: tuple[float, ...] = (), popular: tuple[str, ...] = ("soap",)):
    return judge_performance("recommender", SHOWN, Purchases(week, list(popular)), past, CONFIG)


def test_only_customers_with_a_list_who_bought_are_judged():
    state, per_customer = judge(bought(("ann", "milk"), ("bob", "eggs"), ("zoe", "milk")))
    assert list(per_customer["customer_id"]) == ["ann", "bob"]
    # Ann bought what was first on her list, Bob nothing that was on his.
    assert (state.value, state.detail["hit_rate_at_10"], state.detail["customers"]) == (0.5, 0.5, 2)


def test_lists_that_hit_are_ok_and_lists_that_popularity_beats_are_not():
    assert judge(bought(("ann", "milk"), ("bob", "milk")))[0].state == "ok"
    assert judge(bought(("ann", "soap"), ("bob", "soap")))[0].state == "alert"
    assert judge(bought(("ann", "soap"), ("bob", "milk")))[0].state == "warn"


@pytest.mark.parametrize(
    ("past", "state"),
    [
        ((0.5, 0.5, 0.5), "ok"),
        ((1.0, 1.0), "ok"),  # two days make no level
        ((0.6, 0.6, 0.6), "warn"),  # 0.5 is 83% of it
        ((0.9, 0.1, 0.8), "alert"),  # 0.5 is 63% of the median
    ],
)
def test_a_fall_below_the_usual_level_is_told(past, state):
    week = bought(("ann", "milk"), ("bob", "milk"), ("ann", "x"), ("bob", "y"))
    weaker = week.assign(product_id=week["product_id"].replace({"milk": "bread"}))
    # At rank 2 of two bought products NDCG is (1 / log2 3) / (1 + 1 / log2 3) = 0.387.
    assert judge(weaker)[0].value == pytest.approx(0.3869, abs=1e-4)
    scaled = tuple(value * 0.3869 / 0.5 for value in past)
    assert judge(weaker, scaled)[0].state == state


def test_a_week_with_too_few_customers_is_unknown():
    state, per_customer = judge(bought(("ann", "milk")))
    assert (state.state, state.is_failure, per_customer.empty) == ("unknown", True, True)
    assert state.detail["why"] == "1 customers with a list bought something, 2 are needed"


def test_purchases_are_those_of_the_seven_days_and_popularity_is_of_the_days_before():
    rows = [
        ("ann", "milk", date(2017, 11, 19), True, 1),
        ("bob", "milk", date(2017, 11, 18), True, 1),
        ("bob", "soap", date(2017, 11, 18), True, 1),
        ("ann", "milk", date(2017, 11, 20), True, 2),
        ("ann", "milk", date(2017, 11, 26), True, 1),
        ("ann", "eggs", date(2017, 11, 26), True, 1),
        ("ann", "late", date(2017, 11, 27), True, 1),
        ("ann", "petrol", date(2017, 11, 21), False, 1),
        ("ann", "nothing", date(2017, 11, 21), True, 0),
        ("ann", "old", date(2017, 10, 1), True, 1),
        *[
            (customer, "stolen", day, True, 1)
            for customer in ("ann", "bob", "eve")
            for day in (AS_OF, date(2017, 11, 18))
        ],
    ]
    found = read_purchases(marts_of(rows), AS_OF, CONFIG)
    assert found.bought.values.tolist() == [["ann", "eggs", False], ["ann", "milk", True]]
    assert found.popular == ["milk", "soap"]


def marts_of(rows):
    lines = pd.DataFrame(rows, columns=["customer_id", "product_id", "order_date", "is_merchandise", "quantity"])
    lines = lines.assign(
        order_id=[f"o{number}" for number in range(len(lines))], is_suspect=lines["product_id"].eq("stolen")
    )
    connection = duckdb.connect()
    connection.register("fct_order_lines", lines)
    return connection


def test_a_guest_is_judged_by_nothing_and_makes_a_product_popular():
    day = date(2017, 11, 18)
    before = [("ann", "milk", day), ("bob", "milk", day), *[(None, "soap", day)] * 3]
    after = [("ann", "milk", AS_OF), (None, "soap", AS_OF)]
    found = read_purchases(marts_of([(*row, True, 1) for row in before + after]), AS_OF, CONFIG)
    assert found.bought.values.tolist() == [["ann", "milk", True]]
    assert found.popular == ["soap", "milk"], "three guests' orders are three buyers"


def test_groups_without_demographics_are_unknown_and_that_is_expected():
    per_customer = pd.DataFrame({"customer_id": ["ann"], "hit": [1.0], "ndcg": [1.0]})
    (state,) = judge_groups("recommender", per_customer, pd.DataFrame(), CONFIG.fairness)
    assert (state.state, state.is_failure) == ("unknown", False)


def test_those_who_did_not_tell_are_one_group_once():
    config = FairnessConfig(min_customers=2, draws=50)
    per_customer = pd.DataFrame({"customer_id": list("abcdef"), "hit": [1.0, 1.0, 1.0, 1.0, 0.0, 0.0], "ndcg": 1.0})
    told = pd.DataFrame({"customer_id": list("abcd"), "age_band": ["young", "young", "old", "old"]})
    gaps = {state.object: state.value for state in judge_groups("recommender", per_customer, told, config)}
    assert gaps == {
        "recommender: hit by age_band": 0.0,
        "recommender: ndcg by age_band": 0.0,
        "recommender: hit by has_demographics": 1.0,
        "recommender: ndcg by has_demographics": 0.0,
    }
