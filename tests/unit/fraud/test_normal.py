"""The customer's normal beside the order's values, worked out by hand."""

import pytest

from ml.fraud.normal import customer_normal

DAY = 86_400

ROW = {
    "amount_cents": 25_000,
    "count_orders_customer_ever": 5,
    "mean_amount_cents_customer_ever": 4_000.0,
    "deviation_amount_cents_customer_ever": 500.0,
    "count_orders_customer_1d": 2,
    "count_orders_customer_30d": 3,
    "seconds_since_first_customer": 90 * DAY,
    "seconds_since_last_customer": 10 * DAY,
    "count_orders_customer_device_ever": 0,
    "count_orders_customer_instrument_ever": None,
}


def test_the_order_stands_beside_what_the_customer_usually_does():
    found = {line["what"]: line for line in customer_normal(ROW)}
    amount = found["Amount of the order"]
    assert (amount["order"], amount["usual"], amount["spread"], amount["unit"]) == (25_000, 4_000, 500, "cents")
    # 3 orders in 30 days are a tenth of an order in a day.
    assert (found["Earlier orders, last 1d"]["order"], found["Earlier orders, last 1d"]["usual"]) == (
        2,
        pytest.approx(0.1),
    )
    # 5 orders in the 80 days between the first and the last: one every 20 days.
    assert (found["Days since the last order"]["order"], found["Days since the last order"]["usual"]) == (10, 20)
    assert (found["Earlier orders with this device"]["order"], found["Earlier orders with this device"]["usual"]) == (
        0,
        5,
    )
    # The instrument is not known, and no other window is in the row.
    assert len(found) == 4


@pytest.mark.parametrize("orders", [0, None, float("nan")])
def test_a_customer_without_earlier_orders_has_no_normal(orders):
    assert customer_normal({**ROW, "count_orders_customer_ever": orders}) == []


def test_one_earlier_order_makes_no_rhythm():
    row = {**ROW, "count_orders_customer_ever": 1, "seconds_since_first_customer": 10 * DAY}
    (gap,) = [line for line in customer_normal(row) if line["unit"] == "days"]
    assert gap["usual"] is None
