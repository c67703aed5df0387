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
    partitions = database.sql(f"select distinct {cut} as part from {relation} order by part").fetchall()
    for (partition,) in partitions or [(WHOLE,)]:
        rows = database.sql(
            f"select * from {relation} where {cut} = $part or $part = '{WHOLE}' order by {order}",
            params={"part": str(partition)},
        ).to_arrow_table()
        yield store.write_part(name, str(partition), rows)


def count_held(run: DbtRun) -> dict[str, int]:
    """Rows that wait for something to be reported, per reason, over all `__held` models of the build."""
    held = [node for node in run.manifest["nodes"].values() if node["name"].endswith("__held")]
    counts: dict[str, int] = {}
    with _open(run.database) as database:
        for node in held:
            query = f"select held_reason, count(*) from {node['schema']}.{node['name']} group by all order by all"
            for reason, count in database.sql(query).fetchall():
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
