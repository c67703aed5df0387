"""Serving: how fast, how many, beside the way most people would build it; each figure three times.

Open loop at fixed rates; latency from the intended send time. The server (its workers and the children that check new
models) is bound to core 0; load, Redis, the follower of the log and this process to core 1. One worker, so that rates
are "per core". Binding are the ratios to the peer and that nothing is lost or undeclared; absolute rates are goals for
two idle cores. The peer is `serving_peer.py`. Requests of either in whose time the disk stood still (it completed
nothing for 20 ms or more: `serving_disk.py`) are told of apart, with how the disk does alone.

    python benchmarks/bench_serving.py [--quick] [--reuse] [--folder var/benchmarks/serving] [--only PART ...]
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from machine import describe_run
from serving_disk import DiskWatch, overlap
from serving_load import percentiles
from serving_processes import (
    OTHER_CORE,
    SERVER_CORE,
    Process,
    free_port,
    own_core,
    start_follower,
    start_redis,
    start_server,
)
from serving_rates import Target, largest_rate, repeats
from serving_requests import DECISION_STEPS, RECOMMENDATION_STEPS, Asked, open_asked
from serving_shop import PROJECT, BenchShop, bench_shop, build, run_step
from serving_switch import Probe, switch_under_load

RESULT = PROJECT / "benchmarks" / "results" / "serving.json"
FRAUD_RATE, RECOMMENDATION_RATE = 300.0, 100.0
FRAUD_P99_MS, FRAUD_RAMP_P99_MS, RECOMMENDATION_P99_MS = 10.0, 20.0, 25.0
MIN_FRAUD_PER_SECOND, MIN_RATIO = 500.0, 5.0
READ_P99_MS = {"redis": 3.0, "sqlite": 5.0}
SWITCH_P99_RATIO = 1.5
PARTS = ("sqlite", "redis", "switch", "peer")
_PROBE_BYTES, _PROBE_PLACES, _PROBE_REST_SECONDS = 40_960, 200, 0.01


@dataclass
class Bench:
    """One run of the benchmark.

    Attributes:
        seconds: Of each measured run.
        rate_share: Of the rates that the goals are set for; less in a quick run, which a busy machine must stand.
    """

    shop: BenchShop
    asked: Asked
    redis_port: int
    seconds: float
    count: int
    reads: int
    rate_share: float
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    def target(self, kind: str, port: int, server: Process) -> Target:
        steps = DECISION_STEPS if kind == "decisions" else RECOMMENDATION_STEPS

        def write(count: int, path: Path) -> Path:
            return self.asked.write(kind, count, path)

        return Target(kind, port, server, self.shop.folder / "load", write, steps, self.seconds * 0.4)


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended
    began = perf_counter()
    shop = bench_shop(arguments.folder / ("quick" if arguments.quick else "full"), arguments.quick)
    print("building the shop" if not arguments.reuse else "opening the shop", flush=True)
    built = build(shop, arguments.reuse)
    take_environment(shop)
    machine = describe_run()  # before this process is bound to one core
    os.sched_setaffinity(0, {own_core(OTHER_CORE)})
    disk = _disk_alone(shop.folder, 5.0 if arguments.quick else 30.0)
    redis, redis_port = start_redis(shop.folder / "logs")
    with redis:
        bench = Bench(
            shop,
            open_asked(shop),
            redis_port,
            seconds=4.0 if arguments.quick else 6.0,
            count=2 if arguments.quick else 3,
            reads=500 if arguments.quick else 3000,
            rate_share=0.1 if arguments.quick else 1.0,
        )
        bench.result = {**machine, "disk_alone_ms": disk, **_described(bench, arguments.quick, built)}
        steps: dict[str, Callable[[Bench], None]] = {
            "sqlite": _measure_sqlite,
            "redis": _measure_redis,
            "switch": _measure_switch,
            "peer": _measure_peer,
        }
        for name in arguments.only or PARTS:
            moment = perf_counter()
            steps[name](bench)
            bench.result["seconds"][name] = round(perf_counter() - moment, 1)
            _write(bench.result, arguments.out)  # what was measured is kept if a later part fails
    bench.result["seconds"]["all"] = round(perf_counter() - began, 1)
    bench.result["checks"] = _checks(bench.result)
    _write(bench.result, arguments.out)
    return _print(bench.result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a small shop and short runs, for trying the script")
    parser.add_argument("--reuse", action="store_true", help="take the shop that is there, whatever code built it")
    parser.add_argument("--folder", type=Path, default=PROJECT / "var" / "benchmarks" / "serving")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="measure these parts only")
    parser.add_argument("--out", type=Path, help="where the result goes; benchmarks/results/serving.json by default")
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    arguments.out = arguments.out or (arguments.folder / "quick.json" if arguments.quick else RESULT)
    return arguments


def take_environment(shop: BenchShop) -> None:
    for name in [name for name in os.environ if name.startswith("SHOPWRIGHT_")]:
        del os.environ[name]
    os.environ.update(shop.environment())


def _described(bench: Bench, is_quick: bool, built: dict[str, float]) -> dict[str, Any]:
    from ml.settings import get_settings
    from ml.stores import registry

    settings = get_settings()
    bundles = {name: registry.load_champion(settings, name) for name in ("fraud", "recommender")}
    others = own_core(OTHER_CORE)
    return {
        "quick": is_quick,
        "cores": {
            "server with its workers": own_core(SERVER_CORE),
            **dict.fromkeys(("load", "redis", "follower"), others),
            "peer": own_core(SERVER_CORE),
        },
        "shop": {
            "data": "generated" if is_quick else "The Complete Journey, payments simulated",
            "customers": len(bench.asked.customers),
            "models": {name: one.version if one else None for name, one in bundles.items()},
            "verdicts": {name: _read(bench.shop.folder / f"{name}_verdict.json") for name in bundles},
        },
        "mix": "decisions: 15% with a new device and address, 5% with nothing known; recommendations: 10% unknown",
        "repeats": bench.count,
        "seconds_of_a_run": bench.seconds,
        "seconds": {"building": round(sum(built.values()), 1), "building_steps": built},
    }


def _disk_alone(folder: Path, seconds: float) -> dict[str, float]:
    """Milliseconds of a small durable write, again and again with nothing else at work; share of standing still."""
    path, took = folder / "disk.probe", list[float]()
    content = os.urandom(_PROBE_BYTES)
    began = perf_counter()
    with path.open("w+b", buffering=0) as file, DiskWatch(folder) as disk:
        while (moment := perf_counter()) < began + seconds:
            file.seek(len(took) % _PROBE_PLACES * _PROBE_BYTES)
            file.write(content)
            os.fdatasync(file.fileno())
            took.append((perf_counter() - moment) * 1000)
            time.sleep(_PROBE_REST_SECONDS)
    path.unlink()
    still_share = overlap((began, began + seconds), disk.stretches) / seconds
    return {**percentiles(took), "still_share": round(still_share, 4)}


def _read(path: Path) -> Any:
    return json.loads(path.read_bytes()) if path.exists() else None


def _measure_sqlite(bench: Bench) -> None:
    bench.result["reads"] = {"sqlite": _reads(bench)}
    bench.result["sqlite"] = _measure_store(bench, {}, is_primary=True)


def _measure_redis(bench: Bench) -> None:
    settings = {"state_url": bench.redis_url}
    for step in ("publish_rows", "follow_log"):
        run_step(bench.shop, step, **settings)
    bench.result.setdefault("reads", {})["redis"] = _reads(bench, **settings)
    bench.result["redis"] = _measure_store(bench, settings, is_primary=False)


def _reads(bench: Bench, **settings: object) -> dict[str, Any]:
    script = str(PROJECT / "benchmarks" / "serving_reads.py")
    quick = str(int(bench.shop.is_quick))
    found: dict[str, Any] = json.loads(
        bench.shop.run(script, str(bench.shop.folder), quick, str(bench.reads), **settings).splitlines()[-1]
    )
    return found


def _measure_store(bench: Bench, settings: dict[str, object], *, is_primary: bool) -> dict[str, Any]:
    """Both products on one store: at the fixed rates, at random gaps, and as many as there can be."""
    port, found = free_port(), dict[str, Any]()
    with start_server(bench.shop, port, **settings) as server, start_follower(bench.shop, **settings) as follower:
        found["memory_idle"] = server.memory()
        for kind, rate, limit in (
            ("decisions", FRAUD_RATE * bench.rate_share, FRAUD_RAMP_P99_MS),
            ("recommendations", RECOMMENDATION_RATE * bench.rate_share, RECOMMENDATION_P99_MS),
        ):
            target = bench.target(kind, port, server)
            target.warm(rate / 2)
            found[kind] = {"fixed": repeats(target, rate, bench.seconds, bench.count)}
            _say(f"{kind} at {rate:.0f}/s", found[kind]["fixed"])
            if is_primary:
                found[kind]["random_gaps"] = repeats(target, rate, bench.seconds, 1, "poisson")
            found[kind]["largest"] = largest_rate(target, limit, rate, bench.seconds / 2, bench.count)
            print(f"  {kind}: {found[kind]['largest']['requests_per_second']}/s at p99 < {limit} ms", flush=True)
            found[kind]["memory_after"] = server.memory()
        found["follower_memory"] = follower.memory()
    return found


def _measure_switch(bench: Bench) -> None:
    port = free_port()
    with start_server(bench.shop, port) as server, start_follower(bench.shop):
        bench.result["switch"] = {
            kind: switch_under_load(
                bench.target(kind, port, server),
                product,
                Probe(bench.asked, port, kind),
                rate,
                max(bench.seconds, 8.0),
                2 * bench.count - 1,  # a switch is in few requests of a run, so its p99 varies more
            )
            for kind, product, rate in (
                ("decisions", "fraud", FRAUD_RATE / 3 * bench.rate_share),
                ("recommendations", "recommender", RECOMMENDATION_RATE / 2 * bench.rate_share),
            )
        }


def _measure_peer(bench: Bench) -> None:
    """The peer and the product at the same p99: the goal's, or what the peer reaches at all if that is more."""
    import serving_peer

    folder, script = bench.shop.folder / "peer", str(PROJECT / "benchmarks" / "serving_peer.py")
    bench.shop.run(script, "build", str(folder), str(bench.redis_port))
    settings = {"state_url": bench.redis_url}
    run_step(bench.shop, "publish_rows", **settings)
    run_step(bench.shop, "follow_log", **settings)
    limits = {"decisions": FRAUD_RAMP_P99_MS, "recommendations": RECOMMENDATION_P99_MS}
    theirs = _measure_peer_alone(bench, folder, script, serving_peer.requests_of(folder), limits)
    port, found = free_port(), dict[str, Any]()
    with start_server(bench.shop, port, **settings) as server, start_follower(bench.shop, **settings):
        for kind, peer in theirs.items():
            target = bench.target(kind, port, server)
            target.warm(50.0)
            limit = peer["largest"]["p99_limit_ms"]
            rate = peer["largest"]["requests_per_second"]
            ours = largest_rate(target, limit, max(rate * MIN_RATIO, 20.0), bench.seconds / 2, bench.count)
            ratio = round(ours["requests_per_second"] / rate, 1) if rate else None
            found[kind] = {"peer": peer, "ours": ours, "p99_limit_ms": limit, "ratio": ratio}
            print(f"  {kind}: ours {ours['requests_per_second']}/s, peer {rate}/s at p99 < {limit} ms", flush=True)
    bench.result["peer"] = found


