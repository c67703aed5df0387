"""Decisions go on, by declared steps and inside the deadline, whatever becomes of the online store."""

import asyncio
import itertools
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from ml.cli.fraud.events import follow_log
from ml.serving.errors import NotInTime
from ml.settings import Settings
from ml.stores import state_store
from tests.fraud_serving import Serving, attempt, install_model, of_shop, serving
from tests.private_redis import PrivateRedis, private_redis

ENOUGH = 7
"""Decisions that a store's failure is seen by: five open the breaker."""
FAR_BEYOND_DEADLINE = 20.0


@pytest.fixture
def redis(server_binary: Callable[[str], Path]) -> Iterator[PrivateRedis]:
    with private_redis(server_binary) as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, redis: PrivateRedis) -> Settings:
    made = of_shop(tmp_path, state_url=redis.url)
    install_model(made)
    return made


def bring_up(settings: Settings) -> None:
    """Build the state of fraud features from the log."""
    follow_log(settings, stops=threading.Event(), is_once=True)


def run(settings: Settings, story: Callable[[Serving, Callable[[], int]], Coroutine[Any, Any, None]]) -> None:
    """A story told to a service with a model, and fresh numbers of attempts."""
    numbers = itertools.count(1)

    async def told() -> None:
        async with serving(settings, has_model=True) as shop:
            await story(shop, lambda: next(numbers))

    asyncio.run(told())


async def steps(shop: Serving, numbers: Callable[[], int], count: int = ENOUGH) -> list[str]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        found.append((await shop.answer(numbers()))["step"])
        assert time.perf_counter() - began < FAR_BEYOND_DEADLINE
    return found


def test_by_the_model_while_the_store_answers(settings: Settings) -> None:
    bring_up(settings)

    async def story(shop: Serving, numbers: Callable[[], int]) -> None:
        answer = await shop.until_step("model", numbers)
        assert (answer["degraded"], answer["source"], answer["action"]) == (False, "model", "approve")
        assert answer["score"] == pytest.approx(0.00247, abs=1e-5)  # 1 / (1 + e^6)
        assert shop.service.condition()["store"] == "closed"

    run(settings, story)


def test_frozen_not_only_dead_and_back_by_itself(settings: Settings, redis: PrivateRedis) -> None:
    bring_up(settings)

    async def story(shop: Serving, numbers: Callable[[], int]) -> None:
        await shop.until_step("model", numbers)
        redis.freeze()
        try:
            assert set(await steps(shop, numbers)) == {"standin"}
            assert shop.service.condition()["store"] in ("open", "half_open")
        finally:
            redis.thaw()
        await shop.until_step("model", numbers)
        assert shop.service.condition()["store"] == "closed"

    run(settings, story)


def test_killed_and_started_empty_is_unavailable_until_it_is_built_anew(
    settings: Settings, redis: PrivateRedis
) -> None:
    bring_up(settings)

    async def story(shop: Serving, numbers: Callable[[], int]) -> None:
        await shop.until_step("model", numbers)
        redis.kill()
        assert set(await steps(shop, numbers)) == {"standin"}
        redis.start()
        await asyncio.sleep(1.1)  # the breaker tries again
        assert set(await steps(shop, numbers)) == {"standin"}
        bring_up(settings)
        await shop.until_step("model", numbers)

    run(settings, story)


def test_flushed_is_never_read_as_nobody_ordered(
    settings: Settings, redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_up(settings)

    async def story(shop: Serving, numbers: Callable[[], int]) -> None:
        await shop.until_step("model", numbers)
        redis.client().flushall()
        assert set(await steps(shop, numbers, 3)) == {"standin"}
        # Without the refusal of an unfit state, the model would score by counts that are all zero.
        monkeypatch.setattr(state_store, "_refuse_unfit", lambda _position, _built_by: None)
        assert set(await steps(shop, numbers, 1)) == {"model"}

    run(settings, story)


class SlowProxy:
    """Passes on what a server on a Unix socket says, late."""

    def __init__(self, folder: Path, target: str, seconds: float) -> None:
        self.path, self._target, self._seconds = folder / "slow.sock", target, seconds
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            threading.Thread(target=self._pass_on, args=(client, server, 0.0), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, self._seconds), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, seconds: float) -> None:
        try:
            while data := source.recv(65536):
                time.sleep(seconds)
                target.sendall(data)
        except OSError:
            pass
        target.close()


def test_slow_by_200_ms_is_as_good_as_dead(settings: Settings, redis: PrivateRedis) -> None:
    bring_up(settings)
    proxy = SlowProxy(redis.folder, f"{redis.folder}/redis.sock", 0.2)
    slow = settings.model_copy(update={"state_url": type(settings.state_url)(f"unix://{proxy.path}")})  # type: ignore[misc]

    async def story(shop: Serving, numbers: Callable[[], int]) -> None:
        assert set(await steps(shop, numbers)) == {"standin"}
        assert shop.service.condition()["store"] in ("open", "half_open")

    try:
        run(slow, story)
    finally:
        proxy.close()


def test_while_the_breaker_is_open_the_store_is_left_alone(settings: Settings, redis: PrivateRedis) -> None:
    asked = []

    async def story(shop: Serving, numbers: Callable[[], int]) -> None:
        reader = shop.service._reader
        read = reader._read
        reader._read = lambda keys: (asked.append(len(keys)), read(keys))[1]  # type: ignore[func-returns-value]
        await steps(shop, numbers, 5)
        before = len(asked)
        assert before == 5
        await steps(shop, numbers, 3)
        assert len(asked) <= before + 1  # one try, if a second has gone by

    redis.kill()
    run(settings, story)


def test_a_locked_sqlite_state_is_late_and_a_locked_log_refuses(tmp_path: Path) -> None:
    settings = of_shop(tmp_path, deadline_ms=2000)
    install_model(settings)
    bring_up(settings)

    async def story(shop: Serving, numbers: Callable[[], int]) -> None:
        await shop.until_step("model", numbers)
        blocker = sqlite3.connect(settings.shop_dir / "serving" / "log.db", isolation_level=None)
        blocker.execute("begin immediate")
        try:
            with pytest.raises(NotInTime):
                await shop.decide(attempt(900))
        finally:
            blocker.execute("rollback")
            blocker.close()
        assert (await shop.decide(attempt(900)))[0].answer is not None

    run(settings, story)
    copied = of_shop(tmp_path / "copied", deadline_ms=2000)  # nobody has it open, so that it can be locked wholly
    shutil.copytree(settings.shop_dir, copied.shop_dir)
    holder = sqlite3.connect(copied.shop_dir / "fraud" / "state.db", isolation_level=None)
    holder.execute("pragma locking_mode = exclusive")
    holder.execute("begin exclusive")
    try:

        async def locked(shop: Serving, _numbers: Callable[[], int]) -> None:
            assert (await shop.answer(901))["step"] == "standin"

        run(copied, locked)
    finally:
        holder.execute("rollback")
        holder.close()
