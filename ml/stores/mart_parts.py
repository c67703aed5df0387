"""Marts of a finished dbt build, written as immutable parts.

How a mart is cut into parts and ordered is declared beside it in dbt (`config.meta.parts_by`, `config.meta.order_by`):
equal rows then give equal bytes, and parts that did not change are shared between versions. The database remembers
what it was when a part was written from it, so that a part is written only when its rows changed, whatever the build
took for affected.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ml.outcomes import DataFailed, ToolFailed
from ml.stores.dbt_run import DbtRun
from ml.stores.versions import Part, VersionStore

WHOLE = "all"
_REMEMBERED = """
create table if not exists build_state.mart_parts (
    mart varchar, partition varchar, content varchar, sha256 varchar, count_rows bigint, size_bytes bigint
)
"""


def write_mart_parts(run: DbtRun, store: VersionStore) -> list[Part]:
    """Write what changed of every mart of the build; nothing becomes visible to readers.

    Returns:
        All parts of the build, those that were there already included.
    """
    marts = [
        node
        for node in run.manifest["nodes"].values()
        if node["resource_type"] == "model" and node["fqn"][1] == "marts"
    ]
    with store.writing(), _open(run.database, read_only=False) as database:
        database.execute("create schema if not exists build_state")
        database.execute(_REMEMBERED)
        return [part for mart in marts for part in _parts_of(database, mart, store)]


def _parts_of(database: duckdb.DuckDBPyConnection, mart: Mapping[str, Any], store: VersionStore) -> Iterator[Part]:
    name, relation = mart["name"], f"{mart['schema']}.{mart['name']}"
    meta = mart["config"]["meta"]
    order = ", ".join(meta["order_by"]) if "order_by" in meta else "all"
    cut = meta.get("parts_by", f"'{WHOLE}'")
    mart_rows = database.table(relation)
    form = hashlib.sha256(json.dumps(_form(mart_rows, cut, order)).encode()).hexdigest()
    known = _remembered(database, name)
    # The sum does not depend on the order of rows; beside the count, 64 bits a row tell contents apart.
    columns = ", ".join(f'"{column}"' for column in mart_rows.columns)
    contents = mart_rows.aggregate(f"{cut} as part, count(*) || ':' || sum(hash({columns})) as content").order("part")
    # A mart without rows is one empty part, so that readers find its columns.
    for partition, measured in contents.fetchall() or [(WHOLE, "0")]:
        content = f"{form}:{measured}"
        part = known.get((partition, content))
        if part is None or not _is_whole(store, part):
            rows = mart_rows.filter(f"{cut} = '{partition}'").order(order).to_arrow_table()
            part = store.write_part(name, partition, rows)
            _remember(database, part, content)
        yield part


def _form(rows: duckdb.DuckDBPyRelation, cut: str, order: str) -> list[str]:
    """What a part's bytes depend on beside its rows."""
    types = [f"{column} {kind}" for column, kind in zip(rows.columns, rows.types, strict=True)]
    return [cut, order, duckdb.__version__, pa.__version__, *types]


def _remembered(database: duckdb.DuckDBPyConnection, mart: str) -> dict[tuple[str, str], Part]:
    query = "select partition, content, sha256, count_rows, size_bytes from build_state.mart_parts where mart = ?"
    found = database.execute(query, [mart]).fetchall()
    return {(partition, content): Part(mart, partition, *rest) for partition, content, *rest in found}


def _remember(database: duckdb.DuckDBPyConnection, part: Part, content: str) -> None:
    database.execute("begin")
    database.execute(
        "delete from build_state.mart_parts where mart = ? and partition = ?", [part.table, part.partition]
    )
    database.execute(
        "insert into build_state.mart_parts values (?, ?, ?, ?, ?, ?)",
        [part.table, part.partition, content, part.sha256, part.rows, part.size_bytes],
    )
    database.execute("commit")


def _is_whole(store: VersionStore, part: Part) -> bool:
    """Whether the part is still in the store, undamaged."""
    try:
        store.open_part(part)
    except DataFailed:
        return False
    return True


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
def _open(path: Path, *, read_only: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        database = duckdb.connect(str(path), read_only=read_only, config={"threads": 2, "memory_limit": "2GB"})
    except duckdb.Error as error:
        raise ToolFailed(f"{path.name}: cannot be opened after the build") from error
    with database:
        database.execute("set TimeZone = 'UTC'")
        yield database
