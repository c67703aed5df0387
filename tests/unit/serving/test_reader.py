"""One thread reads for all that wait; who waits too long is told, and the loop goes on."""

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence

import pytest

from ml.outcomes import ToolFailed
from ml.serving.reader import NotRead, StoreReader


class Store:
    """Records by key; can be held up, and can fail."""

    def __init__(self) -> None:
        self.trips: list[list[str]] = []
        self.is_failing = False
        self.goes_on = threading.Event()
        self.goes_on.set()

    def read(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        self.trips.append(list(keys))
        self.goes_on.wait(10)
        if self.is_failing:
            raise ToolFailed("down")
        return {key: key.encode() for key in keys if key != "absent"}


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.goes_on.set()


@pytest.fixture
def reader(store: Store) -> Iterator[StoreReader[bytes]]:
    made = StoreReader(store.read, "test-reader")
    yield made
    store.goes_on.set()
    made.close()


async def refusal(reader: StoreReader[bytes], budget: float = 5.0) -> str:
    with pytest.raises(NotRead) as caught:
        await reader.read(["a"], budget)
    return caught.value.reason


def test_what_is_there_is_read_and_what_is_absent_is_left_out(reader: StoreReader[bytes]) -> None:
    assert asyncio.run(reader.read(["a", "absent"], 5.0)) == {"a": b"a"}


def test_requests_that_wait_together_share_a_round_trip(store: Store, reader: StoreReader[bytes]) -> None:
    async def ask() -> None:
        store.goes_on.clear()
        first = asyncio.create_task(reader.read(["first"], 5.0))
        while not store.trips:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(reader.read(["shared", str(number)], 5.0)) for number in range(20)]
        await asyncio.sleep(0.05)
        store.goes_on.set()
        assert await first == {"first": b"first"}
        for number, found in enumerate(await asyncio.gather(*others)):
            assert found[str(number)] == str(number).encode()

    asyncio.run(ask())
    assert store.trips[1:] == [["shared", *map(str, range(20))]]


def test_a_store_that_hangs_holds_up_nobody_beyond_the_budget(store: Store, reader: StoreReader[bytes]) -> None:
    store.goes_on.clear()
    assert asyncio.run(refusal(reader, 0.02)) == "late"


def test_five_failures_in_a_row_open_the_breaker_and_the_store_is_left_alone(
    store: Store, reader: StoreReader[bytes]
) -> None:
    async def ask() -> list[str]:
        store.is_failing = True
        return [await refusal(reader) for _ in range(7)]

    assert asyncio.run(ask()) == ["unavailable"] * 5 + ["breaker_open"] * 2
    assert len(store.trips) == 5
    assert reader.breaker_state == "open"


def test_one_hiccup_seen_by_many_requests_is_one_failure(store: Store, reader: StoreReader[bytes]) -> None:
    async def ask() -> list[str]:
        store.goes_on.clear()
        return await asyncio.gather(*(refusal(reader, 0.02) for _ in range(30)))

    assert set(asyncio.run(ask())) == {"late"}
    assert reader.breaker_state == "closed"


def test_who_gave_up_is_not_read_for(store: Store, reader: StoreReader[bytes]) -> None:
    async def ask() -> None:
        store.goes_on.clear()
        await refusal(reader, 0.02)
        await refusal(reader, 0.02)
        store.goes_on.set()
        await reader.read(["later"], 5.0)

    asyncio.run(ask())
    assert store.trips == [["a"], ["later"]]


def test_no_time_left_is_late_at_once_and_says_nothing_about_the_store(
    store: Store, reader: StoreReader[bytes]
) -> None:
    async def ask() -> list[str]:
        return [await refusal(reader, 0.0) for _ in range(6)]

    assert asyncio.run(ask()) == ["late"] * 6
    assert (store.trips, reader.breaker_state) == ([], "closed")


def test_whatever_a_client_library_throws_the_thread_lives_on(store: Store) -> None:
    def read(keys: Sequence[str]) -> Mapping[str, bytes]:
        if keys == ["a"]:
            raise ValueError("a fault of the client")
        return store.read(keys)

    async def ask() -> None:
        reader = StoreReader(read, "test-reader")
        assert await refusal(reader) == "unavailable"
        assert await reader.read(["b"], 5.0) == {"b": b"b"}
        reader.close()

    asyncio.run(ask())
