"""The tables of docs/serving.md are what the two results say, and nothing else of the page changes."""

import importlib
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
MEASURED = {"date": "2026-11-22", "commit": "abc", "machine": {"cores": 2, "architecture": "x86_64"}, "quick": False}
FIXED = {"rate": 300.0, "latency_ms": {"p50": 2.5, "p95": 4.0, "p99": 9.0, "p99.9": 20.0}}
ONE = {"fixed": FIXED, "largest": {"requests_per_second": 512.4, "p99_limit_ms": 20.0}}
RESULT = {
    **MEASURED,
    "shop": {"customers": 2469},
    "reads": {"sqlite": {"customer_rows": {"row_bytes": 1_048_576}}},
    "sqlite": {"memory_idle": {"largest_rss_mb": 310.4}, "decisions": ONE, "recommendations": ONE},
}
SIZES = {**MEASURED, "sizes": [{"customers": 10_000, "products": 5_000, "snapshot_mb": 7.1}]}
PAGE = """# A page
<!-- sizes: begin -->
old
<!-- sizes: end -->
between
<!-- rates: begin -->
<!-- rates: end -->
after
"""


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    script = importlib.import_module("serving_sizes")
    paths = {"result": RESULT, "out": SIZES}
    for name, content in paths.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    page = tmp_path / "page.md"
    page.write_text(PAGE)

    def main():
        told = [part for name in paths for part in (f"--{name}", str(tmp_path / f"{name}.json"))]
        monkeypatch.setattr(sys, "argv", ["serving_sizes.py", "--measured", "--page", str(page), *told])
        return script.main(), page.read_text()

    return main


def test_the_page_is_filled_from_what_was_measured(run):
    code, page = run()
    assert code == 0
    assert "| 10,000 | 5,000 | 7 | 10,000 |" in page  # a row of 1 MiB
    assert "A process takes 310 MB with the benchmark's shop (2,469 customers)" in page
    assert "| decisions | sqlite | 300/s | 2.5 | 4.0 | 9.0 | 20.0 | 512 at p99 < 20 ms |" in page
    assert "old" not in page
    assert [line for line in PAGE.splitlines() if line not in page.splitlines()] == ["old"]
    assert run() == (0, page)


def test_without_rates_the_page_stays_as_it_is(run, tmp_path):
    (tmp_path / "result.json").unlink()
    assert run() == (2, PAGE)
