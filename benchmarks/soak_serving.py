"""A soak: half an hour of load with a fault each minute; the client keeps a history of what was acknowledged to it.

Passes when nothing acknowledged is missing (lost) or there twice (doubled), every answer says truthfully how it was
found (undeclared), no process grows (memory), enough of what was due was answered, every fault struck, and the API is
healthy at the end. What could not be judged is unknown, and does not pass: a run that is too short ends with 2, a
failed one with 1. Requests that got no answer within the client's deadline were not acknowledged; they are counted and
shown.

    python benchmarks/soak_serving.py [--minutes 30] [--quick] [--reuse] [--seed N] [--folder var/benchmarks/serving]
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from bench_serving import take_environment
from machine import describe_run
from serving_faults import ENDING, FAULTS, Running
from serving_history import Shoppers, hold_against_installation
from serving_requests import open_asked
from serving_shop import PROJECT, bench_shop, build, run_step
from serving_verdict import EXIT_CODES, Samples, in_all, judge_answered, judge_faults, judge_kept, judge_memory

RESULT = PROJECT / "benchmarks" / "results" / "soak_serving.json"
RATES = {"decisions": 40.0, "recommendations": 30.0, "events": 10.0}
FAULT_EVERY_SECONDS = 60.0
_SAMPLE_SECONDS = 5.0
Memory = dict[str, dict[int, list[tuple[float, float]]]]
"""Role -> process id -> (seconds, MB of its own) of each sample."""


def main() -> int:
    arguments = _arguments()
    shop = bench_shop(arguments.folder / ("quick" if arguments.quick else "full"), arguments.quick)
    build(shop, arguments.reuse)
    take_environment(shop)
    os.environ["SHOPWRIGHT_KEEP_VERSIONS"] = "1000"
    running, asked = Running(shop, arguments.seed), open_asked(shop)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        running.start()
        shoppers = Shoppers(asked, running.port, RATES)
        shoppers.start()
        began = time.monotonic()
        memory = _soak(running, arguments.minutes, arguments.every)
        running.await_healthy()
        seconds = time.monotonic() - began
        shoppers.stop()
        running.follower.end()
        run_step(shop, "follow_log", **running.settings)
        result = _judged(running, shoppers, memory, seconds, arguments)
    finally:
        asked.remember()  # also of a run that was broken off: what was asked then is known to the log
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


def _soak(running: Running, minutes: float, every: float) -> Memory:
    """Faults until the time is over."""
    began, number = time.monotonic(), 0
    memory: Memory = {"worker": {}, "follower": {}}
    next_fault = began + every / 2
    while time.monotonic() < began + minutes * 60:
        running.keep_following()
        _sample(running, time.monotonic() - began, memory)
        if time.monotonic() >= next_fault:
            name = running.inject(number)
            print(f"{time.monotonic() - began:6.0f} s  {name}", flush=True)
            number, next_fault = number + 1, next_fault + every
        time.sleep(_SAMPLE_SECONDS)
    return memory


def _sample(running: Running, at: float, memory: Memory) -> None:
    for role, processes in (("worker", running.workers_alive()), ("follower", running.follower.members()[-1:])):
        for process in processes:
            try:
                own = process.memory_full_info().uss / 2**20
            except psutil.Error:
                continue
            memory[role].setdefault(process.pid, []).append((at, own))


def _judged(
    running: Running, shoppers: Shoppers, memory: Memory, seconds: float, arguments: argparse.Namespace
) -> dict[str, Any]:
    from ml.settings import get_settings

    history = shoppers.history
    kept = hold_against_installation(history, get_settings())
    due = {kind: rate * seconds for kind, rate in RATES.items()}
    # Until each fault that a process outlives has come to it.
    memory_point, slopes = judge_memory(memory, (len(FAULTS.keys() - ENDING) + 1) * arguments.every)
    points = {
        **{name: judge_kept(kept[f"count_{name}"], history.acknowledged, name) for name in ("lost", "doubled")},
        "undeclared": judge_kept(len(history.undeclared), history.acknowledged, "undeclared"),
        "memory": memory_point,
        "answered": judge_answered(due, history.answered),
        "faults": judge_faults(running.done, FAULTS, history.last_seen),
    }
    return {
        **describe_run(),
        "minutes": arguments.minutes,
        "quick": arguments.quick,
        "seed": arguments.seed,
        "rates": RATES,
        "workers": running.workers,
        "verdict": in_all(points),
        "points": {name: vars(point) for name, point in points.items()},
        "faults": running.done,
        "follower_ended": running.follower_ended,
        "due": {kind: round(count) for kind, count in due.items()},
        "asked": dict(history.asked),
        "steps": dict(history.steps),
        "shown_unrecorded": history.unrecorded,
        "unanswered_within_deadline": dict(history.unanswered),
        **kept,
        "undeclared": history.undeclared[:50],
        "count_undeclared": len(history.undeclared),
        "memory": {
            "slopes_mb_per_minute": slopes,
            "largest_mb": {role: _largest(memory[role]) for role in memory},
            "samples": {role: [_thinned(samples) for samples in memory[role].values()] for role in memory},
        },
    }


def _largest(processes: Mapping[int, Samples]) -> float:
    return round(max((used for samples in processes.values() for _, used in samples), default=0.0), 1)


def _thinned(samples: Samples) -> list[tuple[int, int]]:
    """About two a minute: whole seconds and MB, to see when a process grew."""
    return [(round(at), round(used)) for at, used in samples[::6]]


def _print(result: dict[str, Any]) -> int:
    print(f"asked {result['asked']}; steps {result['steps']}; unanswered {result['unanswered_within_deadline']}")
    for name, point in result["points"].items():
        print(f"{point['verdict']:7}  {name}: {point['told']}")
        for one in result.get(name, [])[:5] if name in ("lost", "doubled", "undeclared") else ():
            print(f"           {one}")
    print(result["verdict"])
    return EXIT_CODES[result["verdict"]]


if __name__ == "__main__":
    sys.exit(main())