def _measure_peer_alone(
    bench: Bench, folder: Path, script: str, requests: dict[str, list[str]], limits: dict[str, float]
) -> dict[str, Any]:
    port, found = free_port(), dict[str, Any]()
    command = [sys.executable, script, "serve", str(folder), str(port), str(bench.redis_port)]
    environment = {**bench.shop.environment(), "OMP_NUM_THREADS": "1"}
    with Process("peer", command, environment, SERVER_CORE, bench.shop.folder / "logs").await_port(port) as server:
        for kind, limit in limits.items():
            path = bench.shop.folder / "load" / f"peer_{kind}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(json.dumps(one) for one in requests[kind]))
            target = Target(
                f"peer_{kind}",
                port,
                server,
                path.parent,
                lambda _count, _path, path=path: path,
                (),
                bench.seconds * 0.4,
            )
            target.warm(4.0)
            alone = repeats(target, 2.0, bench.seconds, 1)
            # A p99 that it cannot reach at two requests a second would make every ratio infinite.
            reachable = max(limit, 1.5 * alone["undisturbed_ms"]["p99"])
            largest = largest_rate(target, round(reachable, 1), 4.0, bench.seconds / 2, bench.count)
            found[kind] = {"alone": alone, "largest": largest, "goal_p99_ms": limit, "memory": server.memory()}
    return found


