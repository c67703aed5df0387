"""An open-loop load generator: requests leave when they are due, whatever became of the earlier ones.

Latency is counted from the intended time, so a server that stalls is charged for every request that it kept waiting
("coordinated omission", Tene 2013). Sockets are raw and stay open; waiting is by select, whose timeout has microseconds
(epoll's has milliseconds). Runs as a process of its own, on the core that it is told:

    python serving_load.py PLAN RESULT       both JSON files; the plan is `Plan` as a dict
"""

import json
import os
import random
import select
import socket
import sys
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from serving_disk import DiskWatch, Stretch, overlap

TIMEOUT_SECONDS = 5.0
_OVERTIME_SECONDS = 2.0  # what is still unsent so long after the end is not sent: the server cannot keep up
_PERCENTILES = (50.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True)
class Plan:
    """
    Attributes:
        requests: File of the requests, one JSON string a line; they are sent in turn, from `offset` on.
        disk_of: A folder on the disk that is watched meanwhile.
        rate: Requests per second.
        connections: Kept open; a request that finds none free waits, and its waiting counts.
        arrivals: "even", or "poisson" for gaps as of independent customers.
        core: That the generator is bound to; None for any.
        steps: Accepted values of the answer's `step`; an answer of 200 without one of them is undeclared.
    """

    port: int
    requests: str
    disk_of: str
    rate: float
    seconds: float
    connections: int = 32
    arrivals: str = "even"
    core: int | None = None
    offset: int = 0
    seed: int = 1
    steps: tuple[str, ...] = ()


@dataclass
class Measured:
    """
    Attributes:
        lives: (intended time, the answer's last byte, whether it was 200) of every request that was answered.
        lags: Milliseconds by which the generator itself was late although a connection was free.
    """

    lives: list[tuple[float, float, bool]] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    degraded: int = 0
    undeclared: int = 0
    seconds: float = 0.0

    def summary(self, sent: int, still: Sequence[Stretch]) -> dict[str, Any]:
        """The figures of all; and of those during whose lives the disk never stood still, beside them.

        Args:
            still: When the disk stood still.
        """
        answered = len(self.lives)
        failed = sent - self.statuses["200"]
        struck = [life for life in self.lives if overlap(life[:2], still)]
        undisturbed = set(self.lives) - set(struck)
        return {
            "sent": sent,
            "answered": answered,
            "failed": failed,
            "statuses": dict(self.statuses),
            "steps": dict(self.steps),
            "degraded_share": round(self.degraded / answered, 5) if answered else None,
            "undeclared": self.undeclared,
            "answered_per_second": round(answered / self.seconds, 1) if self.seconds else 0.0,
            "latency_ms": percentiles(_milliseconds(self.lives)),
            "disk": {
                "still_seconds": round(sum(end - begin for begin, end in still), 3),
                "longest_ms": round(max((end - begin for begin, end in still), default=0.0) * 1000, 1),
                "struck": len(struck),
                "struck_and_refused": sum(not is_good for _, _, is_good in struck),
            },
            "undisturbed": {
                "failed": failed - sum(not is_good for _, _, is_good in struck),
                "latency_ms": percentiles(_milliseconds(undisturbed)),
            },
            "generator_lag_ms": percentiles(self.lags),
        }


def _milliseconds(lives: Iterable[tuple[float, float, bool]]) -> list[float]:
    return [(end - due) * 1000 for due, end, _ in lives]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99, p99.9 by nearest rank, and the largest; empty without values."""
    if not values:
        return {}
    ordered = sorted(values)
    found = {}
    for percentile in _PERCENTILES:
        rank = max(1, -(-len(ordered) * percentile // 100))
        found[f"p{percentile:g}"] = round(ordered[int(rank) - 1], 3)
    return {**found, "max": round(ordered[-1], 3)}


class _Connection:
    """A socket with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due, self.buffer, self.free_since, self.sent_at = 0.0, b"", 0.0, 0.0
        self.ends = False

    def send(self, request: bytes, due: float) -> None:
        self.due, self.buffer, self.sent_at = due, b"", perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[str, bytes] | None:
        """Status and body once the answer is whole.

        Raises:
            OSError: The server closed the connection.
        """
        read = self.socket.recv(262_144)
        if not read:
            raise ConnectionError("closed")
        self.buffer += read
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body = self.buffer[end + 4 :]
        self.ends = b"connection: close" in head
        return (self.buffer[9:12].decode(), body) if len(body) >= length else None


