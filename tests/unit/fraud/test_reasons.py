"""Reasons: every feature in one group, groups that add up, texts that are true of the row."""

import numpy as np
import pandas as pd
import pytest

from ml.fraud.baselines import RatesBaseline
from ml.fraud.calibration import Calibration
from ml.fraud.declaration import declaration
from ml.fraud.feature_names import OTHER, group_of, named
from ml.fraud.features import ORDER_FEATURES, model_features, with_derived
from ml.fraud.inputs import Bounds
from ml.fraud.reason_titles import title_of
from ml.fraud.reasons import group_contributions, reason_codes

COLUMNS = ("amount_cents", "channel", *ORDER_FEATURES, *declaration().counted_features())
FEATURES = model_features(COLUMNS)


def row(**values: object) -> pd.DataFrame:
    """One order of which nothing is known but what is given."""
    return pd.DataFrame([{**dict.fromkeys(COLUMNS, np.nan), "channel": "web", **values}])


def reasons_of(rows: pd.DataFrame, limit: int | None = 5, **contributions: float) -> list[dict]:
    given = pd.DataFrame([{**dict.fromkeys(FEATURES, 0.0), "bias": -4.0, **contributions}])
    return reason_codes(with_derived(rows), given, limit)[0]


def test_no_feature_of_the_model_is_left_without_a_named_group():
    assert len(FEATURES) > 100
    groups = {feature: group_of(feature) for feature in FEATURES}
    assert {feature: group for feature, group in groups.items() if group == OTHER} == {}
    # ... and every group has a title of words, not its code.
    untitled = [group for group in set(groups.values()) if title_of(group) == group.replace("_", " ")]
    assert untitled == []


@pytest.mark.parametrize(
    ("feature", "group"),
    [
        ("count_orders_device_1h", "velocity_device"),
        ("velocity_device_1h_over_30d", "velocity_device"),
        ("seconds_since_last_ip", "velocity_ip"),
        ("count_orders_ip_country_30d", "velocity_ip_country"),
        ("count_failed_shipping_address_1d", "failures_shipping_address"),
        ("failed_share_ip_10m", "failures_ip"),
        ("amount_over_mean_customer", "amount_against_normal_customer"),
        ("deviation_amount_cents_customer_ever", "amount_against_normal_customer"),
        ("log_amount", "amount"),
        ("count_orders_customer_ip_country_ever", "novelty_customer"),
        ("is_new_device_for_instrument", "novelty_instrument"),
        ("share_customer_with_device", "novelty_customer"),
        ("count_new", "novelty_customer"),
        ("is_first_order_terminal", "familiarity_terminal"),
        ("count_customers_device_30d", "sharing_device"),
        ("count_ip_countries_customer_30d", "sharing_customer"),
        ("fraud_rate_over_shop_shipping_address_ever", "fraud_history_shipping_address"),
        ("fraud_rate_shop_ever", "fraud_history_shop"),
        ("most_frauds_30d", "fraud_history"),
        ("hour_of_day", "time"),
        ("something_nobody_declared", "other"),
    ],
)
def test_a_feature_s_group_follows_from_its_name(feature, group):
    assert group_of(feature) == group


def test_a_name_says_entity_and_window():
    name = named("count_orders_shipping_address_7d")
    assert (name.form, name.entity, name.window) == ("orders", "shipping_address", "7d")
    pair = named("count_orders_customer_shipping_address_ever")
    assert (pair.form, pair.entity, pair.second) == ("pair", "customer", "shipping_address")


def test_groups_and_bias_add_up_to_the_margin():
    rng = np.random.default_rng(3)
    given = pd.DataFrame(rng.normal(size=(7, len(FEATURES) + 1)), columns=[*FEATURES, "bias"])
    grouped = group_contributions(given)
    np.testing.assert_allclose(grouped.sum(axis=1), given.sum(axis=1), rtol=0, atol=1e-12)
    rows = with_derived(pd.concat([row()] * 7, ignore_index=True))
    told = [sum(one["contribution"] for one in reasons) for reasons in reason_codes(rows, given, limit=None)]
    np.testing.assert_allclose(told + given["bias"], given.sum(axis=1), rtol=0, atol=1e-12)


def test_reasons_of_a_model_add_up_to_its_probability():
    features = ("fraud_rate_over_shop_device_ever", "fraud_rate_over_shop_ip_ever")
    model = RatesBaseline(features, Calibration(slope=0.8, intercept=-4.0), Bounds(np.full(2, 1e6), 0.9))
    values = {"fraud_rate_shop_ever": 0.01, "fraud_rate_device_ever": 0.2, "fraud_rate_ip_ever": 0.005}
    rows = with_derived(row(**values))
    contributions = model.contributions(rows)
    (found,) = reason_codes(rows, contributions)
    # 0.8 * (ln 20 + ln 0.5) - 4 = -2.158: a probability of 10.36%.
    assert [one["code"] for one in found] == ["fraud_history_device", "fraud_history_ip"]
    margin = sum(one["contribution"] for one in found) + contributions["bias"].iloc[0]
    assert margin == pytest.approx(-2.158, abs=1e-3)
    assert model.probabilities(rows)[0] == pytest.approx(1 / (1 + np.exp(-margin)))
    assert (found[0]["value"], found[0]["usual"]) == (pytest.approx(0.2), pytest.approx(0.01))


def test_the_most_important_group_comes_first_whichever_way_it_moved():
    found = reasons_of(row(hour_of_day=3, account_age_days=2, amount_cents=5000), hour_of_day=0.2, log_amount=0.5)
    assert [(one["code"], one["contribution"]) for one in found] == [("amount", 0.5), ("time", 0.2)]
    found = reasons_of(row(hour_of_day=3), hour_of_day=0.2, account_age_days=-0.9)
    assert [one["code"] for one in found] == ["account", "time"]


