"""What operators can measure, for Prometheus. Labels are route templates, statuses and declared steps, never ids.

Several processes on one port add up: when `PROMETHEUS_MULTIPROC_DIR` is set before this module is imported (the
supervisor sets it for its workers), each process writes its own file there, and whoever is asked reads all of them.
"""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 1.0, 5.0)
# Where figures are kept is settled when prometheus_client is imported; libraries set the variable later (Feast does).
_ARE_SHARED = values.ValueClass is not values.MutexValue
_BREAKER = {"closed": 0, "half_open": 1, "open": 2}


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._of_request: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._of_step: dict[tuple[str, str], Counter] = {}
        own = self._registry
        self._requests = Counter(
            "shopwright_requests", "Requests answered.", ["route", "method", "status"], registry=own
        )
        self._seconds = Histogram(
            "shopwright_request_seconds",
            "From the first byte to the answer.",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self._steps = Counter(
            "shopwright_answers", "Answers by the step of the ladder.", ["product", "step"], registry=own
        )
        self._commits = Histogram(
            "shopwright_log_commit_seconds", "One durable transaction of the log.", buckets=_SECONDS, registry=own
        )
        self._committed = Counter("shopwright_log_requests", "Requests that the log took in.", registry=own)
        self._events = Counter(
            "shopwright_events",
            "Posted events by what became of them: taken, known, conflict, refused.",
            ["outcome"],
            registry=own,
        )
        self._unrecorded = Counter(
            "shopwright_unrecorded", "Recommendations that the log could not take in time.", registry=own
        )
        self._breaker = Gauge(
            "shopwright_breaker",
            "Of an online store: 0 closed, 1 half open, 2 open; the worst of the processes.",
            ["store"],
            multiprocess_mode="livemax",
            registry=own,
        )
        self._age = Gauge(
            "shopwright_feature_age_seconds",
            "Age of the features behind the newest answer; the oldest of the processes.",
            ["product"],
            multiprocess_mode="livemax",
            registry=own,
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """One answered request; `route` is a template or the one word for addresses that are none of ours."""
        found = self._of_request.get((route, method, status))
        if found is None:  # looking a labelled figure up costs more than counting with it
            found = self._requests.labels(route, method, str(status)), self._seconds.labels(route)
            self._of_request[route, method, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def step(self, product: str, step: str, count: int = 1) -> None:
        """Answers given by a declared step of a product's ladder."""
        found = self._of_step.get((product, step))
        if found is None:
            found = self._of_step[product, step] = self._steps.labels(product, step)
        found.inc(count)

    def commit(self, seconds: float, requests: int) -> None:
        """One transaction of the log; the signature of `GroupCommitter`'s `on_commit`."""
        self._commits.observe(seconds)
        self._committed.inc(requests)

    def events(self, outcome: str, count: int) -> None:
        self._events.labels(outcome).inc(count)

    def unrecorded(self, count: int) -> None:
        self._unrecorded.inc(count)

    def breaker(self, store: str, state: str) -> None:
        self._breaker.labels(store).set(_BREAKER[state])

    def feature_age(self, product: str, seconds: float | None) -> None:
        """Nothing is told when no features were used."""
        if seconds is not None:
            self._age.labels(product).set(seconds)

    def exposition(self) -> bytes:
        """The text that Prometheus reads, of all processes where there are several."""
        if not _ARE_SHARED:
            return generate_latest(self._registry)
        every = CollectorRegistry()
        MultiProcessCollector(every)  # type: ignore[no-untyped-call]
        return generate_latest(every)
