"""Which groups an order belongs to."""

import pandas as pd

from ml.fairness.groups import order_groups

ORDERS = pd.DataFrame(
    {
        "order_id": ["1", "2", "3", "4", "5"],
        "customer_id": ["ann", "ann", "ann", "bob", None],
        "attempted_at": pd.to_datetime(
            ["2017-01-10", "2017-02-10", "2017-06-10", "2017-06-10", "2017-06-10"], utc=True
        ),
    }
)
TOLD = pd.DataFrame({"customer_id": ["ann"], "age_band": ["25-34"], "gender": [None]})


def test_what_customers_told_and_whether_they_told():
    groups = order_groups(ORDERS, TOLD)
    assert groups["age_band"].tolist() == ["25-34"] * 3 + ["not given"] * 2
    assert groups["has_demographics"].tolist() == ["yes"] * 3 + ["no"] * 2
    assert "gender" not in groups.columns  # nobody told


def test_a_customer_is_new_for_90_days_from_the_first_order():
    assert order_groups(ORDERS, TOLD)["account_age"].tolist() == ["new", "new", "old", "new", "not given"]


def test_the_account_says_when_a_customer_came():
    opened = ORDERS.assign(
        account_created_at=pd.to_datetime(["2016-01-01", "2016-01-01", "2016-01-01", "2017-06-01", None], utc=True)
    )
    assert order_groups(opened, TOLD)["account_age"].tolist() == ["old", "old", "old", "new", "not given"]


def test_a_region_is_where_most_of_the_customers_orders_come_from():
    abroad = ORDERS.assign(ip_country=["US", "FR", "US", "CA", "US"])
    assert order_groups(abroad, TOLD)["region"].tolist() == ["US", "US", "US", "CA", "not given"]


def test_the_store_is_the_region_where_no_country_is_known():
    stores = ORDERS.assign(ip_country=None, store_id=["7", "7", "8", "8", "8"])
    assert order_groups(stores, TOLD)["region"].tolist() == ["7", "7", "7", "8", "not given"]


def test_what_parts_nobody_is_left_out():
    nobody = order_groups(ORDERS[ORDERS["customer_id"] == "bob"], TOLD)
    assert nobody.columns.tolist() == ["order_id"]


def test_a_shop_that_knows_nothing_of_its_customers():
    groups = order_groups(ORDERS, pd.DataFrame({"customer_id": []}))
    assert groups.columns.tolist() == ["order_id", "account_age"]
