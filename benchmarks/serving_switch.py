"""Another version of a model becomes champion while requests come in: none fails, and the p99 hardly moves.

Requests in whose time the disk stood still are told of apart: they are struck with and without a switch.
"""

import json
import time
import urllib.request
from dataclasses import dataclass
from statistics import median
from typing import Any

from serving_processes import KEY, finish_load
from serving_rates import Target, brief
from serving_requests import Asked

_SWITCH_AFTER_SECONDS = 2.0
_SWITCHED_SECONDS = 60.0


@dataclass
class Probe:
    """Asks one question and tells which model answered it."""

    asked: Asked
    port: int
    kind: str

    def model_version(self) -> Any:
        if self.kind == "decisions":
            return self._ask("/v1/fraud/decisions", next(self.asked.attempts(1)))
        self.asked.place += 1
        return self._ask(f"/v1/recommendations/{self.asked.customers[self.asked.place % len(self.asked.customers)]}")

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content, headers)
        try:
            with urllib.request.urlopen(request, timeout=5.0) as answer:  # noqa: S310 - our own server
                return json.loads(answer.read())["model_version"]
        except OSError:  # overloaded: the load counts what fails, this only looks
            return None


def switch_under_load(
    target: Target, product: str, probe: Probe, rate: float, seconds: float, count: int
) -> dict[str, Any]:
    """Load without a switch and with one in turns, to and fro between two versions of one model.

    In turns, so that what else the machine does in the meantime strikes both.
    """
    from ml.settings import get_settings
    from ml.stores import registry

    settings = get_settings()
    versions = json.loads((probe.asked.shop.folder / "versions.json").read_bytes())[product]
    target.warm(rate)
    without, runs, switched = [], [], []
    for _ in range(count):
        without.append(target.run(rate, seconds))
        current = registry.champion(settings, product)
        assert current is not None
        other = versions[1] if current.version == versions[0] else versions[0]
        process, result = target.start(rate, seconds)
        time.sleep(_SWITCH_AFTER_SECONDS)
        moment = time.perf_counter()
        registry.promote(settings, product, other, settings.bootstrap_day)
        is_served = _is_served(probe, other)
        switched.append(round(time.perf_counter() - moment, 2) if is_served else None)
        runs.append(finish_load(process, result))
    before, during = (median(run["undisturbed"]["latency_ms"]["p99"] for run in some) for some in (without, runs))
    unserved = sum(one is None for one in switched)
    return {
        "rate": rate,
        "without": [brief(run) for run in without],
        "with": [brief(run) for run in runs],
        "seconds_until_served": switched,
        "failed": sum(run["undisturbed"]["failed"] for run in runs) + unserved,
        "refused_while_the_disk_stood_still": {
            name: sum(run["disk"]["struck_and_refused"] for run in some)
            for name, some in (("without", without), ("with", runs))
        },
        "p99_ms": {"without": before, "with": during},
        "p99_ratio": round(during / before, 2),
    }


def _is_served(probe: Probe, version: str) -> bool:
    """Whether a version answers in time."""
    ends_at = time.monotonic() + _SWITCHED_SECONDS
    while time.monotonic() < ends_at:
        if probe.model_version() == version:
            return True
        time.sleep(0.2)
    return False
