"""`shopwright serve` as a process of its own, on a free port, with its state in a folder of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from ml.settings import PREFIX, PROJECT_DIR
from tests.serving_stubs import grants

_READY_SECONDS = 90
_COMMAND = [sys.executable, "-c", "from ml.cli import main; main()", "serve", "--port", "0"]


@dataclass
class ServingProcess:
    """A running API.

    Attributes:
        port: On 127.0.0.1.
        output: File of what it prints.
    """

    process: "subprocess.Popen[bytes]"
    port: int
    output: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[int]:
        """Process ids of those who answer."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in found]

    def send(self, content: bytes, seconds: float = 20.0) -> bytes:
        """Send raw bytes on a connection of their own; what came back until the other side closed it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # it has answered and closed already
                connection.sendall(content)
            return receive(connection)


def receive(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    received = bytearray()
    while True:
        try:
            chunk = connection.recv(65536)
        except (ConnectionResetError, TimeoutError):
            return bytes(received)
        if not chunk:
            return bytes(received)
        received += chunk


@contextmanager
def serving_process(state_dir: Path, workers: int = 1, **settings: object) -> Iterator[ServingProcess]:
    """Start it, wait until it answers, and end it. The deadline is generous, since tests share their machine."""
    given = {"api_keys": grants(), "serving_workers": workers, "deadline_ms": 5000}
    values = {"state_dir": state_dir, **given, **settings}
    own: Mapping[str, str] = {f"{PREFIX}{name.upper()}": str(value) for name, value in values.items()}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | dict(own)
    state_dir.mkdir(parents=True, exist_ok=True)
    output = state_dir / "serving.out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            _COMMAND, cwd=PROJECT_DIR, env=environment, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    try:
        yield ServingProcess(process, _ready(process, output), output)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _ready(process: "subprocess.Popen[bytes]", output: Path) -> int:
    ends_at = time.monotonic() + _READY_SECONDS
    while time.monotonic() < ends_at:
        assert process.poll() is None, output.read_text()
        told = re.search(r"http://127\.0\.0\.1:(\d+)", output.read_text())
        if told:
            try:
                if httpx.get(f"http://127.0.0.1:{told[1]}/healthz", timeout=5).status_code == 200:
                    return int(told[1])
            except httpx.TransportError:
                pass
        time.sleep(0.1)
    raise AssertionError(f"it did not answer: {output.read_text()}")
