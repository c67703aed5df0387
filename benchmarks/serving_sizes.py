"""How much memory serving takes by customers and products; writes the tables of docs/serving.md.

The snapshot in memory is built by the product's own code from made-up tables of each size, in a process of its own, and
its resident memory read before and after -> benchmarks/results/serving_sizes.json. The bytes of a row and the rates
come from benchmarks/results/serving.json. The page is filled from the two files alone, so it can be
written again from them.

    python benchmarks/serving_sizes.py [--quick] [--measured] [--result PATH] [--out PATH] [--page PATH]
"""

import argparse
import ctypes
import gc
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
from machine import describe_run
from serving_shop import PROJECT

RESULT = PROJECT / "benchmarks" / "results" / "serving.json"
OUT = PROJECT / "benchmarks" / "results" / "serving_sizes.json"
PAGE = PROJECT / "docs" / "serving.md"
SIZES = ((10_000, 5_000), (100_000, 5_000), (100_000, 50_000), (500_000, 50_000))
_QUICK_SIZES = ((1_000, 500), (2_000, 500))
_SHOWN, _STORES = 10, 50


def main() -> int:
    arguments = _arguments()
    if arguments.size:
        print(json.dumps(_snapshot_mb(*arguments.size)))
        return 0
    if not arguments.measured:
        found = _measured(arguments.quick)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.page is None:
        return 0
    for path in (arguments.result, arguments.out):
        if not path.exists():
            print(f"{path} is not there, so {arguments.page} stays as it is", file=sys.stderr)
            return 2
    result, sizes = json.loads(arguments.result.read_bytes()), json.loads(arguments.out.read_bytes())
    page = arguments.page.read_text()
    for name, table in (("sizes", _sizes(sizes, result)), ("rates", _rates(result))):
        page = _filled(page, name, table)
    arguments.page.write_text(page)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="small sizes and no page, for trying the script")
    parser.add_argument("--measured", action="store_true", help="take the sizes that were measured before")
    parser.add_argument("--result", type=Path, default=RESULT, help="what bench_serving.py wrote")
    parser.add_argument("--out", type=Path, help="where the sizes go; benchmarks/results/serving_sizes.json by default")
    parser.add_argument("--page", type=Path, help="what is filled; docs/serving.md by default")
    parser.add_argument("--size", nargs=2, type=int, help="measure one size, in this process")
    arguments = parser.parse_args()
    quick = PROJECT / "var" / "benchmarks" / "serving" / "sizes_quick.json"
    arguments.out = arguments.out or (quick if arguments.quick else OUT)
    arguments.page = arguments.page or (None if arguments.quick else PAGE)
    return arguments


def _measured(is_quick: bool) -> dict[str, Any]:
    """The snapshot's memory at each size."""
    sizes = []
    for customers, products in _QUICK_SIZES if is_quick else SIZES:
        began = perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, "--size", str(customers), str(products)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=PROJECT,
            env={"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        )
        seconds = round(perf_counter() - began, 1)
        sizes.append(
            {"customers": customers, "products": products, "snapshot_mb": float(done.stdout), "seconds": seconds}
        )
        print(sizes[-1], flush=True)
    return {**describe_run(), "quick": is_quick, "sizes": sizes}


def _filled(page: str, name: str, table: str) -> str:
    """The page with what stands between the marks of a name replaced."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.partition(begin)
    _, ends, after = rest.partition(end)
    assert found and ends, f"the page has no marks for {name}"
    return f"{before}{begin}\n{table}\n{end}{after}"


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


def _sizes(measured: dict[str, Any], result: dict[str, Any]) -> str:
    row_bytes = int(result["reads"]["sqlite"]["customer_rows"]["row_bytes"])
    idle = result["sqlite"]["memory_idle"]["largest_rss_mb"]
    lines = [
        f"Measured {measured['date']} at {measured['commit']}{_quick(measured)}.",
        f"A process takes {idle:.0f} MB with the benchmark's shop ({result['shop']['customers']:,} customers);",
        f"a row of a customer with its candidates {row_bytes:,} bytes in the online store.",
        "",
        "| customers | products | snapshot, MB a process | rows in the online store, MB |",
        "|---:|---:|---:|---:|",
    ]
    for one in measured["sizes"]:
        rows = one["customers"] * row_bytes / 2**20
        lines.append(f"| {one['customers']:,} | {one['products']:,} | {one['snapshot_mb']:,.0f} | {rows:,.0f} |")
    return "\n".join(lines)


def _quick(result: dict[str, Any]) -> str:
    return " (quick run)" if result["quick"] else ""


def _rates(result: dict[str, Any]) -> str:
    lines = [
        f"Measured {result['date']} at {result['commit']} on {result['machine']['cores']} cores "
        f"({result['machine']['architecture']}), one process on one core{_quick(result)}.",
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
            limit = f"p99 < {one['largest']['p99_limit_ms']:.0f} ms"
            most = one["largest"]["requests_per_second"]
            largest = f"{most:.0f} at {limit}" if most else f"none held {limit} in every repeat"
            lines.append(f"| {kind} | {store} | {one['fixed']['rate']:.0f}/s | {told} | {largest} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
