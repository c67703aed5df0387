"""Online reads alone, in process and on the server's core: what one decision and one recommendation have to fetch.

python serving_reads.py FOLDER QUICK READS       in the shop's environment; prints JSON
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from serving_load import percentiles
from serving_processes import SERVER_CORE, own_core
from serving_requests import open_asked
from serving_shop import bench_shop


def main() -> None:
    _, folder, quick, reads = sys.argv
    os.sched_setaffinity(0, {own_core(SERVER_CORE)})
    asked = open_asked(bench_shop(Path(folder), quick == "1"))
    found = {"fraud_state": _fraud(asked, int(reads)), "customer_rows": _customers(asked, int(reads))}
    print(json.dumps(found))


def _fraud(asked: Any, reads: int) -> dict[str, Any]:
    from ml.fraud.declaration import declaration
    from ml.fraud.engine import FraudEngine
    from ml.fraud.events import parse_attempt
    from ml.fraud.policy_file import default_policy
    from ml.fraud.state_records import state_digest
    from ml.settings import get_settings
    from ml.stores.state_store import open_state_store

    settings = get_settings()
    store = open_state_store(settings, state_digest(declaration()))
    engine = FraudEngine.prepare(None, None, default_policy(), [], settings.seed, settings.zone)
    keys = [engine.state_keys([parse_attempt(attempt, None, settings.currency)]) for attempt in asked.attempts(reads)]
    return {"records_of_one": len(keys[0]), **_timed(store.read, keys)}


def _customers(asked: Any, reads: int) -> dict[str, Any]:
    from ml.settings import get_settings
    from ml.stores.customer_rows import open_customer_rows

    rows = open_customer_rows(get_settings())
    ids = [[asked.customers[place * 7919 % len(asked.customers)]] for place in range(reads)]
    sizes = [len(row) for one in ids[:200] for row in rows.read(one).values()]
    found = _timed(rows.read, ids)
    return {"row_bytes": round(sum(sizes) / len(sizes)) if sizes else 0, **found}


def _timed(read: Callable[[list[str]], Any], asked: list[list[str]]) -> dict[str, Any]:
    for keys in asked[:50]:
        read(keys)
    times = []
    for keys in asked:
        began = perf_counter()
        read(keys)
        times.append((perf_counter() - began) * 1000)
    return {"reads": len(times), "latency_ms": percentiles(times)}


if __name__ == "__main__":
    main()
