"""One line of JSON for each answered request: route template, status, time, step, name of the key, request id.

Nothing else gets in: no address, no id, no value that was sent. Lines are written by a thread of their own, so that a
slow terminal holds up no answer; when it does not keep up, lines are dropped and counted.
"""

import json
import sys
import threading
from collections import deque
from typing import TextIO

from ml.settings import wall_clock

_MOST_WAITING = 20_000
_PAUSE_SECONDS = 0.25


class RequestLog:
    """Writes to a stream, by default standard output."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._waiting: deque[tuple[float, str, str, int, float, str, str, str]] = deque()
        self._dropped = 0
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    def note(
        self, method: str, route: str, status: int, milliseconds: float, step: str, caller: str, request_id: str
    ) -> None:
        """Take one line; cheap, for the event loop."""
        if len(self._waiting) >= _MOST_WAITING:
            self._dropped += 1
            return
        now = wall_clock().timestamp()
        self._waiting.append((now, method, route, status, milliseconds, step, caller, request_id))

    def close(self) -> None:
        """Write what waits, and end."""
        self._stops.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while not self._stops.wait(_PAUSE_SECONDS):
            self._write()
        self._write()

    def _write(self) -> None:
        lines = [_line(*self._waiting.popleft()) for _ in range(len(self._waiting))]
        if self._dropped:
            lines.append(json.dumps({"dropped_lines": self._dropped}))
            self._dropped = 0
        if not lines:
            return
        try:
            stream = self._stream or sys.stdout
            stream.write("\n".join(lines) + "\n")
            stream.flush()
        except (OSError, ValueError):  # nobody reads any more; answers go on
            return


def _line(
    at: float, method: str, route: str, status: int, milliseconds: float, step: str, caller: str, request_id: str
) -> str:
    told = {"at": round(at, 3), "method": method, "route": route, "status": status, "ms": round(milliseconds, 2)}
    told |= {name: value for name, value in (("step", step), ("key", caller)) if value}
    return json.dumps({**told, "request_id": request_id})
