"""What is done to a running shop while requests come in: one fault a minute, drawn from all of them."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serving_processes import Process, await_ready, free_port, start_follower, start_redis, start_server
from serving_shop import BenchShop

FROZEN_SECONDS, AWAY_SECONDS = 10.0, 5.0


@dataclass
class Running:
    """The processes of a shop under test; a fault may replace any of them.

    Attributes:
        done: Faults that were made, in order, with what came of them.
    """

    shop: BenchShop
    seed: int
    workers: int = 2
    port: int = field(default_factory=free_port)
    done: list[dict[str, Any]] = field(default_factory=list)

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
        faults = list(FAULTS)
        # Every fault once before one comes again; which is when follows from the seed.
        order = random.Random(self.seed + number // len(faults)).sample(faults, len(faults))  # noqa: S311 - no secret
        name = order[number % len(faults)]
        began = time.monotonic()
        FAULTS[name](self)
        self.done.append({"fault": name, "seconds": round(time.monotonic() - began, 1)})
        return name

    def kill_worker(self) -> None:
        """kill -9 of one process that answers; the supervisor starts another."""
        workers = self.server.members()[1:]
        if workers:
            os.kill(workers[0].pid, signal.SIGKILL)

    def freeze_store(self) -> None:
        """The store does not answer, and does not refuse either."""
        self.redis.signal(signal.SIGSTOP)
        time.sleep(FROZEN_SECONDS)
        self.redis.signal(signal.SIGCONT)

    def flush_store(self) -> None:
        """Everything in the store is gone at once."""
        from redis import Redis

        Redis(port=self.redis_port).flushall()

    def kill_store(self) -> None:
        """The store dies, and comes back empty at the same address."""
        port = self.redis_port
        self.redis.kill_group()
        time.sleep(AWAY_SECONDS)
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.redis = Process("redis", command, os.environ, None, self.shop.folder / "logs").await_port(port)

    def kill_follower(self) -> None:
        """kill -9 of the follower; another one is started after a while."""
        self.follower.kill_group()
        time.sleep(AWAY_SECONDS)
        self.follower = start_follower(self.shop, None, **self.settings)

    def crash_all(self) -> None:
        """kill -9 of the server with all its processes, and a start."""
        for member in self.server.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)
        self.server.kill_group()
        self.server = self._server()

    def restart_all(self) -> None:
        """An orderly end of the server, and a start."""
        self.server.end()
        self.server = self._server()

    def promote(self) -> None:
        """Another version of each model becomes champion."""
        from ml.settings import get_settings
        from ml.stores import registry
        from ml.stores.bundles import save_bundle

        settings = get_settings()
        for product in ("fraud", "recommender"):
            bundle = registry.load_champion(settings, product)
            assert bundle is not None
            own = {"files", "product", "shop_id"}
            manifest = {name: value for name, value in bundle.manifest.items() if name not in own}
            copy = save_bundle(
                settings, product, {**manifest, "copy": f"{self.seed} {len(self.done)}"}, bundle.contents
            )
            registry.promote(settings, product, copy.version, settings.bootstrap_day)

    def rollback(self) -> None:
        """Back to the champions before."""
        from ml.outcomes import DataFailed
        from ml.settings import get_settings
        from ml.stores import registry

        for product in ("fraud", "recommender"):
            with contextlib.suppress(DataFailed):  # nothing was promoted yet
                registry.rollback(get_settings(), product)

    def switch_policy(self) -> None:
        """Another policy becomes active."""
        from ml.fraud.policy_file import default_policy, read_policy
        from ml.settings import get_settings
        from ml.stores import policies
        from ml.stores.operations import Operations

        operations = Operations.from_settings(get_settings())
        body = f"# {self.seed} {len(self.done)}\n{default_policy().body}"
        version = read_policy(body, "soak.yml").version
        policies.submit_policy(operations, version=version, body=body, by="soak")
        for state in ("shadow", "active"):
            policies.change_state(operations, version=version, to=state, reason="soak", by="soak")

    def await_healthy(self) -> None:
        await_ready(self.server, self.port)


FAULTS: dict[str, Callable[[Running], None]] = {
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
