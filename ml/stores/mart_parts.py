"""Marts of a finished dbt build, written as immutable parts.

How a mart is cut into parts and ordered is declared beside it in dbt (`config.meta.parts_by`, `config.meta.order_by`):
equal rows then give equal bytes, and parts that did not change are shared between versions.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from ml.outcomes import ToolFailed
from ml.stores.dbt_run import DbtRun
from ml.stores.versions import Part, VersionStore

WHOLE = "all"


def write_mart_parts(run: DbtRun, store: VersionStore) -> list[Part]:
    """Write every mart of the build; nothing becomes visible to readers."""
    marts = [
        node
        for node in run.manifest["nodes"].values()
        if node["resource_type"] == "model" and node["fqn"][1] == "marts"
    ]
    with _open(run.database) as database:
        return [part for mart in marts for part in _parts_of(database, mart, store)]


def _parts_of(database: duckdb.DuckDBPyConnection, mart: Mapping[str, Any], store: VersionStore) -> Iterator[Part]:
    name, relation = mart["name"], f"{mart['schema']}.{mart['name']}"
    meta = mart["config"]["meta"]
    order = ", ".join(meta["order_by"]) if "order_by" in meta else "all"
    cut = meta.get("parts_by", f"'{WHOLE}'")
    mart_rows = database.table(relation)
    partitions = mart_rows.project(f"{cut} as part").distinct().order("part").fetchall()
    # A mart without rows is one empty part, so that readers find its columns.
    for (partition,) in partitions or [(WHOLE,)]:
        rows = mart_rows.filter(f"{cut} = '{partition}'").order(order).to_arrow_table()
        yield store.write_part(name, partition, rows)


def count_held(run: DbtRun) -> dict[str, int]:
    """Rows that wait for something to be reported, per reason, over all `__held` models of the build."""
    held = [node for node in run.manifest["nodes"].values() if node["name"].endswith("__held")]
    counts: dict[str, int] = {}
    with _open(run.database) as database:
        for node in held:
            rows = database.table(f"{node['schema']}.{node['name']}")
            for reason, count in rows.aggregate("held_reason, count(*)").order("held_reason").fetchall():
                counts[reason] = counts.get(reason, 0) + count
    return counts


@contextmanager
def _open(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        database = duckdb.connect(str(path), read_only=True, config={"threads": 2, "memory_limit": "2GB"})
    except duckdb.Error as error:
        raise ToolFailed(f"{path.name}: cannot be opened after the build") from error
    with database:
        database.execute("set TimeZone = 'UTC'")
        yield database