def test_the_limit_cuts_the_least_important():
    given = {"hour_of_day": 0.1, "log_amount": 0.3, "channel_code": 0.2}
    assert [one["code"] for one in reasons_of(row(amount_cents=100), 2, **given)] == ["amount", "channel"]


def test_a_group_that_moved_nothing_is_no_reason():
    assert reasons_of(row(hour_of_day=3)) == []


def test_a_velocity_stands_beside_the_entity_s_own_pace():
    # 90 orders in 30 days are 3 in a day.
    rows = row(count_orders_device_1d=12, count_orders_device_30d=90)
    (told,) = reasons_of(rows, velocity_device_1d_over_30d=1.0)
    assert told["text"] == "12 earlier orders of this device in the last day"
    assert (told["value"], told["usual"], told["feature"]) == (12, 3.0, "velocity_device_1d_over_30d")


def test_an_amount_stands_beside_the_customer_s_mean():
    rows = row(amount_cents=25000, mean_amount_cents_customer_ever=4000, deviation_amount_cents_customer_ever=10)
    (told,) = reasons_of(rows, amount_distance_customer=1.0)
    assert told["text"] == "The order is worth 250.00; orders of this customer are worth 40.00 on average"
    assert (told["value"], told["usual"]) == (25000, 4000)


@pytest.mark.parametrize(
    ("values", "feature", "text"),
    [
        (
            {"count_orders_customer_device_ever": 0, "count_orders_customer_ever": 4},
            "is_new_device_for_customer",
            "This customer was never seen with this device before",
        ),
        (
            {"count_customers_device_30d": 7},
            "count_customers_device_30d",
            "7 different customers with this device in the last 30 days",
        ),
        (
            {"count_ip_countries_customer_30d": 3},
            "count_ip_countries_customer_30d",
            "3 different IP countries with this customer in the last 30 days",
        ),
        (
            {"count_frauds_instrument_ever": 1},
            "count_frauds_instrument_ever",
            "1 known fraud with this payment instrument so far",
        ),
        (
            {"seconds_since_last_ip": 95},
            "seconds_since_last_ip",
            "The last order of this IP address was 2 minutes before",
        ),
        ({"count_orders_customer_ever": 0}, "is_first_order_customer", "First order of this customer"),
        (
            {"count_failed_ip_10m": 9, "count_orders_ip_10m": 9},
            "failed_share_ip_10m",
            "9 failed payments of this IP address in the last 10 minutes",
        ),
        ({"is_billing_shipping_same": 0.0}, "is_billing_shipping_same", "Billing and shipping address are different"),
        ({"account_age_days": 0.5}, "account_age_days", "The account is 12 hours old"),
        ({}, "account_age_days", "The age of the account is not known"),
        ({"day_of_week": 7}, "day_of_week", "Ordered on a Sunday"),
        ({}, "count_orders_device_1h", "No device is known for this order"),
    ],
)
def test_a_text_says_what_is_true_of_the_row(values, feature, text):
    (told,) = reasons_of(row(**values), **{feature: 1.0})
    assert told["text"] == text


def test_the_worst_of_several_entities_is_told_by_that_one():
    values = {f"count_frauds_{name}_ever": 0 for name in declaration().entity_windows}
    rows = row(**{**values, "count_frauds_ip_ever": 2})
    (told,) = reasons_of(rows, most_frauds_ever=1.0)
    assert told["text"] == "2 known frauds with this IP address so far"


def test_what_is_new_is_listed():
    pairs = {"instrument": 0, "device": 4, "ip_country": 0, "shipping_address": None}
    values = {f"count_orders_customer_{second}_ever": count for second, count in pairs.items()}
    (told,) = reasons_of(row(count_orders_customer_ever=4, **values), count_new=1.0)
    assert told["text"] == "New for this customer: payment instrument, IP country"
    assert told["value"] == 2
    known = dict.fromkeys(values, 4)
    (told,) = reasons_of(row(count_orders_customer_ever=4, **known), count_new=-1.0)
    assert told["text"] == "Nothing is new for this customer"


def test_an_entity_without_a_value_is_told_from_one_without_a_past():
    (told,) = reasons_of(row(amount_cents=100), amount_over_mean_instrument=1.0)
    assert told["text"] == "No payment instrument is known for this order"
    (told,) = reasons_of(row(amount_cents=100, count_orders_instrument_ever=0), amount_over_mean_instrument=1.0)
    assert told["text"] == "Amount against what is normal for the payment instrument: nothing to compare with yet"
    assert told["value"] is None


def test_a_group_is_told_by_the_member_that_moved_it_its_way():
    rows = row(count_orders_ip_1h=8, count_orders_ip_10m=1)
    (told,) = reasons_of(rows, count_orders_ip_1h=0.4, count_orders_ip_10m=-0.3)
    assert told["feature"] == "count_orders_ip_1h"
    (told,) = reasons_of(rows, count_orders_ip_1h=0.2, count_orders_ip_10m=-0.3)
    assert told["feature"] == "count_orders_ip_10m"
    assert told["contribution"] == pytest.approx(-0.1)


def test_rows_and_contributions_belong_together():
    given = pd.DataFrame([dict.fromkeys([*FEATURES, "bias"], 0.0)])
    with pytest.raises(AssertionError, match="2 rows, 1 rows of contributions"):
        reason_codes(pd.concat([row(), row()]), given)
