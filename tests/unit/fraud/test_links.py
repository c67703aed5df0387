"""Orders that share something with an order, and cases that were judged for like reasons."""

import pandas as pd
import pytest

from ml.fraud.links import linked_entities, linked_orders, linking_entities, similar_cases

ORDER = {"order_id": "o", "customer_id": "c1", "device_hash": "d1", "ip_hash": None, "terminal_id": float("nan")}
AT = pd.Timestamp("2017-11-20 12:00", tz="UTC")


def others() -> pd.DataFrame:
    rows = [  # order, customer, device, ip, hours before
        ("same customer", "c1", "d2", "i1", 1),
        ("same device", "c2", "d1", "i1", 2),
        ("both", "c1", "d1", "i1", 50),
        ("fraud", "c3", "d1", None, 90),
        ("neither", "c4", "d4", "i1", 0),
    ]
    frame = pd.DataFrame(rows, columns=["order_id", "customer_id", "device_hash", "ip_hash", "hours"])
    return frame.assign(attempted_at=AT - pd.to_timedelta(frame["hours"], unit="h"), amount_cents=1000)


def test_crowds_link_nothing():
    entities = linking_entities()
    assert {"customer", "device", "instrument"} <= set(entities)
    assert not {"ip_country", "email_domain"} & set(entities)


def test_each_entity_says_how_many_share_it_and_how_they_turned_out():
    found = {one["entity"]: one for one in linked_entities(ORDER, others(), {"fraud": True, "both": False})}
    assert set(found) == {"customer", "device"}  # the order has no IP address and no terminal
    assert (found["customer"]["count_orders"], found["customer"]["count_frauds"]) == (2, 0)
    device = found["device"]
    assert (device["count_orders"], device["count_frauds"], device["count_customers"]) == (3, 1, 3)
    assert (device["first_at"], device["last_at"]) == (AT - pd.Timedelta(hours=90), AT - pd.Timedelta(hours=2))


def test_no_value_of_an_entity_is_told():
    told = repr(linked_entities(ORDER, others(), {})) + repr(linked_orders(ORDER, others(), {}))
    assert "device" in told
    assert not [value for value in ("d1", "i1", "c1") if f"'{value}'" in told]


def test_known_frauds_come_first_then_other_customers_then_those_that_share_most():
    found = linked_orders(ORDER, others(), {"fraud": True, "both": False})
    assert [one["order_id"] for one in found] == ["fraud", "same device", "both", "same customer"]
    assert [one["shared"] for one in found] == [["device"], ["device"], ["customer", "device"], ["customer"]]
    assert [one["is_fraud"] for one in found] == [True, None, False, None]
    assert len(linked_orders(ORDER, others(), {}, limit=2)) == 2


def test_an_order_that_shares_nothing_has_no_links():
    assert linked_orders(ORDER, others().iloc[:0], {}) == []
    assert linked_entities({"order_id": "o"}, others(), {}) == []


def test_similar_cases_are_near_in_what_the_groups_added():
    mine = {"count_orders_device_1h": 1.0, "count_orders_device_1d": 1.0, "log_amount": 0.5, "bias": -4.0}
    cases = {
        # The same group moved as much, by other members of it, in a model with another bias.
        "alike": {"velocity_device_1h_over_30d": 2.0, "log_amount": 0.5, "bias": -3.0},
        "near": {"count_orders_device_1h": 2.0, "log_amount": 1.5},
        "far": {"count_orders_ip_1h": 2.0},
        "nothing known": {},
    }
    found = similar_cases(mine, cases, limit=3)
    assert [order for order, _ in found] == ["alike", "near", "far"]
    # far: 2 of the device and 2 of the IP address apart, and half of the amount.
    assert [distance for _, distance in found] == pytest.approx([0.0, 1.0, (4 + 4 + 0.25) ** 0.5])


def test_a_decision_without_a_model_is_like_none():
    assert similar_cases({}, {"a": {"log_amount": 1.0}}) == []
    assert similar_cases({"log_amount": 1.0}, {}) == []