class Generator:
    """Sends the requests of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = [json.loads(line).encode() for line in Path(plan.requests).read_text().splitlines()]
        self._steps = [(step, f'"step":"{step}"'.encode()) for step in plan.steps]
        self._measured = Measured()
        self._free: deque[_Connection] = deque()
        self._busy: dict[int, _Connection] = {}
        self._looked_at = 0.0

    def run(self) -> dict[str, Any]:
        with DiskWatch(Path(self._plan.disk_of)) as disk:
            measured = self._send_all()
        return measured.summary(self._count, disk.stretches)

    @property
    def _count(self) -> int:
        return max(1, int(self._plan.rate * self._plan.seconds))

    def _send_all(self) -> Measured:
        dues = self._dues()
        for _ in range(self._plan.connections):
            self._open()
        began = perf_counter() + 0.05
        ends_at = began + self._plan.seconds + _OVERTIME_SECONDS
        place = 0
        while place < len(dues) or self._busy:
            now = perf_counter()
            if now > ends_at and place < len(dues):
                break
            while place < len(dues) and began + dues[place] <= now and self._free:
                self._send(place, began + dues[place])
                place, now = place + 1, perf_counter()
            if not self._busy and not self._free:
                break  # the server is gone
            is_waiting = place >= len(dues) or not self._free
            wait = 0.5 if is_waiting else max(began + dues[place] - now, 0.0)
            readable, _, _ = select.select(list(self._busy), [], [], wait)
            for number in readable:
                self._take(self._busy[number])
            self._expire()
        self._measured.seconds = perf_counter() - began
        for connection in [*self._free, *self._busy.values()]:
            connection.socket.close()
        if place < len(dues):
            self._measured.statuses["not sent"] = len(dues) - place
        if self._busy:
            self._measured.statuses["not answered"] = len(self._busy)
        return self._measured

    def _dues(self) -> list[float]:
        count = self._count
        if self._plan.arrivals == "even":
            return [place / self._plan.rate for place in range(count)]
        draw, at, dues = random.Random(self._plan.seed), 0.0, []  # noqa: S311 - no secret
        for _ in range(count):
            at += draw.expovariate(self._plan.rate)
            dues.append(at)
        return dues

    def _open(self) -> None:
        try:
            self._free.append(_Connection(self._plan.port))
        except OSError:
            self._measured.statuses["no connection"] += 1

    def _send(self, place: int, due: float) -> None:
        connection = self._free.popleft()
        self._measured.lags.append((perf_counter() - max(due, connection.free_since)) * 1000)
        self._busy[connection.socket.fileno()] = connection
        try:
            connection.send(self._requests[(self._plan.offset + place) % len(self._requests)], due)
        except OSError:
            self._lost(connection, "broken")

    def _take(self, connection: _Connection) -> None:
        try:
            found = connection.receive()
        except OSError:
            self._lost(connection, "broken")
            return
        if found is None:
            return
        status, body = found
        del self._busy[connection.socket.fileno()]
        connection.free_since = perf_counter()
        if connection.ends:
            connection.socket.close()
            self._open()
        else:
            self._free.append(connection)
        measured = self._measured
        measured.lives.append((connection.due, connection.free_since, status == "200"))
        measured.statuses[status] += 1
        if status == "200" and self._steps:
            self._count_step(body)

    def _count_step(self, body: bytes) -> None:
        compact = body if b'"step": ' not in body else body.replace(b'": ', b'":')
        step = next((name for name, mark in self._steps if mark in compact), None)
        if step is None or b'"degraded":' not in compact:
            self._measured.undeclared += 1
            return
        self._measured.steps[step] += 1
        self._measured.degraded += b'"degraded":true' in compact

    def _lost(self, connection: _Connection, why: str) -> None:
        self._measured.statuses[why] += 1
        del self._busy[connection.socket.fileno()]
        connection.socket.close()
        self._open()

    def _expire(self) -> None:
        now = perf_counter()
        if now < self._looked_at + 1.0:
            return
        self._looked_at, oldest = now, now - TIMEOUT_SECONDS
        for connection in [one for one in self._busy.values() if one.sent_at < oldest]:
            self._lost(connection, "timeout")


def main() -> None:
    plan_path, result_path = sys.argv[1:]
    raw = json.loads(Path(plan_path).read_bytes())
    plan = Plan(**{**raw, "steps": tuple(raw["steps"])})
    if plan.core is not None:
        os.sched_setaffinity(0, {plan.core})
    result = {"plan": {**asdict(plan), "requests": Path(plan.requests).name}, **Generator(plan).run()}
    Path(result_path).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
