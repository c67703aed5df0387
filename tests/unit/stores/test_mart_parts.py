import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from ml.outcomes import ToolFailed
from ml.stores.dbt_run import DbtRun
from ml.stores.mart_parts import count_held, write_mart_parts
from ml.stores.versions import VersionStore


def model(name: str, schema: str, layer: str, **meta: Any) -> dict[str, Any]:
    return {
        "name": name,
        "schema": schema,
        "resource_type": "model",
        "fqn": ["shopwright", layer, name],
        "config": {"meta": meta},
    }


def build(folder: Path, *rows: tuple[str, str, str]) -> DbtRun:
    """A finished build with one cut mart, one empty mart and two models of held rows."""
    folder.mkdir()
    models = [
        model("fct_orders", "core", "marts", parts_by="strftime(order_date, '%Y-%m')", order_by=["order_id"]),
        model("dim_products", "core", "marts", order_by=["product_id"]),
        model("int_orders__held", "intermediate", "intermediate"),
        model("int_order_lines__held", "intermediate", "intermediate"),
    ]
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"nodes": {each["name"]: each for each in models}}))
    with duckdb.connect(str(folder / "scratch.duckdb")) as database:
        database.execute("set TimeZone = 'UTC'")
        database.execute("create schema core")
        database.execute("create schema intermediate")
        database.execute("create table core.fct_orders (order_id varchar, order_date date, ordered_at timestamptz)")
        database.executemany("insert into core.fct_orders values (?, ?, ?)", rows)
        database.execute("create table core.dim_products (product_id varchar)")
        database.execute("create table intermediate.int_orders__held as select 'unknown_customer' as held_reason")
        database.execute(
            "create table intermediate.int_order_lines__held as "
            "select unnest(['unknown_product', 'unknown_order', 'unknown_product']) as held_reason"
        )
    return DbtRun(folder / "scratch.duckdb", manifest)


ROW_A = ("a", "2017-01-31", "2017-01-31 12:00:00+00")
ROW_B = ("b", "2017-01-01", "2017-01-01 12:00:00+00")
ROW_C = ("c", "2017-02-01", "2017-02-01 12:00:00+00")


def test_equal_rows_give_equal_parts_whatever_their_order(tmp_path: Path) -> None:
    store = VersionStore(tmp_path / "marts")
    first = write_mart_parts(build(tmp_path / "first", ROW_A, ROW_B, ROW_C), store)
    second = write_mart_parts(build(tmp_path / "second", ROW_C, ROW_B, ROW_A), store)
    assert first == second
    assert [(part.table, part.partition, part.rows) for part in sorted(first)] == [
        ("dim_products", "all", 0),
        ("fct_orders", "2017-01", 2),
        ("fct_orders", "2017-02", 1),
    ]
    assert store.current() is None


def test_a_new_month_leaves_the_parts_of_others_alone(tmp_path: Path) -> None:
    store = VersionStore(tmp_path / "marts")
    before = write_mart_parts(build(tmp_path / "before", ROW_A, ROW_B), store)
    after = write_mart_parts(build(tmp_path / "after", ROW_A, ROW_B, ROW_C), store)
    assert set(before) < set(after)


def test_timestamps_are_utc_microseconds(tmp_path: Path) -> None:
    store = VersionStore(tmp_path / "marts")
    parts = write_mart_parts(build(tmp_path / "build", ROW_A), store)
    orders = next(part for part in parts if part.table == "fct_orders")
    assert str(pq.read_schema(store.path_of(orders)).field("ordered_at").type) == "timestamp[us, tz=UTC]"


def test_held_rows_are_counted_per_reason_over_all_tables(tmp_path: Path) -> None:
    assert count_held(build(tmp_path / "build", ROW_A)) == {
        "unknown_customer": 1,
        "unknown_order": 1,
        "unknown_product": 2,
    }


def test_a_database_that_cannot_be_opened_is_the_tools_failure(tmp_path: Path) -> None:
    run = build(tmp_path / "build", ROW_A)
    run.database.write_bytes(b"not a database")
    with pytest.raises(ToolFailed, match=r"scratch\.duckdb"):
        count_held(run)


def add(run: DbtRun, row: tuple[str, str, str]) -> None:
    with duckdb.connect(str(run.database)) as database:
        database.execute("set TimeZone = 'UTC'")
        database.execute("insert into core.fct_orders values (?, ?, ?)", row)


def test_only_parts_whose_rows_changed_are_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VersionStore(tmp_path / "marts")
    run = build(tmp_path / "build", ROW_A, ROW_C)
    first = write_mart_parts(run, store)
    written = []
    write = store.write_part
    monkeypatch.setattr(store, "write_part", lambda *part: written.append(part[:2]) or write(*part))
    add(run, ROW_B)
    second = write_mart_parts(run, store)
    assert written == [("fct_orders", "2017-01")]
    assert len(set(first) & set(second)) == len(first) - 1
    assert set(second) == set(write_mart_parts(build(tmp_path / "whole", ROW_A, ROW_B, ROW_C), store))


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"damaged")])
def test_a_part_that_is_gone_or_damaged_is_written_again(tmp_path: Path, damage: Any) -> None:
    store = VersionStore(tmp_path / "marts")
    run = build(tmp_path / "build", ROW_A)
    parts = write_mart_parts(run, store)
    damage(store.path_of(parts[0]))
    fresh = VersionStore(tmp_path / "marts")
    assert write_mart_parts(run, fresh) == parts
    assert fresh.open_part(parts[0])
