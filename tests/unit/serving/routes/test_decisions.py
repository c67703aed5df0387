"""Decisions over HTTP: what is asked is read strictly, and each reader is shown what is theirs."""

import pytest

from tests.serving_stubs import ATTEMPT, signed
from tests.unit.serving.refusals import CANARY, error_of


def test_a_decision_shows_scores_to_those_who_may_read_them(client):
    told = client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed()).json()
    assert (told["score"], told["expected_costs_cents"]) == (0.0123, {"approve": 12.5})
    public = client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed("public")).json()
    assert sorted(public) == [
        *("action", "data", "decided_at", "decision_id", "degraded", "feature_version", "features_age_seconds"),
        *("model_version", "order_id", "payment_id", "policy_version", "reasons", "risk", "rules", "source", "step"),
    ]
    assert [sorted(one) for one in public["reasons"]] == [["code", "text"]]


def test_the_same_attempt_again_is_known_and_another_one_conflicts(client):
    first = client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed())
    same = {**ATTEMPT, "attempted_at": "2017-11-20T11:00:00+01:00", "ip_hash": None}
    assert client.post("/v1/fraud/decisions", json=same, headers=signed()).json() == first.json()
    error_of(client.post("/v1/fraud/decisions", json={**ATTEMPT, "amount_cents": 1}, headers=signed()), 409, "conflict")
    body = {"attempts": [ATTEMPT | {"payment_id": "p2"}, ATTEMPT, ATTEMPT | {"amount_cents": 2, "payment_id": "p2"}]}
    error_of(client.post("/v1/fraud/decisions/batch", json=body, headers=signed()), 422, "invalid")
    body["attempts"].pop()
    told = client.post("/v1/fraud/decisions/batch", json=body, headers=signed()).json()["results"]
    assert [one["status"] for one in told] == ["decided", "known"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"amount_cents": -1}, "amount_cents"),
        ({"amount_cents": 10**13}, "amount_cents"),
        ({"amount_cents": "12"}, "amount_cents"),
        ({"amount_cents": 12.5}, "amount_cents"),
        ({"amount_cents": True}, "amount_cents"),
        ({"currency": "EUR"}, "currency"),
        ({"attempted_at": "2017-11-20T10:00:00"}, "attempted_at"),
        ({"attempted_at": "1970-01-01T00:00:00Z"}, "attempted_at"),
        ({"attempted_at": "9999-12-31T23:59:59Z"}, "attempted_at"),
        ({"attempted_at": 1511172000}, "attempted_at"),
        ({"attempted_at": "2017-11-20T10:00:60Z"}, "attempted_at"),
        ({"payment_id": ""}, "payment_id"),
        ({"payment_id": "x" * 201}, "payment_id"),
        ({"customer_id": "a\x00b"}, "customer_id"),
        ({"customer_id": {"$gt": ""}}, "customer_id"),
        ({"outcome": CANARY}, "outcome"),
        ({"score": 0.1}, "body"),
        ({CANARY: True}, "body"),
    ],
)
def test_a_wrong_attempt_names_the_field_and_repeats_nothing(client, services, change, path):
    error = error_of(client.post("/v1/fraud/decisions", json=ATTEMPT | change, headers=signed()), 422, "invalid")
    assert [field["path"] for field in error["fields"]] == [path]
    batch = {"attempts": [ATTEMPT | {"payment_id": "p0"}, ATTEMPT | change]}
    error = error_of(client.post("/v1/fraud/decisions/batch", json=batch, headers=signed()), 422, "invalid")
    assert [field["path"] for field in error["fields"]] == [f"attempts.1.{path}" if path != "body" else "attempts.1"]
    assert services.fraud.calls == 0  # a batch is decided whole or not at all


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"attempts": []},
        {"attempts": ATTEMPT},
        {"attempts": [ATTEMPT] * 101},
        {"attempts": [1]},
        {"attempts": [ATTEMPT], "x": 1},
    ],
)
def test_a_batch_is_a_list_of_1_to_100_objects(client, body):
    error_of(client.post("/v1/fraud/decisions/batch", json=body, headers=signed()), 422, "invalid")


def test_a_decision_can_be_replayed_and_looked_up(client):
    client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed())
    shown = client.get("/v1/decisions/decision-p1?replay=true", headers=signed()).json()
    assert shown["replay"] == {"reproduced": True, "differences": [], "problem": None}
    wanted = {"decision_ids": ["decision-p1", "decision-none"]}
    found = client.post("/v1/decisions/lookup", json=wanted, headers=signed()).json()["decisions"]
    assert [one["decision"] is None for one in found] == [False, True]
    error_of(client.get("/v1/decisions/decision-p1?replay=yes", headers=signed()), 422, "invalid")


def test_an_unknown_decision_is_not_found_whoever_s_it_might_be(client):
    client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed())
    assert client.get("/v1/decisions/decision-p1", headers=signed()).status_code == 200
    first = error_of(client.get("/v1/decisions/decision-of-another", headers=signed()), 404, "not_found")
    second = error_of(client.get(f"/v1/decisions/{CANARY}", headers=signed()), 404, "not_found")
    assert first["message"] == second["message"]
