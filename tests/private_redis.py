"""A Redis server of one's own: a temporary folder, a Unix socket in it, no port, nothing on disk."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

_READY_SECONDS = 30


@dataclass
class PrivateRedis:
    """A running server.

    Attributes:
        url: redis-py URL of its socket.
    """

    binary: Path
    folder: Path
    url: str
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        arguments = ["--port", "0", "--unixsocket", str(self.folder / "redis.sock"), "--save", "", "--daemonize", "no"]
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [str(self.binary), *arguments], stdout=output, stderr=output, cwd=self.folder
            )
        ends_at = time.monotonic() + _READY_SECONDS
        while time.monotonic() < ends_at:
            try:
                self.client().ping()
            except (RedisError, OSError):
                time.sleep(0.02)
            else:
                return
        raise AssertionError((self.folder / "output").read_text())

    def client(self) -> "Redis":
        return Redis.from_url(self.url)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash would; what it held is gone."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _signal(self, number: int) -> None:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(number)


@contextmanager
def private_redis(find_binary: Callable[[str], Path]) -> Iterator[PrivateRedis]:
    """Start a server, and end it with its folder.

    Args:
        find_binary: Path of a server binary by name; skips the test where it is missing.
    """
    binary = find_binary("redis-server")
    folder = Path(tempfile.mkdtemp(prefix="shopwright-redis-", dir="/tmp"))  # short: it is a socket's path
    server = PrivateRedis(binary, folder, f"unix://{folder}/redis.sock")
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)
