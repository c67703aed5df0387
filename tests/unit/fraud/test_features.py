"""What is derived from one order's row, worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from ml.fraud.declaration import declaration
from ml.fraud.features import model_features, monotone_features, numbers, with_derived

ALL_COLUMNS = (
    "order_id",
    "attempted_at",
    "attempt_date",
    "amount_cents",
    "hour_of_day",
    "day_of_week",
    "account_age_days",
    "is_billing_shipping_same",
    "channel",
    *declaration().counted_features(),
)


def _row(**values: object) -> pd.DataFrame:
    return pd.DataFrame([{"order_id": "o1", **values}])


def test_an_amount_is_set_beside_the_customers_normal() -> None:
    found = with_derived(
        _row(amount_cents=3999, mean_amount_cents_customer_ever=1999.0, deviation_amount_cents_customer_ever=100.0)
    ).iloc[0]
    assert found["amount_over_mean_customer"] == pytest.approx(math.log(2.0))
    assert found["amount_distance_customer"] == pytest.approx(2000 / (100 + 199.9 + 1))
    assert found["log_amount"] == pytest.approx(math.log(4000))
    assert found["amount_cents"] == 3999


def test_novelty_needs_somebody_who_is_not_new() -> None:
    rows = pd.DataFrame(
        {
            "count_orders_customer_ever": [0, 4, 4, None],
            "count_orders_customer_device_ever": [0, 0, 1, None],
        }
    )
    found = with_derived(rows)
    assert found["is_new_device_for_customer"].tolist()[:3] == [0.0, 1.0, 0.0]
    assert math.isnan(found["is_new_device_for_customer"][3])
    assert found["share_customer_with_device"].tolist()[1:3] == [0.0, 0.25]
    assert math.isnan(found["share_customer_with_device"][0])
    assert found["is_first_order_customer"].tolist()[:3] == [1.0, 0.0, 0.0]


def test_rates_are_over_the_shops() -> None:
    found = with_derived(_row(fraud_rate_device_ever=0.02, fraud_rate_shop_ever=0.005)).iloc[0]
    assert found["fraud_rate_over_shop_device_ever"] == pytest.approx(math.log(4))


def test_velocity_and_failures() -> None:
    found = with_derived(
        _row(count_orders_device_1d=6, count_orders_device_30d=6, count_failed_device_1d=3, count_failed_device_30d=0)
    ).iloc[0]
    assert found["velocity_device_1d_over_30d"] == pytest.approx(6 / (6 / 30 + 0.1))
    assert found["failed_share_device_1d"] == 0.5


def test_the_worst_entity_counts() -> None:
    names = [name for name in declaration().counted_features() if name.startswith("count_frauds_")]
    values = {name: (2 if name == "count_frauds_ip_7d" else None) for name in names}
    assert with_derived(_row(**values)).iloc[0]["most_frauds_7d"] == 2.0


def test_the_most_conspicuous_of_the_customers_own_entities_speaks_for_all() -> None:
    counted = dict.fromkeys(declaration().counted_features())
    values: dict[str, object] = {
        "count_orders_customer_1h": 2, "count_orders_device_1h": 7, "count_orders_terminal_1h": 400,
        "count_failed_device_1h": 3, "count_failed_ip_1h": 5, "amount_cents_customer_1h": 900,
        "count_orders_device_30d": 7, "count_orders_customer_30d": 60,
        "seconds_since_first_customer": 9e6, "seconds_since_first_device": 30, "seconds_since_last_ip": 4,
        "count_orders_customer_ever": 8, "count_orders_ip_ever": 1, "count_orders_customer_instrument_ever": 2,
        "count_orders_customer_device_ever": 4, "count_customers_device_30d": 6, "fraud_rate_ip_30d": 0.03,
        "fraud_rate_customer_30d": 0.001, "fraud_rate_shop_ever": 0.01, "amount_cents": 3999,
        "mean_amount_cents_ip_ever": 1999, "deviation_amount_cents_ip_ever": 100,
        "mean_amount_cents_customer_ever": 7999, "deviation_amount_cents_customer_ever": 100,
    }  # fmt: skip
    found = with_derived(_row(**(counted | values))).iloc[0]
    # A terminal is everybody's: its 400 orders are a crowd's.
    assert (found["most_orders_1h"], found["most_failed_1h"], found["most_spent_1h"]) == (7.0, 5.0, 900.0)
    assert found["highest_failed_share_1h"] == pytest.approx(3 / 7)
    assert found["highest_velocity_1h"] == pytest.approx(7 / (7 / 720 + 0.1))
    assert (found["fewest_seconds_since_first"], found["fewest_seconds_since_last"]) == (30.0, 4.0)
    assert (found["fewest_orders_ever"], found["lowest_share_with_customer"]) == (1.0, 0.25)
    assert found["most_sharing"] == 6.0
    assert found["highest_fraud_rate_over_shop_30d"] == pytest.approx(math.log(3))
    assert found["largest_amount_over_mean"] == pytest.approx(math.log(2))
    assert found["largest_amount_distance"] == pytest.approx(2000 / (100 + 199.9 + 1))
    assert math.isnan(found["most_orders_7d"])


def test_channels_have_fixed_codes() -> None:
    assert numbers(pd.Series(["web", "app", "store", "phone", "kiosk"], name="channel")).tolist() == [0, 1, 2, 3, 4]
    assert np.isnan(numbers(pd.Series([None], name="channel"))).all()


@pytest.mark.parametrize(
    "column", [pd.Series([True, None], dtype=object), pd.Series([True, None], dtype="boolean"), pd.Series([1.0, None])]
)
def test_missing_is_missing_in_every_type(column: pd.Series) -> None:
    found = numbers(column)
    assert found.dtype == np.float32
    assert found[0] == 1.0
    assert math.isnan(found[1])


def test_a_number_too_large_for_a_float_becomes_infinite_and_is_not_hidden() -> None:
    assert np.isinf(numbers(pd.Series([1e39]))).all()


def test_columns_that_a_shop_does_not_have_leave_out_what_needs_them() -> None:
    names = model_features([name for name in ALL_COLUMNS if "device" not in name])
    assert names
    assert not [name for name in names if "device" in name]
    assert "highest_fraud_rate_over_shop" not in names


def test_ids_moments_money_and_the_shops_own_rate_are_no_inputs() -> None:
    names = model_features(ALL_COLUMNS)
    assert len(set(names)) == len(names)
    assert not {"order_id", "attempted_at", "attempt_date", "amount_cents", "channel", "fraud_rate_shop_ever"} & {
        *names
    }


def test_deriving_twice_changes_nothing_and_the_rows_stay_as_they_were() -> None:
    rows = pd.DataFrame({name: [1.0, 2.0] for name in ALL_COLUMNS if name not in ("order_id", "channel")})
    rows = rows.assign(order_id=["a", "b"], channel="web")
    before = rows.copy()
    once = with_derived(rows)
    pd.testing.assert_frame_equal(with_derived(once), once)
    pd.testing.assert_frame_equal(rows, before)
    assert tuple(once.columns[-len(model_features(rows.columns)) :]) == model_features(rows.columns)
    assert (once[list(model_features(rows.columns))].dtypes == np.float32).all()


def test_what_speaks_against_an_order_never_speaks_for_it() -> None:
    found = monotone_features(model_features(ALL_COLUMNS))
    assert found["count_frauds_device_30d"] == found["fraud_rate_over_shop_ip_ever"] == 1
    assert found["count_failed_instrument_1h"] == found["count_customers_device_30d"] == 1
    assert found["is_new_device_for_customer"] == found["count_new"] == found["most_frauds_7d"] == 1
    assert found["count_orders_customer_instrument_ever"] == -1
    # A tiny amount may be a stolen card being tried, a large one a stolen card being used.
    assert not {"log_amount", "hour_of_day", "count_orders_device_1h"} & found.keys()
