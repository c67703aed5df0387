"""Time and memory of the data's way, landing to published marts, at 1, 3 and 10 times the default shop's households.

Households are replicated with new ids, with all their orders and lines; products stay. Per scale: the whole history in
one batch a table, then one more day. Each step is its own process, imports included, as by hand. Prints a table and
writes benchmarks/results/data.json. Ratios are of the same run; the absolute limit is for two idle cores.

    python benchmarks/bench_data.py [SCALE ...]
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psutil
from machine import describe_run

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "data.json"
FIRST_DAY, LAST_DAY = date(2017, 1, 1), date(2017, 12, 30)
ONE_MORE_DAY = LAST_DAY + timedelta(days=1)
GATE_AND_PUBLISH = ("gate_arrivals", "build_models", "gate_marts", "publish_marts")
LIMITS = {"peak_gb": 6.0, "time_ratio_10x": 12.0, "one_more_day_ratio_10x": 2.0}

_STEPS = {
    "land_days": "from ml.cli import ingest; ingest.land_days(first, last)",
    "gate_arrivals": "from ml.cli import ingest; ingest.gate_arrivals(last)",
    "build_models": "from ml.cli import warehouse; warehouse.build_models(last)",
    "gate_marts": "from ml.cli import warehouse; warehouse.gate_marts(last)",
    "publish_marts": "from ml.cli import warehouse; warehouse.publish_marts(last)",
}
# Which ids of a table name a household or what is its own; each copy of the households gets ids of its own.
_OWN_IDS = {
    "customers": ("customer_id",),
    "demographics": ("customer_id",),
    "orders": ("customer_id", "order_id"),
    "order_lines": ("order_id", "order_line_id"),
    "products": (),
}


def write_shop(folder: Path, scale: int) -> int:
    """Write the default shop with its households `scale` times, in files as the files source reads them.

    Returns:
        The number of order lines.
    """
    from ml.settings import Settings
    from ml.shop.completejourney import CompleteJourneySource
    from ml.shop.contract import CONTRACT

    source = CompleteJourneySource(Settings(_env_file=None))
    folder.mkdir(parents=True)
    count_lines = 0
    for table, own_ids in _OWN_IDS.items():
        rows = source.read(table, FIRST_DAY, ONE_MORE_DAY + timedelta(days=1)).rows
        event_time = CONTRACT[table].event_time
        with duckdb.connect(config={"threads": 2, "memory_limit": "4GB"}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.register("rows", rows)
            renamed = ", ".join(f"{name} || suffix as {name}" for name in own_ids)
            copies = f"(select if(n = 0, '', '-' || n) as suffix from range({scale}) as copies (n))"  # noqa: S608
            replaced = f"rows.* replace ({renamed})" if own_ids else "rows.*"
            selected = f"select {replaced}" + (f" from rows, {copies}" if own_ids else " from rows")  # noqa: S608
            if event_time is None:
                connection.execute(f"copy ({selected}) to '{folder / f'{table}.parquet'}' (format parquet)")
                continue
            day = f"strftime({event_time} at time zone 'America/New_York', '%Y-%m-%d') as date"
            dated = selected.replace(" from rows", f", {day} from rows", 1)
            connection.execute(
                f"copy ({dated}) to '{folder / table}' (format parquet, partition_by (date), overwrite_or_ignore)"
            )
        if table == "order_lines":
            count_lines = rows.num_rows * scale
    return count_lines


class _PeakMemory(threading.Thread):
    """Largest resident size of a process and all its descendants together, sampled five times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root = psutil.Process(pid)
        self.peak_bytes = 0

    def run(self) -> None:
        while self.root.is_running():
            try:
                family = [self.root, *self.root.children(recursive=True)]
                self.peak_bytes = max(self.peak_bytes, sum(process.memory_info().rss for process in family))
            except psutil.Error:
                continue
            time.sleep(0.2)


def _run(step: str, first: date, last: date, environment: dict[str, str]) -> dict[str, float]:
    code = (
        "from datetime import date\n"
        f"first, last = date.fromisoformat('{first}'), date.fromisoformat('{last}')\n"
        f"{_STEPS[step]}\n"
    )
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    memory = _PeakMemory(process.pid)
    memory.start()
    if process.wait() != 0:
        raise SystemExit(f"{step} of {first} to {last} failed with exit code {process.returncode}")
    return {"seconds": time.monotonic() - begin, "peak_gb": memory.peak_bytes / 1e9}


def _measure(scale: int, folder: Path) -> dict[str, Any]:
    lines = write_shop(folder / "shop", scale)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SHOPWRIGHT_")},
        "SHOPWRIGHT_STATE_DIR": str(folder / "var"),
        "SHOPWRIGHT_SHOP_ID": "bench",
        "SHOPWRIGHT_SOURCE": "files",
        "SHOPWRIGHT_FILES_DIR": str(folder / "shop"),
    }
    history = {step: _run(step, FIRST_DAY, LAST_DAY, environment) for step in _STEPS}
    one_more = {step: _run(step, ONE_MORE_DAY, ONE_MORE_DAY, environment) for step in _STEPS}
    return {
        "order_lines": lines,
        "history": history,
        "one_more_day": one_more,
        "gate_and_publish_seconds": sum(history[step]["seconds"] for step in GATE_AND_PUBLISH),
        "gate_and_publish_peak_gb": max(history[step]["peak_gb"] for step in GATE_AND_PUBLISH),
        "landing_peak_gb": history["land_days"]["peak_gb"],
        "one_more_day_seconds": sum(entry["seconds"] for entry in one_more.values()),
    }


def main() -> None:
    scales = [int(argument) for argument in sys.argv[1:]] or [1, 3, 10]
    figures: dict[int, dict[str, Any]] = {}
    for scale in scales:
        with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
            figures[scale] = _measure(scale, Path(folder))
        print(json.dumps({scale: figures[scale]}, indent=1), flush=True)
    base = figures[min(scales)]
    print(
        f"{'scale':>6}{'lines':>12}{'gate+publish s':>16}{'ratio':>7}{'peak GB':>9}{'one more day s':>16}{'ratio':>7}"
    )
    for scale, figure in figures.items():
        figure["time_ratio"] = figure["gate_and_publish_seconds"] / base["gate_and_publish_seconds"]
        figure["one_more_day_ratio"] = figure["one_more_day_seconds"] / base["one_more_day_seconds"]
        print(
            f"{scale:>5}x{figure['order_lines']:>12,}{figure['gate_and_publish_seconds']:>16.1f}"
            f"{figure['time_ratio']:>7.2f}{figure['gate_and_publish_peak_gb']:>9.2f}"
            f"{figure['one_more_day_seconds']:>16.1f}{figure['one_more_day_ratio']:>7.2f}"
        )
    if {1, 10} <= set(scales):
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps({**describe_run(), "figures": figures, "limits": LIMITS}, indent=2) + "\n")


if __name__ == "__main__":
    main()
