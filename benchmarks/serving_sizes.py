"""How much memory serving takes by customers and products; writes the tables of docs/serving.md.

The snapshot in memory is built by the product's own code from made-up tables of each size, in a process of its own, and
its resident memory read before and after. The bytes of a row and the rates come from benchmarks/results/serving.json.

    python benchmarks/serving_sizes.py [--result PATH]
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from serving_shop import PROJECT

RESULT = PROJECT / "benchmarks" / "results" / "serving.json"
PAGE = PROJECT / "docs" / "serving.md"
SIZES = ((10_000, 5_000), (100_000, 5_000), (100_000, 50_000), (500_000, 50_000))
_SHOWN, _STORES = 10, 50


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--size", nargs=2, type=int, help="measure one size, in this process")
    arguments = parser.parse_args()
    if arguments.size:
        print(json.dumps(_snapshot_mb(*arguments.size)))
        return 0
    if not arguments.result.exists():
        print(f"{arguments.result} is not there: run make bench-serving first", file=sys.stderr)
        return 2
    result = json.loads(arguments.result.read_bytes())
    page = PAGE.read_text()
    for name, table in (("sizes", _sizes(result)), ("rates", _rates(result))):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, found, rest = page.partition(begin)
        _, ends, after = rest.partition(end)
        assert found and ends, f"docs/serving.md has no marks for {name}"
        page = f"{before}{begin}\n{table}\n{end}{after}"
    PAGE.write_text(page)
    return 0


def _snapshot_mb(customers: int, products: int) -> float:
    """MB that the snapshot of made-up tables keeps."""
    import numpy as np
    import pandas as pd

    from ml.recommender.features import PRODUCT_FEATURES
    from ml.recommender.published import STORE_PRODUCTS, snapshot

    before = _resident_mb()
    draw = np.random.default_rng(1)
    product_ids = np.array([f"product-{number:08d}" for number in range(products)], dtype=object)
    catalogue = pd.DataFrame({"product_id": product_ids, "category": [f"category {n % 300}" for n in range(products)]})
    catalogue["place"] = np.arange(1, products + 1, dtype=np.int32)
    for name in PRODUCT_FEATURES:
        catalogue[name] = draw.random(products, dtype=np.float32)
    stores = [f"store-{number}" for number in range(_STORES)]
    of_stores = pd.DataFrame(
        {
            "store_id": np.repeat(stores, STORE_PRODUCTS),
            "place": np.tile(np.arange(1, STORE_PRODUCTS + 1, dtype=np.int32), _STORES),
            "product_id": product_ids[draw.integers(products, size=STORE_PRODUCTS * _STORES)],
        }
    )
    customer_ids = np.array([f"customer-{number:08d}" for number in range(customers)], dtype=object)
    known = pd.DataFrame({"customer_id": customer_ids, "home_store_id": np.resize(np.array(stores, object), customers)})
    lists = pd.DataFrame(
        {
            "customer_id": np.repeat(customer_ids, _SHOWN),
            "rank": np.tile(np.arange(1, _SHOWN + 1), customers),
            "product_id": product_ids[draw.integers(products, size=customers * _SHOWN)],
            "reason": np.resize(np.array([f"reason {number}" for number in range(12)], object), customers * _SHOWN),
        }
    )
    kept = snapshot(catalogue, of_stores, known, lists)
    assert len(kept.customers) == customers
    del catalogue, of_stores, known, lists
    del product_ids, customer_ids
    return round(_resident_mb() - before, 1)


def _resident_mb() -> float:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return float(psutil.Process().memory_info().rss) / 2**20


def _sizes(result: dict[str, Any]) -> str:
    row_bytes = int(result["reads"]["sqlite"]["customer_rows"]["row_bytes"])
    idle = result["sqlite"]["memory_idle"]["largest_rss_mb"]
    lines = [
        f"A process takes {idle:.0f} MB with the benchmark's shop ({result['shop']['customers']:,} customers);",
        f"a row of a customer with its candidates {row_bytes:,} bytes in the online store.",
        "",
        "| customers | products | snapshot, MB a process | rows in the online store, MB |",
        "|---:|---:|---:|---:|",
    ]
    for customers, products in SIZES:
        done = subprocess.run(
            [sys.executable, __file__, "--size", str(customers), str(products)],
            capture_output=True,
            text=True,
            check=True,
            cwd=PROJECT,
            env={"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        )
        rows = customers * row_bytes / 2**20
        lines.append(f"| {customers:,} | {products:,} | {float(done.stdout):,.0f} | {rows:,.0f} |")
    return "\n".join(lines)


def _rates(result: dict[str, Any]) -> str:
    lines = [
        f"Measured {result['date']} at {result['commit']} on {result['machine']['cores']} cores "
        f"({result['machine']['architecture']}), one process on one core{' (quick run)' if result['quick'] else ''}.",
        "",
        "| what | store | at | p50 ms | p95 ms | p99 ms | p99.9 ms | most a second and core |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for kind in ("decisions", "recommendations"):
        for store in ("sqlite", "redis"):
            if store not in result:
                continue
            one = result[store][kind]
            told = " | ".join(str(one["fixed"]["latency_ms"].get(name, "")) for name in ("p50", "p95", "p99", "p99.9"))
            largest = f"{one['largest']['requests_per_second']:.0f} at p99 < {one['largest']['p99_limit_ms']:.0f} ms"
            lines.append(f"| {kind} | {store} | {one['fixed']['rate']:.0f}/s | {told} | {largest} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
