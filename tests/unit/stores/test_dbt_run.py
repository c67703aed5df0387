"""What a finished dbt process means. The process itself is run by the integration tests."""

import fcntl
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.stores import dbt_run
from ml.stores.dbt_run import build_scratch, scratch_path

MANIFEST = {
    "nodes": {
        "test.shopwright.unique_fct_orders_order_id.1": {
            "name": "unique_fct_orders_order_id",
            "test_metadata": {"kwargs": {"model": "{{ get_where_subquery(ref('fct_orders')) }}"}},
        },
        "test.shopwright.relationships.2": {
            "name": "relationships",
            "test_metadata": {"kwargs": {"model": "{{ get_where_subquery(source('raw', 'orders')) }}"}},
        },
        "test.shopwright.singular": {"name": "singular"},
    },
    "parent_map": {
        "test.shopwright.unique_fct_orders_order_id.1": ["model.shopwright.fct_orders"],
        "test.shopwright.relationships.2": ["model.shopwright.dim_customers", "source.shopwright.raw.orders"],
        "test.shopwright.singular": ["model.shopwright.fct_orders", "model.shopwright.dim_customers"],
    },
}
CONTRACT_BREAK = """Compilation Error in model feat_customer (models/marts/features/feat_customer.sql)
  This model has an enforced contract that failed.

  | column_name           | definition_type | contract_type | mismatch_reason    |
  | --------------------- | --------------- | ------------- | ------------------ |
  | days_since_last_order | INTEGER         | BIGINT        | data type mismatch |
"""


def result(unique_id: str, status: str, message: str | None = None, failures: int | None = None) -> dict[str, Any]:
    return {"unique_id": unique_id, "status": status, "message": message, "failures": failures}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, state_dir=tmp_path)


@pytest.fixture
def finish(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Build with a dbt that ends with these results (None: none were written)."""

    def build(results: list[dict[str, Any]] | None, code: int = 1, output: str = "", run: str | None = None) -> Any:
        def stand_in(command: list[str], env: dict[str, str], **_other: Any) -> subprocess.CompletedProcess[str]:
            assert command[0] == sys.executable
            target = settings.shop_dir / "dbt" / "target"
            target.mkdir(parents=True, exist_ok=True)
            (target / "manifest.json").write_text(json.dumps(MANIFEST))
            if results is not None:
                metadata = {"env": {"RUN": run or env["DBT_ENV_CUSTOM_ENV_RUN"]}}
                (target / "run_results.json").write_text(json.dumps({"metadata": metadata, "results": results}))
            return subprocess.CompletedProcess(command, code, output, "")

        monkeypatch.setattr(dbt_run.subprocess, "run", stand_in)
        return build_scratch(settings, "v000001-abc", date(2017, 11, 19))

    return build


def test_a_build_without_failures_gives_the_database(finish: Any, settings: Settings) -> None:
    run = finish([result("model.shopwright.fct_orders", "success")], code=0)
    assert run.database == scratch_path(settings)
    assert run.manifest == MANIFEST


def test_failed_tests_are_the_datas_failure_and_name_table_test_and_rows(finish: Any) -> None:
    failed = [
        result("test.shopwright.unique_fct_orders_order_id.1", "fail", "Got 3 results", 3),
        result("test.shopwright.relationships.2", "fail", "Got 1 result", 1),
        result("test.shopwright.singular", "fail", "Got 2 results", 2),
        result("model.shopwright.feat_customer", "skipped"),
    ]
    with pytest.raises(DataFailed) as raised:
        finish(failed)
    assert str(raised.value) == (
        "model fct_orders fails test unique_fct_orders_order_id in 3 rows; "
        "model raw.orders fails test relationships in 1 rows; "
        "model fct_orders, dim_customers fails test singular in 2 rows"
    )


def test_a_broken_contract_names_the_columns(finish: Any) -> None:
    with pytest.raises(DataFailed, match=r"^model feat_customer breaks its contract in days_since_last_order$"):
        finish([result("model.shopwright.feat_customer", "error", CONTRACT_BREAK)])


def test_an_error_is_the_tools_failure_even_when_tests_failed_too(finish: Any) -> None:
    results = [
        result("test.shopwright.unique_fct_orders_order_id.1", "fail", "Got 3 results", 3),
        result("model.shopwright.fct_orders", "error", "Runtime Error in model\n  Binder Error: no column nosuch"),
    ]
    with pytest.raises(ToolFailed, match=r"^model fct_orders: Binder Error: no column nosuch$"):
        finish(results)


def test_errors_that_quote_values_are_withheld(finish: Any) -> None:
    message = "Runtime Error in model fct_orders\n  Conversion Error: Could not convert string 'jane@example.com'"
    with pytest.raises(ToolFailed) as raised:
        finish([result("model.shopwright.fct_orders", "error", message)])
    assert "jane" not in str(raised.value)
    assert "Conversion Error" in str(raised.value)


def test_a_full_disk_is_named_also_where_the_text_is_withheld(finish: Any) -> None:
    message = 'Runtime Error in model fct_orders\n  IO Error: Could not write file "x.duckdb": No space left on device'
    with pytest.raises(ToolFailed, match=r"^model fct_orders: IO Error: No space left on device \(ENOSPC\)$"):
        finish([result("model.shopwright.fct_orders", "error", message)])


def test_results_of_another_run_are_not_believed(finish: Any) -> None:
    with pytest.raises(ToolFailed, match="could not start"):
        finish([result("model.shopwright.fct_orders", "success")], code=0, run="another")


def test_a_project_that_does_not_parse_is_explained(finish: Any) -> None:
    output = "Encountered an error:\nCompilation Error in model fct_orders (models/fct_orders.sql)\n  unexpected '}'\n"
    with pytest.raises(ToolFailed, match=r"Compilation Error: in model fct_orders"):
        finish(None, output=output)


def test_an_end_without_a_reason_is_the_tools_failure(finish: Any) -> None:
    with pytest.raises(ToolFailed, match="exit code 2"):
        finish([result("model.shopwright.fct_orders", "success")], code=2)


def test_what_an_older_build_left_is_removed_first(finish: Any, settings: Settings) -> None:
    scratch = scratch_path(settings)
    scratch.parent.mkdir(parents=True)
    for name in ("scratch.duckdb", "scratch.duckdb.wal"):
        (scratch.parent / name).write_text("left by a killed build")
    finish([], code=0)
    assert list(scratch.parent.glob("scratch*")) == []


def test_dbt_holds_the_scratch_database_even_when_its_parent_is_gone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    inherited = []

    def stand_in(command: list[str], pass_fds: tuple[int, ...], **_other: Any) -> None:
        with (scratch_path(settings).parent / ".scratch.lock").open("a") as another, pytest.raises(BlockingIOError):
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        inherited.extend(str(Path(f"/proc/self/fd/{number}").readlink()) for number in pass_fds)
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(dbt_run.subprocess, "run", stand_in)
    with pytest.raises(ToolFailed, match="did not finish"):
        build_scratch(settings, "v000001-abc", date(2017, 11, 19))
    assert inherited == [str(scratch_path(settings).parent / ".scratch.lock")]
