"""Requests of events: all or none when one is refused, each once, and the same answer under the same key."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.serving.errors import Refusal
from ml.serving.event_service import EventService, TakenEvents
from ml.settings import Settings
from ml.stores.group_commit import GroupCommitter
from ml.stores.serving_log import LogUnavailable, ServingLog

AT = "2017-03-10T12:00:00Z"


@pytest.fixture
def log(tmp_path: Path) -> ServingLog:
    return ServingLog(tmp_path / "log.db")


@pytest.fixture
def service(log: ServingLog, tmp_path: Path) -> Iterator[EventService]:
    committer = GroupCommitter(log)
    yield EventService(Settings(_env_file=None, state_dir=tmp_path), log, committer)
    committer.close()


def view(number: int, **changed: Any) -> dict[str, Any]:
    event = {"type": "view", "interaction_id": f"i{number}", "customer_id": "c1", "product_id": "p1", "occurred_at": AT}
    return event | changed


def take(service: EventService, *events: dict[str, Any], key: str | None = None, digest: str = "r") -> TakenEvents:
    return asyncio.run(service.take(events, "till", key, digest))


def test_events_are_taken_known_or_in_conflict_each_for_itself(service: EventService, log: ServingLog) -> None:
    assert take(service, view(1), view(2)) == TakenEvents(2, 0)
    taken = take(service, view(1), view(2, product_id="p2"), view(3))
    assert (taken.taken, taken.known, taken.conflicts, taken.refused) == (1, 1, (1,), ())
    assert [one.key for one in log.read_after(0, 10)] == ["i1", "i2", "i3"]


def test_one_refused_event_keeps_all_out_and_is_told_by_its_place(service: EventService, log: ServingLog) -> None:
    taken = take(service, view(1), view(2, product_id="secret\x00"), {"type": "secret"})
    assert taken.taken == 0
    assert [(index, path) for index, path, _ in taken.refused] == [(1, "product_id"), (2, "type")]
    assert taken.refused[0][2] == "not_allowed (expected 1 to 200 printable characters)"
    assert "secret" not in str(taken)
    assert log.end() == 0


def test_no_events_are_no_request(service: EventService, log: ServingLog) -> None:
    assert take(service, key="k") == TakenEvents(0, 0)
    assert log.find_request("till:k") is None


def test_the_same_request_under_its_key_gets_the_same_answer(service: EventService) -> None:
    first = take(service, view(1), view(1), view(1, product_id="p2"), key="k")
    assert first == TakenEvents(1, 1, (2,))
    assert take(service, view(1), view(1), view(1, product_id="p2"), key="k") == first


def test_another_request_under_a_key_is_refused_and_keeps_nothing(service: EventService, log: ServingLog) -> None:
    take(service, view(1), key="k")
    with pytest.raises(Refusal) as refused:
        take(service, view(2), key="k", digest="another")
    assert (refused.value.status, refused.value.code) == (422, "idempotency_key_reused")
    assert log.end() == 1


def test_another_request_that_came_in_between_is_refused_too(
    service: EventService, log: ServingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(service, view(1), key="k")
    monkeypatch.setattr(log, "find_request", lambda _key: None)
    with pytest.raises(Refusal):
        take(service, view(2), key="k", digest="another")
    assert log.end() == 1


def test_operators_see_how_many_were_taken_known_in_conflict_and_refused(log: ServingLog, tmp_path: Path) -> None:
    class Counts(dict[str, int]):
        def events(self, outcome: str, count: int) -> None:
            self[outcome] = self.get(outcome, 0) + count

    counts, committer = Counts(), GroupCommitter(log)
    service = EventService(Settings(_env_file=None, state_dir=tmp_path), log, committer, counts)
    take(service, view(1), view(2), view(1), view(2, product_id="p2"))
    take(service, view(3), view(4, product_id=""))
    committer.close()
    assert counts == {"taken": 2, "known": 1, "conflict": 1, "refused": 1}


def test_keys_of_two_callers_are_two_keys(service: EventService) -> None:
    take(service, view(1), key="k")
    assert asyncio.run(service.take([view(2)], "other", "k", "another")) == TakenEvents(1, 0)


def test_the_future_of_a_replayed_shop_begins_after_its_last_day(service: EventService) -> None:
    settings = Settings(_env_file=None)
    end = settings.event_horizon()
    inside, beyond = end + timedelta(minutes=5), end + timedelta(minutes=5, seconds=1)
    assert take(service, view(1, occurred_at=inside.isoformat())).taken == 1
    assert take(service, view(2, occurred_at=beyond.isoformat())).refused[0][1] == "occurred_at"


def test_a_log_that_does_not_write_in_time_is_told(service: EventService, monkeypatch: pytest.MonkeyPatch) -> None:
    async def waits_for_ever(_entries: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("ml.serving.event_service.TAKE_SECONDS", 0.01)
    monkeypatch.setattr(service._committer, "append", waits_for_ever)
    with pytest.raises(LogUnavailable, match="not written"):
        take(service, view(1))


def test_long_requests_let_others_go_between(service: EventService) -> None:
    async def scenario() -> int:
        turns = 0
        taking = asyncio.create_task(service.take([view(number) for number in range(200)], "till", None, "r"))
        while not taking.done() and turns < 5:
            turns += 1
            await asyncio.sleep(0)
        assert not taking.done()
        assert (await taking).taken == 200
        return turns

    assert asyncio.run(scenario()) == 5
