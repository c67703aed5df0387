"""Keeps the processes of the API running on one port: starts them, starts them again when they die, ends them.

It loads nothing itself, so there is little in it that could fail.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ml.outcomes import EXIT_USAGE, ToolFailed
from ml.settings import PREFIX

GRACE_SECONDS = 8.0
_PAUSE_SECONDS = 0.1
_FIRST_RESTART_SECONDS = 0.2
_LONGEST_RESTART_SECONDS = 10.0
_STABLE_SECONDS = 30.0
_MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"
# How long a process loads its models before it answers without: while nobody else answers, and while others do.
_LOADS_ALONE_SECONDS, _LOADS_BESIDE_SECONDS = 2.0, 30.0
HOST = "127.0.0.1"


def shared_socket(port: int, host: str = HOST) -> socket.socket:
    """A socket of this port that others may have, too; the kernel deals connections out to those who listen."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((host, port))
    return made


@contextmanager
def reserved_port(port: int, host: str = HOST) -> Iterator[int]:
    """The port, kept for the workers to come: it is bound and nobody listens at it. 0 takes a free one.

    Raises:
        ToolFailed: Somebody else has it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as alone:
        try:
            if port:  # without SO_REUSEPORT, so that another API of this user does not get half of the requests
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind((host, port))
        except OSError:
            raise ToolFailed(f"port {port} is taken; choose another one with --port") from None
    with shared_socket(port, host) as made:
        yield int(made.getsockname()[1])


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    started_at: float
    pause: float = _FIRST_RESTART_SECONDS
    again_at: float | None = None


class Supervisor:
    """Of the workers of one port.

    Args:
        port: That the workers share.
        workers: How many.
        tell: Takes lines for the operator.
        host: Address that they listen at.
    """

    def __init__(self, port: int, workers: int, tell: Callable[[str], None], host: str = HOST) -> None:
        self._port, self._host, self._count, self._tell = port, host, workers, tell
        self._workers: list[_Worker] = []
        self._ends = False
        self._folder = Path(tempfile.mkdtemp(prefix="shopwright-serve-"))
        self._metrics_dir, self._checked_dir = self._folder / "metrics", self._folder / "checked"
        for made in (self._metrics_dir, self._checked_dir):
            made.mkdir()

    def run(self) -> None:
        """Until SIGTERM or SIGINT.

        Raises:
            ToolFailed: The first worker could not start at all.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        try:
            self._workers = [self._start() for _ in range(self._count)]
            while not self._ends:
                for place, worker in enumerate(self._workers):
                    self._workers[place] = self._kept(worker)
                time.sleep(_PAUSE_SECONDS)
        finally:
            self._stop()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, _number: int, _frame: object) -> None:
        self._ends = True

    def _start(self, pause: float = _FIRST_RESTART_SECONDS, load_seconds: float = _LOADS_ALONE_SECONDS) -> _Worker:
        environment = {
            **os.environ,
            _MULTIPROC_DIR: str(self._metrics_dir),
            f"{PREFIX}SERVING_WORKERS": str(self._count),  # they share the limits in equal parts
            f"{PREFIX}SERVING_CHECKED_DIR": str(self._checked_dir),
        }
        # A session of its own: an interrupt at the terminal reaches the supervisor, who ends the workers in order.
        process = subprocess.Popen(
            [sys.executable, "-m", "ml.serving.worker", str(self._port), self._host, str(load_seconds)],
            stdin=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        return _Worker(process, time.monotonic(), pause)

    def _kept(self, worker: _Worker) -> _Worker:
        """The worker, or the one that takes its place."""
        status = worker.process.poll()
        if status is None:
            return worker
        now = time.monotonic()
        if worker.again_at is None:
            if status == EXIT_USAGE:  # it said why; it would say so again
                raise ToolFailed("the API could not start with these settings")
            self._forget(worker)
            is_stable = now - worker.started_at >= _STABLE_SECONDS
            worker.pause = _FIRST_RESTART_SECONDS if is_stable else min(worker.pause * 2, _LONGEST_RESTART_SECONDS)
            worker.again_at = now + worker.pause
            self._tell(f"a process of the API ended with status {status}; another one takes its place")
        if now < worker.again_at:
            return worker
        others_answer = any(other.process.poll() is None for other in self._workers)
        return self._start(worker.pause, _LOADS_BESIDE_SECONDS if others_answer else _LOADS_ALONE_SECONDS)

    def _forget(self, worker: _Worker) -> None:
        """Figures that hold for living processes only go with it."""
        if worker.process.stdin is not None:
            worker.process.stdin.close()
        for path in self._metrics_dir.glob(f"gauge_live*_{worker.process.pid}.db"):
            path.unlink(missing_ok=True)

    def _stop(self) -> None:
        living = [worker.process for worker in self._workers if worker.process.poll() is None]
        for process in living:
            process.terminate()
        ends_at = time.monotonic() + GRACE_SECONDS
        for process in living:
            try:
                process.wait(max(ends_at - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
