"""A soak: half an hour of load with a fault each minute; the client keeps a history of what was acknowledged to it.

Passes when nothing acknowledged is missing or there twice, every answer says truthfully how it was found, the memory of
no process grows, and the API is healthy at the end. Requests that got no answer within the client's deadline were not
acknowledged; they are counted and shown.

    python benchmarks/soak_serving.py [--minutes 30] [--quick] [--reuse] [--seed N] [--folder var/benchmarks/serving]
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bench_serving import take_environment
from machine import describe_run
from serving_faults import Running
from serving_history import Shoppers, hold_against_installation
from serving_requests import open_asked
from serving_shop import PROJECT, bench_shop, build, run_step

RESULT = PROJECT / "benchmarks" / "results" / "soak_serving.json"
RATES = {"decisions": 40.0, "recommendations": 30.0, "events": 10.0}
FAULT_EVERY_SECONDS = 60.0
_SAMPLE_SECONDS = 5.0
# A process is judged by what it does after its first minutes, when caches have filled.
_SETTLED_SECONDS, _FEWEST_SAMPLES = 120.0, 24
LARGEST_SLOPE_MB_PER_MINUTE = 1.0


def main() -> int:
    arguments = _arguments()
    shop = bench_shop(arguments.folder / ("quick" if arguments.quick else "full"), arguments.quick)
    build(shop, arguments.reuse)
    take_environment(shop)
    os.environ["SHOPWRIGHT_KEEP_VERSIONS"] = "1000"
    running = Running(shop, arguments.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        running.start()
        shoppers = Shoppers(open_asked(shop), running.port, RATES)
        shoppers.start()
        memory = _soak(running, arguments.minutes, arguments.every)
        running.await_healthy()
        shoppers.stop()
        shoppers.asked.remember()
        running.follower.end()
        run_step(shop, "follow_log", **running.settings)
        result = _judged(running, shoppers, memory, arguments)
    finally:
        running.end()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return _print(result)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=FAULT_EVERY_SECONDS, help="seconds between faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="the small shop")
    parser.add_argument("--reuse", action="store_true", help="take the shop that is there, whatever code built it")
    parser.add_argument("--folder", type=Path, default=PROJECT / "var" / "benchmarks" / "serving")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    arguments.folder = arguments.folder.resolve()
    arguments.out = arguments.out or (arguments.folder / "soak_quick.json" if arguments.quick else RESULT)
    return arguments


def _soak(running: Running, minutes: float, every: float) -> dict[int, list[tuple[float, float]]]:
    """Faults until the time is over.

    Returns:
        Process id -> (seconds, MB of its own) of each sample.
    """
    began, number = time.monotonic(), 0
    memory: dict[int, list[tuple[float, float]]] = {}
    next_fault = began + every / 2
    while time.monotonic() < began + minutes * 60:
        _sample(running, time.monotonic() - began, memory)
        if time.monotonic() >= next_fault:
            name = running.inject(number)
            print(f"{time.monotonic() - began:6.0f} s  {name}", flush=True)
            number, next_fault = number + 1, next_fault + every
        time.sleep(_SAMPLE_SECONDS)
    return memory


def _sample(running: Running, at: float, memory: dict[int, list[tuple[float, float]]]) -> None:
    for process in (*running.server.members()[1:], *running.follower.members()[-1:]):
        try:
            if "golden_check" not in " ".join(process.cmdline()):
                memory.setdefault(process.pid, []).append((at, process.memory_full_info().uss / 2**20))
        except psutil.Error:
            continue


def _slopes(memory: dict[int, list[tuple[float, float]]]) -> list[float]:
    """MB a minute of each process that lived long enough to be judged."""
    found = []
    for samples in memory.values():
        settled = [one for one in samples if one[0] >= samples[0][0] + _SETTLED_SECONDS]
        if len(settled) >= _FEWEST_SAMPLES:
            at, used = np.array(settled).T
            found.append(round(float(np.polyfit(at / 60, used, 1)[0]), 3))
    return found


def _judged(
    running: Running, shoppers: Shoppers, memory: dict[int, Any], arguments: argparse.Namespace
) -> dict[str, Any]:
    history, slopes = shoppers.history, _slopes(memory)
    kept = hold_against_installation(history)
    is_flat = all(slope <= LARGEST_SLOPE_MB_PER_MINUTE for slope in slopes)
    return {
        **describe_run(),
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "rates": RATES,
        "workers": running.workers,
        "faults": running.done,
        "asked": dict(history.asked),
        "steps": dict(history.steps),
        "unanswered_within_deadline": dict(history.unanswered),
        **kept,
        "undeclared": history.undeclared[:50],
        "count_undeclared": len(history.undeclared),
        "memory": {
            "slopes_mb_per_minute": slopes,
            "limit": LARGEST_SLOPE_MB_PER_MINUTE,
            "largest_mb": round(max((used for one in memory.values() for _, used in one), default=0.0), 1),
            "flat": is_flat if slopes else None,
        },
        "passed": not (kept["count_lost"] or kept["count_doubled"] or history.undeclared) and is_flat,
    }


def _print(result: dict[str, Any]) -> int:
    print(f"asked {result['asked']}; steps {result['steps']}; unanswered {result['unanswered_within_deadline']}")
    print(f"lost {result['count_lost']}, doubled {result['count_doubled']}, undeclared {result['count_undeclared']}")
    for name in ("lost", "doubled", "undeclared"):
        for one in result[name][:5]:
            print(f"  {name}: {one}")
    print(f"memory {result['memory']}")
    print("passed" if result["passed"] else "FAILED")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
