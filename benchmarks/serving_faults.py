"""What is done to a running shop while requests come in: one fault a minute, in random order.

Each fault says whether it struck: whether the process was there and is gone, the store held something and is empty, the
pointer moves. A fault that misses proves nothing.
"""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import uuid4

import psutil
from serving_processes import Process, await_ready, free_port, start_follower, start_redis, start_server
from serving_shop import BenchShop

PRODUCTS = ("fraud", "recommender")
FROZEN_SECONDS, AWAY_SECONDS = 10.0, 5.0
_GONE_SECONDS = 5.0


@dataclass(frozen=True)
class Strike:
    """What a fault did.

    Attributes:
        struck: Whether it took effect.
        versions: What answers have to name afterwards, of models and policy.
    """

    struck: bool
    versions: tuple[str, ...] = ()


def nth_fault(number: int, seed: int) -> str:
    """Which fault comes when (0: first): all of them, then those that end processes, then the others on and on.

    So every fault comes twice, and the processes of the last part live long enough to tell whether they grow, though
    each fault that they may meet comes to them several times. The order within a round follows from the seed.
    """
    rounds = [list(FAULTS), sorted(ENDING)]
    lasting = sorted(FAULTS.keys() - ENDING)
    while sum(map(len, rounds)) <= number:
        rounds.append(lasting)
    draw = random.Random(seed)  # noqa: S311 - no secret
    return [name for one in rounds for name in draw.sample(one, len(one))][number]


