"""Processes that end when their owner ends, whatever ends it.

Each one leads its own session. The record of leaders (pid and start time) lets the next start end what a
killed owner left behind, without touching a stranger that got the same number.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from ml.outcomes import ToolFailed
from ml.stores.durable import write_durably

_PR_SET_PDEATHSIG = 1
_TERM_SECONDS = 8.0
_KILL_SECONDS = 5.0
_CLOCK_SECONDS = 1.0
_PROGRAM = os.path.realpath(sys.executable)


@dataclass(frozen=True)
class Leader:
    """First process of a session. `started` is its start time in seconds since the epoch."""

    name: str
    pid: int
    started: float


class ProcessGroups:
    """The processes of one `up`.

    Args:
        record: File that names the leaders while they live.
        environment: Environment of every process.
        logs: Folder for their output.
    """

    def __init__(self, record: Path, environment: dict[str, str], logs: Path) -> None:
        self.environment = environment
        self._record = record
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._leaders: list[Leader] = []

    def start(
        self, name: str, arguments: Sequence[str], *, shows_output: bool = False, outlives_us: bool = False
    ) -> None:
        """Start a process.

        Args:
            shows_output: Its output goes where ours goes, not to `<logs>/<name>.log`.
            outlives_us: It notices our death by itself.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log_of(name).open("ab") as log:
            process = subprocess.Popen(
                list(arguments),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=None if shows_output else log,
                stderr=log,
                start_new_session=True,
                preexec_fn=None if outlives_us else _end_with(os.getpid()),
            )
        self._running[name] = process
        self._leaders.append(Leader(name, process.pid, psutil.Process(process.pid).create_time()))
        write_durably(self._record, json.dumps([asdict(leader) for leader in self._leaders]).encode())

    def run(self, name: str, arguments: Sequence[str]) -> None:
        """Run a process to its end.

        Raises:
            ToolFailed: It ended with another status than 0.
        """
        self.start(name, arguments)
        process = self._running.pop(name)
        if process.wait() != 0:
            raise ToolFailed(f"{name} ended with status {process.returncode}; its output is in {self.log_of(name)}")

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def assert_alive(self) -> None:
        """
        Raises:
            ToolFailed: A process has ended that should be running.
        """
        for name, process in self._running.items():
            if process.poll() is not None:
                raise ToolFailed(f"{name} ended with status {process.returncode}; see {self.log_of(name)}")

    def stop(self) -> None:
        """End every process of every session, gently first."""
        end_sessions(self._leaders)
        for process in self._running.values():
            process.wait()
        self._running.clear()
        self._leaders.clear()
        self._record.unlink(missing_ok=True)


def end_leftovers(record: Path) -> list[str]:
    """End what a killed owner left running.

    Returns:
        The names of the sessions that still had processes.
    """
    living = [leader for leader in read_leaders(record) if members([leader])]
    end_sessions(living)
    record.unlink(missing_ok=True)
    return [leader.name for leader in living]


def read_leaders(record: Path) -> list[Leader]:
    if not record.exists():
        return []
    return [Leader(**raw) for raw in json.loads(record.read_bytes())]


def members(leaders: Sequence[Leader]) -> list[psutil.Process]:
    """Living processes of these sessions, without ourselves.

    While a session has a member its number is not given to another process. Should all have died and the number be
    somebody else's now, start time and program tell. (The environment cannot: Airflow's process titles overwrite it.)
    """
    sessions = {leader.pid: leader for leader in leaders if _is_unclaimed(leader)}
    found = []
    for process in psutil.process_iter():
        try:
            leader = sessions.get(os.getsid(process.pid))
            if leader is None or process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.create_time() >= leader.started - _CLOCK_SECONDS and process.exe() == _PROGRAM:
                found.append(process)
        except (psutil.Error, OSError):  # it ended meanwhile, or belongs to somebody else
            continue
    return found


def _is_unclaimed(leader: Leader) -> bool:
    """False when the leader's number was given to another process."""
    try:
        return bool(abs(psutil.Process(leader.pid).create_time() - leader.started) < _CLOCK_SECONDS)
    except psutil.NoSuchProcess:
        return True


def end_sessions(leaders: Sequence[Leader]) -> None:
    """SIGTERM to every member, then SIGKILL to those that stay."""
    for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        living = members(leaders)
        for process in living:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(living, timeout=seconds)


def _end_with(parent: int) -> Callable[[], None] | None:
    """A hook for the child that ties its life to its parent's (Linux; elsewhere the watch ends the rest)."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before the tie held
            os._exit(1)

    return tie
