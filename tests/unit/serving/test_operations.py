"""What holds for every route: idempotency keys, and failures that tell nothing of themselves."""

import asyncio
from typing import Any

import httpx
import pytest

from ml.outcomes import ToolFailed
from ml.serving.app import create_app
from ml.serving.errors import NotInTime
from tests.serving_stubs import ATTEMPT, VIEW, signed
from tests.unit.serving.refusals import CANARY, error_of


def test_an_idempotency_key_gives_the_same_answer_to_the_same_request_only(client):
    headers = signed() | {"Idempotency-Key": "k1"}
    first = client.post("/v1/events", json=VIEW, headers=headers)
    again = client.post("/v1/events", json=dict(reversed(VIEW.items())), headers=headers)
    assert (first.json(), again.json()) == ({"taken": 1, "known": 0, "conflicts": []},) * 2
    other = client.post("/v1/events", json=VIEW | {"interaction_id": "i2"}, headers=headers)
    error_of(other, 422, "idempotency_key_reused")
    elsewhere = client.post("/v1/fraud/decisions", json=ATTEMPT, headers=headers)
    error_of(elsewhere, 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "é"])
def test_what_is_no_idempotency_key_is_refused(client, key):
    headers = signed() | {"Idempotency-Key": key.encode()}
    error = error_of(client.post("/v1/events", json=VIEW, headers=headers), 422, "invalid")
    assert error["fields"][0]["path"] == "Idempotency-Key"


def test_a_request_under_way_holds_its_key(settings, services):
    gate = asyncio.Event()
    decide = services.fraud.decide

    async def slow(*arguments: Any) -> Any:
        await gate.wait()
        return await decide(*arguments)

    services.fraud.decide = slow

    async def both() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(create_app(settings, services=services))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            headers = signed() | {"Idempotency-Key": "k1"}
            first = asyncio.create_task(client.post("/v1/fraud/decisions", json=ATTEMPT, headers=headers))
            while not services.under_way:
                await asyncio.sleep(0.001)
            second = await client.post("/v1/fraud/decisions", json=ATTEMPT, headers=headers)
            gate.set()
            return await first, second

    first, second = asyncio.run(both())
    assert first.status_code == 200
    error_of(second, 409, "in_progress")
    assert services.under_way == set()


@pytest.mark.parametrize("error", [NotInTime(CANARY), ToolFailed(CANARY)])
def test_what_cannot_be_recorded_is_not_answered(client, services, caplog, error):
    services.fraud.raises = services.recommendations.raises = error
    for answer in (
        client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed()),
        client.get("/v1/recommendations/c1", headers=signed()),
    ):
        error_of(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
    assert CANARY not in caplog.text


def test_an_accident_tells_nothing_of_itself(client, services, caplog):
    services.fraud.raises = RuntimeError(CANARY)
    error = error_of(client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed()), 500, "internal")
    assert error["request_id"] in caplog.text
    assert CANARY not in caplog.text


def test_when_there_is_too_much_to_do_no_body_is_read(client, services):
    for _ in range(services.admission.limit):
        services.admission.enter()
    answer = client.post("/v1/fraud/decisions", content=b"no JSON", headers=signed())
    error_of(answer, 503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    error_of(client.post("/v1/fraud/decisions", content=b"no JSON"), 401, "unauthorized")
    for probe in ("/healthz", "/readyz", "/metrics"):
        assert client.get(probe, headers=signed()).status_code == 200
    services.admission.leave(None)
    assert client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed()).status_code == 200


def test_only_what_was_answered_tells_how_long_answers_take(client, services):
    told: list[bool] = []
    leave = services.admission.leave

    def noting(received: float | None) -> None:
        told.append(received is not None)
        leave(received)

    services.admission.leave = noting
    client.post("/v1/fraud/decisions", json=ATTEMPT, headers=signed())
    client.post("/v1/fraud/decisions", json=ATTEMPT | {"amount_cents": -1}, headers=signed())
    services.fraud.raises = NotInTime("too late")
    client.post("/v1/fraud/decisions", json=ATTEMPT | {"payment_id": "p2"}, headers=signed())
    client.post("/v1/events", json=VIEW, headers=signed())
    client.get("/healthz")
    assert told == [True, False, True, False]
    assert services.admission.under_way == 0