@dataclass
class Running:
    """The processes of a shop under test; a fault may replace any of them.

    Attributes:
        name: Unlike that of any other run on this shop, so that what it promotes is new.
        done: Faults that were made, in order: `fault`, `at` (monotonic, when it was done), `seconds`, and its strike.
        follower_ended: Of each time that the follower ended by itself, the last line that it wrote.
    """

    shop: BenchShop
    seed: int
    workers: int = 2
    port: int = field(default_factory=free_port)
    name: str = field(default_factory=lambda: uuid4().hex)
    done: list[dict[str, Any]] = field(default_factory=list)
    follower_ended: list[list[str]] = field(default_factory=list)

    def start(self) -> None:
        self.redis, self.redis_port = start_redis(self.shop.folder / "logs")
        self.fill()
        self.server = self._server()
        self.follower = start_follower(self.shop, None, **self.settings)

    @property
    def settings(self) -> dict[str, object]:
        return {"state_url": f"redis://127.0.0.1:{self.redis_port}/0", "keep_versions": 1000}

    def fill(self) -> None:
        """Bring rows and state into the store, as the daily steps do."""
        from serving_shop import run_step

        for step in ("publish_rows", "follow_log"):
            run_step(self.shop, step, **self.settings)

    def _server(self) -> Process:
        return start_server(self.shop, self.port, self.workers, None, **self.settings)

    def end(self) -> None:
        for name in ("server", "follower", "redis"):
            process: Process | None = getattr(self, name, None)  # starting may have failed half way
            if process is not None:
                process.end()

    def inject(self, number: int) -> str:
        """Make one fault and heal what does not heal by itself.

        Returns:
            Its name.
        """
        name = nth_fault(number, self.seed)
        began = time.monotonic()
        strike = FAULTS[name](self)
        ended = time.monotonic()
        self.done.append({"fault": name, "at": ended, "seconds": round(ended - began, 1), **asdict(strike)})
        return name

    def kill_worker(self) -> Strike:
        """kill -9 of one process that answers; the supervisor starts another."""
        workers = self.workers_alive()
        if workers:
            workers[0].kill()
        return Strike(_are_gone(workers[:1]))

    def freeze_store(self) -> Strike:
        """The store does not answer, and does not refuse either."""
        self.redis.signal(signal.SIGSTOP)
        time.sleep(FROZEN_SECONDS)
        was_stopped = self.redis.is_alive() and psutil.Process(self.redis.pid).status() == psutil.STATUS_STOPPED
        self.redis.signal(signal.SIGCONT)
        return Strike(was_stopped)

    def flush_store(self) -> Strike:
        """Everything in the store is gone at once."""
        from redis import Redis

        with Redis(port=self.redis_port) as store, store.pipeline(transaction=True) as at_once:
            before, _, after = at_once.dbsize().flushall().dbsize().execute()
        return Strike(before > 0 and after == 0)

    def kill_store(self) -> Strike:
        """The store dies, and comes back empty at the same address."""
        port, members = self.redis_port, self.redis.members()
        self.redis.kill_group()
        gone = _are_gone(members)
        time.sleep(AWAY_SECONDS)
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.redis = Process("redis", command, os.environ, None, self.shop.folder / "logs").await_port(port)
        return Strike(gone)

    def kill_follower(self) -> Strike:
        """kill -9 of the follower; another one is started after a while."""
        members = self.follower.members()
        self.follower.kill_group()
        gone = _are_gone(members)
        time.sleep(AWAY_SECONDS)
        self.follower = start_follower(self.shop, None, **self.settings)
        return Strike(gone)

    def crash_all(self) -> Strike:
        """kill -9 of the server with all its processes, and a start."""
        members = self.server.members()
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.server.kill_group()
        gone = _are_gone(members)
        self.server = self._server()
        return Strike(gone)

    def restart_all(self) -> Strike:
        """An orderly end of the server, and a start."""
        # A check of a model outlives the process that asked for it; it serves nobody, and ends by itself.
        members = [*self.server.members()[:1], *self.workers_alive()]
        self.server.end()
        gone = _are_gone(members)
        self.server = self._server()
        return Strike(gone)

    def promote(self) -> Strike:
        """Another version of each model becomes champion."""
        from ml.settings import get_settings
        from ml.stores import registry
        from ml.stores.bundles import save_bundle

        settings, before = get_settings(), self._champions()
        for product in PRODUCTS:
            bundle = registry.load_champion(settings, product)
            assert bundle is not None
            own = {"files", "product", "shop_id"}
            manifest = {name: value for name, value in bundle.manifest.items() if name not in own}
            copy = save_bundle(
                settings, product, {**manifest, "copy": f"{self.name} {len(self.done)}"}, bundle.contents
            )
            registry.promote(settings, product, copy.version, settings.bootstrap_day)
        return self._switched_from(before)

    def rollback(self) -> Strike:
        """Champions of a few seconds are taken back.

        Not those that were there before: the one before them may be a baseline, and no model would answer any more.
        """
        from ml.settings import get_settings
        from ml.stores import registry

        settings = get_settings()
        self.promote()
        time.sleep(AWAY_SECONDS)
        before = self._champions()
        for product in PRODUCTS:
            registry.rollback(settings, product)
        return self._switched_from(before)

    def _champions(self) -> tuple[str, ...]:
        from ml.settings import get_settings
        from ml.stores import registry

        champions = [registry.champion(get_settings(), product) for product in PRODUCTS]
        return tuple(champion.version for champion in champions if champion)

    def _switched_from(self, before: tuple[str, ...]) -> Strike:
        now = self._champions()
        return Strike(len(now) == len(PRODUCTS) and not set(now) & set(before), now)

    def switch_policy(self) -> Strike:
        """Another policy becomes active."""
        from ml.fraud.policy_file import default_policy, read_policy
        from ml.settings import get_settings
        from ml.stores import policies
        from ml.stores.operations import Operations

        operations = Operations.from_settings(get_settings())
        body = f"# {self.name} {len(self.done)}\n{default_policy().body}"
        version = read_policy(body, "soak.yml").version
        policies.submit_policy(operations, version=version, body=body, by="soak")
        for state in ("shadow", "active"):
            policies.change_state(operations, version=version, to=state, reason="soak", by="soak")
        active = [row["version"] for row in policies.stored_policies(operations, "active")]
        return Strike(active == [version], (version,))

    def keep_following(self) -> None:
        """As the container's restart policy does: a follower that ended is started again."""
        if not self.follower.is_alive():
            self.follower_ended.append(self.follower.output_path.read_text().splitlines()[-1:])
            self.follower = start_follower(self.shop, None, **self.settings)

    def workers_alive(self) -> list[psutil.Process]:
        """The processes that answer; not those that check a model before it is served."""
        return [one for one in self.server.members()[1:] if "golden_check" not in _command(one)]

    def await_healthy(self) -> None:
        await_ready(self.server, self.port)


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _are_gone(processes: list[psutil.Process]) -> bool:
    """Whether there were any, and all of them have ended."""
    _, alive = psutil.wait_procs(processes, _GONE_SECONDS)
    return bool(processes) and all(_has_ended(one) for one in alive)


def _has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)  # killed, and not yet fetched by its parent
    except psutil.NoSuchProcess:
        return True


FAULTS: dict[str, Callable[[Running], Strike]] = {
    "kill_worker": Running.kill_worker,
    "freeze_store": Running.freeze_store,
    "flush_store": Running.flush_store,
    "kill_store": Running.kill_store,
    "kill_follower": Running.kill_follower,
    "crash_all": Running.crash_all,
    "restart_all": Running.restart_all,
    "promote": Running.promote,
    "rollback": Running.rollback,
    "switch_policy": Running.switch_policy,
}
ENDING = frozenset({"kill_worker", "kill_follower", "crash_all", "restart_all"})
"""Faults that end processes whose memory is watched."""
