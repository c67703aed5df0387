"""The processes of the serving benchmark, each bound to a core: server, Redis, follower, load."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import psutil
from serving_load import Plan
from serving_shop import PROJECT, BenchShop

SERVER_CORE, OTHER_CORE = 0, 1
SHOPWRIGHT = Path(sys.executable).parent / "shopwright"
_READY_SECONDS = 300.0  # a lost state may be being built anew, under load
_END_SECONDS = 20.0
_CORES = sorted(os.sched_getaffinity(0))  # before anything is bound to one of them


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def own_core(wanted: int) -> int:
    """The wanted core, or the only one there is."""
    return wanted if wanted in _CORES else _CORES[0]


class Process:
    """A process group on a core, ended with it.

    Attributes:
        name: Of its output file.
    """

    def __init__(
        self, name: str, command: list[str], environment: Mapping[str, str], core: int | None, folder: Path
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        bound = [] if core is None else ["taskset", "-c", str(own_core(core))]
        self.name, self.output_path = name, folder / f"{name}.log"
        output: IO[bytes] = self.output_path.open("ab")
        with output:
            self._process = subprocess.Popen(
                [*bound, *command],
                env=dict(environment),
                cwd=PROJECT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def await_port(self, port: int) -> Self:
        """Wait until something listens.

        Raises:
            SystemExit: It ended, or did not listen in time.
        """
        ends_at = time.monotonic() + _READY_SECONDS
        while time.monotonic() < ends_at and self.is_alive():
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            except OSError:
                time.sleep(0.1)
            else:
                return self
        self.end()
        raise SystemExit(f"{self.name} does not listen:\n{self.output_path.read_text()[-4000:]}")

    def members(self) -> list[psutil.Process]:
        """The process and its children, however deep."""
        try:
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def memory(self) -> dict[str, float]:
        """MB: resident of the largest process; of all of them, with what they share counted once."""
        resident, proportional = [0.0], 0.0
        for member in self.members():
            try:
                found = member.memory_full_info()
            except psutil.Error:
                continue
            resident.append(found.rss / 2**20)
            proportional += found.pss / 2**20
        return {"largest_rss_mb": round(max(resident), 1), "all_pss_mb": round(proportional, 1)}

    def cpu_seconds(self) -> float:
        """Used so far by it and its living children."""
        total = 0.0
        for member in self.members():
            try:
                used = member.cpu_times()
            except psutil.Error:
                continue
            total += used.user + used.system
        return total

    def signal(self, number: int) -> None:
        if self.is_alive():
            self._process.send_signal(number)

    def kill_group(self) -> None:
        """End it and its children as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """End it in good order, and whatever is left of its group."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self.kill_group()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()


def start_redis(folder: Path, core: int = OTHER_CORE) -> tuple[Process, int]:
    """A Redis of one's own on loopback, nothing on disk."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = Process("redis", command, os.environ, core, folder)
    return process.await_port(port), port


def start_server(
    shop: BenchShop, port: int, workers: int = 1, core: int | None = SERVER_CORE, **settings: object
) -> Process:
    """`shopwright serve`, with its models loaded."""
    command = [str(SHOPWRIGHT), "serve", "--port", str(port), "--workers", str(workers)]
    environment = {**shop.environment(**{**API, **settings}), "OMP_NUM_THREADS": "1"}
    process = Process("server", command, environment, core, shop.folder / "logs")
    try:
        process.await_port(port)
        await_ready(process, port)
    except BaseException:  # also when this process is told to end
        process.end()
        raise
    return process


def await_ready(process: Process, port: int) -> None:
    """Wait until everything is loaded.

    Raises:
        SystemExit: It is not in time; what it lacks is told.
    """
    ends_at, told = time.monotonic() + _READY_SECONDS, ""
    while time.monotonic() < ends_at and process.is_alive():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5.0) as answer:
                told = answer.read().decode()
        except OSError as error:
            told = str(error)
        if '"status":"ready"' in told:
            return
        time.sleep(0.25)
    process.end()
    raise SystemExit(f"{process.name} is not ready: {told}\n{process.output_path.read_text()[-3000:]}")


def start_follower(shop: BenchShop, core: int | None = OTHER_CORE, **settings: object) -> Process:
    """`shopwright fraud follow`, out of the way of what is measured."""
    command = ["nice", "-n", "19", str(SHOPWRIGHT), "fraud", "follow"]
    environment = {**shop.environment(**{**API, **settings}), "OMP_NUM_THREADS": "1"}
    process = Process("follower", command, environment, core, shop.folder / "logs")
    # Where the kernel shares the processor out among sessions, a process is nice to its own session only.
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text("19")
    return process


def start_load(plan: Plan, folder: Path, name: str = "load") -> tuple[Process, Path]:
    """A load generator, and where its result will be."""
    folder.mkdir(parents=True, exist_ok=True)
    plan_path, result = folder / f"{name}_plan.json", folder / f"{name}_result.json"
    result.unlink(missing_ok=True)
    plan_path.write_text(json.dumps(vars(plan)))
    script = str(PROJECT / "benchmarks" / "serving_load.py")
    command = [sys.executable, script, str(plan_path), str(result)]
    return Process(name, command, os.environ, OTHER_CORE if plan.core is None else plan.core, folder), result


def finish_load(process: Process, result: Path) -> dict[str, Any]:
    """Its result, waited for."""
    while process.is_alive():
        time.sleep(0.05)
    if not result.exists():
        raise SystemExit(f"the load generator failed:\n{process.output_path.read_text()[-4000:]}")
    found: dict[str, Any] = json.loads(result.read_bytes())
    return found


KEY = "benchmark-key-of-a-server-on-loopback"
_SCOPES = "decisions:write decisions:read recommendations:read events:write metrics:read"


def _digest(key: str) -> str:
    from hashlib import sha256

    return sha256(key.encode()).hexdigest()


API: Mapping[str, object] = {
    "api_keys": json.dumps({"benchmark": f"{_digest(KEY)} {_SCOPES}"}),
    "key_requests_per_second": 1_000_000,
    "customer_requests_per_minute": 100_000,
}
