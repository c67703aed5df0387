"""Recommendations over HTTP: parameters are read strictly, and no customer is too strange to ask about."""

import pytest

from tests.serving_stubs import signed
from tests.unit.serving.refusals import CANARY, error_of


def test_a_recommendation_is_asked_with_its_context(client, services):
    query = "placement=cart&k=3&exclude=a&exclude=b%2Cc&category=Tea%20%26%20Co&store_id=s1"
    answer = client.get(f"/v1/recommendations/anna%20b?{query}", headers=signed())
    assert answer.json()["reason"] == "cold_start"
    (asked,) = services.recommendations.asked
    assert (asked.customer_id, asked.placement, asked.k) == ("anna b", "cart", 3)
    assert (asked.exclude, asked.category, asked.store_id) == (("a", "b,c"), "Tea & Co", "s1")


@pytest.mark.parametrize(
    "query",
    [
        *("k=0", "k=-1", "k=51", "k=1000000000", "k=1e1", "k=+5", "k=%205", "k=1_0", "k=true", "k=", "k=5&k=6"),
        *("k=" + "9" * 5000, "placement=", "placement=Home", "placement=" + CANARY + "!", f"{CANARY}=1", "offset=9"),
        *("exclude=", "exclude=%00", "exclude=%FF", "&".join(["exclude=x"] * 101), "category=" + "x" * 201),
        *("k", "=", "&", "store_id=%0a", "replay=true", "k=%D9%A3"),
    ],
)
def test_parameters_are_read_strictly(client, query):
    error_of(client.get(f"/v1/recommendations/c1?{query}", headers=signed()), 422, "invalid")


def test_the_largest_number_of_products_is_told(client):
    error = error_of(client.get("/v1/recommendations/c1?k=51", headers=signed()), 422, "invalid")
    assert error["fields"] == [{"path": "k", "problem": "less_than_equal (le 50)"}]


@pytest.mark.parametrize("customer", ["%00", "a%0Ab", "%FF", "x" * 201])
def test_what_is_no_id_is_refused(client, customer):
    error_of(client.get(f"/v1/recommendations/{customer}", headers=signed()), 422, "invalid")


@pytest.mark.parametrize("customer", ["' OR 1=1--", "😀", "\u202eevil", "раураl", ";rm -rf", "${x}"])
def test_strange_ids_are_unknown_customers(client, services, customer):
    assert client.get(f"/v1/recommendations/{customer}", headers=signed()).status_code == 200
    assert services.recommendations.asked[0].customer_id == customer


def test_recommendations_come_in_batches(client, services):
    body = {"requests": [{"customer_id": "c1"}, {"customer_id": "../c2", "k": 50, "exclude": ["p"]}]}
    told = client.post("/v1/recommendations/batch", json=body, headers=signed()).json()["recommendations"]
    assert [one["k"] for one in told] == [10, 50]
    assert [one.customer_id for one in services.recommendations.asked] == ["c1", "../c2"]
    for wrong in ({}, {"requests": []}, {"requests": [{"customer_id": "c"}] * 51}, {"requests": [{"k": 1}]}):
        error_of(client.post("/v1/recommendations/batch", json=wrong, headers=signed()), 422, "invalid")
    error = error_of(
        client.post("/v1/recommendations/batch", json={"requests": [{"customer_id": 5}]}, headers=signed()),
        422,
        "invalid",
    )
    assert error["fields"] == [{"path": "requests.0.customer_id", "problem": "string_type"}]
