"""Time and size of the lifecycle, on the default shop, through the real scheduler.

Runs `shopwright demo` in an empty state folder, then one more day step by step without Airflow, then the
arrival gate and `dbt build` over everything. Prints a table and writes benchmarks/results/lifecycle.json.
Ratios are of the same run; the absolute limits are for two idle cores.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from machine import describe_run

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "lifecycle.json"
DEMO_DAYS = 2

# A replayed day, each step its own process: what its task calls of ml.cli.
DAILY_STEPS = (
    "ingest.land_days(day, day)",
    "ingest.gate_arrivals(day)",
    "warehouse.build_models(day)",
    "warehouse.gate_marts(day)",
    "warehouse.publish_marts(day)",
    "features.materialize_features(day)",
    "recommender.publish_recommendations(day)",
    "fraud.settle_labels(day)",
    "fraud.score_orders(day)",
    "monitoring.check_drift(day, monitoring.FRAUD)",
    "monitoring.check_performance(day, monitoring.FRAUD)",
    "fraud.feed_state(day)",
    "monitoring.check_drift(day)",
    "monitoring.check_performance(day)",
    "ingest.scrub_stores()",
    "models.reconcile_registry(day)",
    "gates.check_gate_proofs(day)",
    "alerting.deliver_alerts()",
)


class PeakMemory(threading.Thread):
    """Largest resident size of any one descendant process, sampled twice a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.root = psutil.Process(pid)
        self.peak_bytes = 0
        self.peak_process = ""

    def run(self) -> None:
        while self.root.is_running():
            try:
                family = [self.root, *self.root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in family:
                try:
                    resident = process.memory_info().rss
                    if resident > self.peak_bytes:
                        self.peak_bytes, self.peak_process = resident, " ".join(process.cmdline())[:120]
                except psutil.Error:
                    continue
            time.sleep(0.5)


def _timed(arguments: list[str], environment: dict[str, str]) -> tuple[float, PeakMemory]:
    begin = time.monotonic()
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment)
    memory = PeakMemory(process.pid)
    memory.start()
    if process.wait() != 0:
        raise SystemExit(f"failed with exit code {process.returncode}: {' '.join(arguments)}")
    return time.monotonic() - begin, memory


def _step(call: str, day: date, environment: dict[str, str]) -> float:
    module = call.partition(".")[0]
    code = f"from datetime import date; from ml.cli import {module}; day = date.fromisoformat('{day}'); {call}"
    return _timed([sys.executable, "-c", code], environment)[0]


def _scheduled_day_seconds(airflow_db: Path, day: date) -> float:
    """From the first task's start to the last task's end of one day's runs, from Airflow's own record."""
    import sqlite3

    with sqlite3.connect(f"file:{airflow_db}?mode=ro", uri=True) as connection:
        begin, end = connection.execute(
            "select min(t.start_date), max(t.end_date) from task_instance t join dag_run r using (dag_id, run_id) "
            "where r.partition_key like ? and r.dag_id not in ('recommender_train', 'fraud_train')",
            (f"{day}%",),
        ).fetchone()
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


_GATE_CODE = """
import time
from datetime import date
import great_expectations
from ml.cli import ingest
from expectations import gates
from ml.settings import get_settings
first, last = date(2017, 1, 1), date(2017, 12, 31)
ingest.land_days(first, last)
begin = time.monotonic()
gates.judge_arrivals(get_settings(), last)
print("seconds", time.monotonic() - begin)
"""

_BUILD_CODE = """
import time
from datetime import date
from ml.cli import warehouse
begin = time.monotonic()
warehouse.build_models(date(2017, 12, 31))
print("seconds", time.monotonic() - begin)
"""


def _seconds_inside(code: str, environment: dict[str, str]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return float(next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("seconds ")))


def _measure(folder: Path) -> dict[str, Any]:
    from ml.settings import Settings

    bootstrap_day = Settings.model_fields["bootstrap_day"].default
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SHOPWRIGHT_")},
        "SHOPWRIGHT_STATE_DIR": str(folder / "demo"),
        "SHOPWRIGHT_AIRFLOW_PORT": "0",
        "SHOPWRIGHT_MLFLOW_PORT": "0",
    }
    demo_seconds, memory = _timed([sys.executable, "-c", "from ml.cli import main; main()", "demo"], environment)
    replayed = [bootstrap_day + timedelta(days=n) for n in range(1, DEMO_DAYS + 1)]
    airflow_db = folder / "demo" / "completejourney" / "airflow" / "airflow.db"
    scheduled = [_scheduled_day_seconds(airflow_db, day) for day in replayed]
    next_day = replayed[-1] + timedelta(days=1)
    steps = {call: _step(call, next_day, environment) for call in DAILY_STEPS}
    sequential = sum(steps.values())

    whole_year = {**environment, "SHOPWRIGHT_STATE_DIR": str(folder / "year"), "SHOPWRIGHT_PROMOTIONS_WEEKS": "0"}
    return {
        "demo_seconds": demo_seconds,
        "peak_process_mb": memory.peak_bytes / 1e6,
        "peak_process": memory.peak_process.replace(str(ROOT), "."),
        "replayed_day_seconds": scheduled,
        "sequential_day_seconds": sequential,
        "sequential_steps_seconds": steps,
        "orchestration_ratio": scheduled[-1] / sequential,
        "arrival_gate_all_lines_seconds": _seconds_inside(_GATE_CODE, whole_year),
        "dbt_build_everything_seconds": _seconds_inside(_BUILD_CODE, whole_year),
    }


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-lifecycle-") as folder:
        figures = _measure(Path(folder))
    limits = {
        "demo_seconds": 900,
        "peak_process_mb": 4000,
        "orchestration_ratio": 1.5,
        "arrival_gate_all_lines_seconds": 15,
        "dbt_build_everything_seconds": 60,
    }
    print(f"{'figure':<34}{'measured':>10}{'limit':>8}")
    for name, limit in limits.items():
        print(f"{name:<34}{figures[name]:>10.2f}{limit:>8}")
    print(f"{'replayed_day_seconds (worst)':<34}{max(figures['replayed_day_seconds']):>10.2f}{120:>8}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({**describe_run(), "figures": figures, "limits": limits}, indent=2) + "\n")


if __name__ == "__main__":
    main()