def _checks(result: dict[str, Any]) -> dict[str, Any]:
    """Each goal with what was measured; `binding` ones fail the run."""
    found: dict[str, Any] = {}

    def check(
        name: str, observed: float | None, limit: float, *, at_least: bool = False, binding: bool = False
    ) -> None:
        is_met = observed is not None and (observed >= limit if at_least else observed <= limit)
        found[name] = {"observed": observed, "limit": limit, "met": is_met, "binding": binding}

    for store in ("sqlite", "redis"):
        if store in result:
            fraud, lists = result[store]["decisions"], result[store]["recommendations"]
            check(
                f"{store}: decisions at the fixed rate, p99 ms",
                fraud["fixed"]["undisturbed_ms"].get("p99"),
                FRAUD_P99_MS,
            )
            rate = fraud["largest"]["requests_per_second"]
            check(f"{store}: decisions a second at p99 < 20 ms", rate, MIN_FRAUD_PER_SECOND, at_least=True)
            check(
                f"{store}: recommendations at the fixed rate, p99 ms",
                lists["fixed"]["undisturbed_ms"].get("p99"),
                RECOMMENDATION_P99_MS,
            )
            runs = [*fraud["fixed"]["runs"], *lists["fixed"]["runs"]]
            refused = sum(run["statuses"].get("503", 0) for run in runs)
            by_disk = sum(run["disk"]["struck_and_refused"] for run in runs)
            check(f"{store}: refused at fixed rates (503, Retry-After)", refused - by_disk, 0)
            check(f"{store}: lost at fixed rates", sum(run["failed"] for run in runs) - refused, 0, binding=True)
            check(f"{store}: undeclared answers", sum(run["undeclared"] for run in runs), 0, binding=True)
    for store, reads in result.get("reads", {}).items():
        for name, one in reads.items():
            check(f"{store}: read of {name}, p99 ms", one["latency_ms"].get("p99"), READ_P99_MS[store])
    for kind, one in result.get("switch", {}).items():
        check(f"switch of {kind}: failed requests", one["failed"], 0, binding=True)
        check(f"switch of {kind}: p99 against without", one["p99_ratio"], SWITCH_P99_RATIO, binding=True)
    for kind, one in result.get("peer", {}).items():
        check(f"{kind}: times the peer's throughput", one["ratio"], MIN_RATIO, at_least=True, binding=True)
    return found


def _say(what: str, found: dict[str, Any]) -> None:
    told = ", ".join(f"{name} {value} ms" for name, value in found["undisturbed_ms"].items())
    failed = sum(run["undisturbed"]["failed"] for run in found["runs"])
    struck = sum(run["disk"]["struck"] for run in found["runs"])
    steps = found["runs"][-1]["steps"]
    print(f"  {what}: {told}; failed {failed}; met a still disk {struck}; steps {steps}", flush=True)


def _write(result: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def _print(result: dict[str, Any]) -> int:
    print()
    for name, check in result["checks"].items():
        mark = "met" if check["met"] else "FAILED" if check["binding"] else "missed"
        print(f"{mark:7} {name}: {check['observed']} (goal {check['limit']})")
    print(f"\n{result['seconds']['all']:.0f} s in all")
    return 1 if any(check["binding"] and not check["met"] for check in result["checks"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
