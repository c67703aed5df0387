"""Events over HTTP: each is kept once, and a batch is taken whole or not at all."""

from tests.serving_stubs import VIEW, signed
from tests.unit.serving.refusals import CANARY, error_of


def test_an_event_is_kept_once(client, services):
    assert client.post("/v1/events", json=VIEW, headers=signed()).json() == {"taken": 1, "known": 0, "conflicts": []}
    assert client.post("/v1/events", json=VIEW, headers=signed()).json() == {"taken": 0, "known": 1, "conflicts": []}
    error_of(client.post("/v1/events", json=VIEW | {"product_id": "p2"}, headers=signed()), 409, "conflict")
    batch = {"events": [VIEW, VIEW | {"interaction_id": "i2"}, VIEW | {"product_id": "p2"}]}
    told = client.post("/v1/events/batch", json=batch, headers=signed()).json()
    assert told == {"taken": 1, "known": 1, "conflicts": [2]}
    assert services.log.end() == 2


def test_a_batch_with_a_wrong_event_is_refused_whole(client, services):
    batch = {"events": [VIEW, VIEW | {"interaction_id": ""}, VIEW | {"type": CANARY}]}
    error = error_of(client.post("/v1/events/batch", json=batch, headers=signed()), 422, "invalid")
    assert [field["path"] for field in error["fields"]] == ["events.1.interaction_id", "events.2.type"]
    assert services.log.end() == 0
