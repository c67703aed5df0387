"""The end state of a shop, as text to compare two installations by. Batches and versions differ; rows may not."""

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.settings import Settings, get_settings
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import TableKind
from ml.stores.online_features import read_online
from ml.stores.versions import VersionStore
from ml.stores.warehouse import marts_store

# Which batch brought a row, and so how many batches there were, depends on how the days were loaded.
_ABOUT_BATCHES = ("batches", "set_aside_order_lines")
_CONSERVATION = "fct_row_conservation"


def end_state(settings: Settings) -> dict[str, Any]:
    return {
        "raw": _raw(settings),
        "quarantine": _quarantine(settings),
        "marts": _marts(settings),
        "online": _online(settings),
    }


def _raw(settings: Settings) -> dict[str, Any]:
    store = VersionStore(settings.shop_dir / "raw")
    version = store.current()
    assert version is not None, "nothing was published to raw"
    state = {}
    for table in version.tables():
        if table in _ABOUT_BATCHES:
            continue
        hashes = store.read(version, table, ["_row_hash"])["_row_hash"].to_pylist()
        # An unchanged snapshot of an entity table may have come once or on several days.
        rows = hashes if CONTRACT[table].kind is TableKind.EVENT else set(hashes)
        state[table] = {"rows": len(rows), "sha256": _digest(sorted(rows))}
    return state


def _quarantine(settings: Settings) -> dict[str, list[str]]:
    state: dict[str, list[str]] = {}
    for path in sorted((settings.shop_dir / "quarantine").glob("*/*/*.parquet")):
        table, rule = path.parts[-3], path.stem
        rows = pq.read_table(path)
        keys = rows.select([name for name in CONTRACT[table].key if name in rows.column_names]).to_pylist()
        state.setdefault(f"{table}: {rule}", []).extend(sorted(json.dumps(key) for key in keys))
    return {name: sorted(keys) for name, keys in state.items()}


def _marts(settings: Settings) -> dict[str, Any]:
    store = marts_store(settings)
    version = store.current()
    assert version is not None, "no marts were published"
    state: dict[str, Any] = {
        f"{part.table} {part.partition}": part.sha256 for part in version.parts if part.table != _CONSERVATION
    }
    state[_CONSERVATION] = _sums(store.read(version, _CONSERVATION))
    return state


def _sums(conservation: pa.Table) -> dict[str, dict[str, int]]:
    """Counts per event table; of an entity table, each unchanged snapshot counts again."""
    sums: dict[str, dict[str, int]] = {}
    for row in conservation.to_pylist():
        if CONTRACT[row["table_name"]].kind is TableKind.EVENT:
            of_table = sums.setdefault(row["table_name"], {})
            for name, value in row.items():
                if name.startswith("rows_"):
                    of_table[name] = of_table.get(name, 0) + value
    return sums


def _online(settings: Settings) -> dict[str, Any]:
    store = marts_store(settings)
    version = store.current()
    assert version is not None
    customers = sorted(store.read(version, "dim_customers", ["customer_id"])["customer_id"].to_pylist())
    values = read_online(settings, customers)
    return {"customers": len(customers), "sha256": _digest(values.to_csv().splitlines())}


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(end_state(get_settings())))
