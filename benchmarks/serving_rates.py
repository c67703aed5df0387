"""Runs of load against one server, and the largest rate that it stands at a p99."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from serving_load import Plan
from serving_processes import OTHER_CORE, Process, finish_load, own_core, start_load

WARM_SECONDS = 3.0
_STEP, _BISECTIONS, _LOWERINGS = 1.35, 2, 12
_LARGEST_RATE = 20_000.0


@dataclass
class Target:
    """A server and what is asked of it.

    Attributes:
        write_requests: Writes a file of so many fresh requests.
        steps: Declared steps of the answers; none for a server that declares none.
        probe_seconds: Of a run that looks for the largest rate.
    """

    name: str
    port: int
    server: Process
    folder: Path
    write_requests: Callable[[int, Path], Path]
    steps: tuple[str, ...] = ()
    probe_seconds: float = 4.0
    runs: list[dict[str, Any]] = field(default_factory=list)

    def run(self, rate: float, seconds: float, arrivals: str = "even") -> dict[str, Any]:
        """Load at a rate, and what the server used for it."""
        process, result = self.start(rate, seconds, arrivals)
        before = self.server.cpu_seconds()
        found = finish_load(process, result)
        found["server_cpu_share"] = round((self.server.cpu_seconds() - before) / seconds, 3)
        self.runs.append(found)
        return found

    def start(self, rate: float, seconds: float, arrivals: str = "even") -> tuple[Process, Path]:
        count = max(1, int(rate * seconds))
        requests = self.write_requests(count, self.folder / f"{self.name}_requests.txt")
        connections = max(2, min(64, int(rate)))
        plan = Plan(
            port=self.port,
            requests=str(requests),
            rate=rate,
            seconds=seconds,
            connections=connections,
            arrivals=arrivals,
            core=own_core(OTHER_CORE),
            steps=self.steps,
            disk_of=str(self.folder),
        )
        return start_load(plan, self.folder, f"{self.name}_load")

    def warm(self, rate: float) -> None:
        self.run(rate, WARM_SECONDS)


def repeats(target: Target, rate: float, seconds: float, count: int, arrivals: str = "even") -> dict[str, Any]:
    """The same load several times; the figures of each and the median of their percentiles."""
    runs = [target.run(rate, seconds, arrivals) for _ in range(count)]
    medians = {"latency_ms": _medians(runs), "undisturbed_ms": _medians([run["undisturbed"] for run in runs])}
    return {"rate": rate, "arrivals": arrivals, **medians, "runs": [brief(one) for one in runs]}


def largest_rate(target: Target, p99_ms: float, start: float, seconds: float, count: int) -> dict[str, Any]:
    """The largest rate that is answered without a failure at a p99, held in every one of several repeats.

    Of requests in whose time the disk stood still nothing is asked but an answer.

    Rates are raised by steps until one fails, halved in between, and lowered by 10% until all repeats hold. What was
    tried is told with what came of it: (requests per second, failed, p99 in milliseconds).
    """
    best, failing, rate = 0.0, None, start
    tried: list[tuple[float, int, float]] = []

    def holds(rate: float) -> bool:
        run = target.run(rate, target.probe_seconds)
        found = run["undisturbed"]
        tried.append((round(rate, 1), found["failed"], found["latency_ms"].get("p99", float("inf"))))
        return _holds(run, p99_ms)

    while rate < _LARGEST_RATE:
        if holds(rate):
            best, rate = rate, rate * _STEP
        else:
            failing = rate
            if best or rate < start / 16:
                break
            rate /= 2
    for _ in range(_BISECTIONS if best and failing else 0):
        middle = (best + failing) / 2 if failing else best
        if holds(middle):
            best = middle
        else:
            failing = middle
    for _ in range(_LOWERINGS if best else 0):
        found = repeats(target, round(best, 1), seconds, count)
        if all(_holds(run, p99_ms) for run in found["runs"]):
            return {"p99_limit_ms": p99_ms, "requests_per_second": round(best, 1), "tried": tried, **found}
        best *= 0.9
    return {"p99_limit_ms": p99_ms, "requests_per_second": 0.0, "why": "no rate held in all repeats", "tried": tried}


def _holds(run: dict[str, Any], p99_ms: float) -> bool:
    found = run["undisturbed"]
    return bool(found["failed"] == 0 and found["latency_ms"].get("p99", float("inf")) <= p99_ms)


def _medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    names = runs[0]["latency_ms"]
    return {name: round(median(run["latency_ms"].get(name, float("inf")) for run in runs), 3) for name in names}


def brief(run: dict[str, Any]) -> dict[str, Any]:
    """A run without what is the same in all of them."""
    return {name: value for name, value in run.items() if name != "plan"}
