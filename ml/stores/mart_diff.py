"""What an edited dbt project would change in the published marts, found without publishing anything.

The project is built into a temporary state folder that shares nothing with the shop's but its raw store, from the raw
version and up to the day that the published marts were built from: what differs is then the edit's doing.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.column_fingerprints import column_fingerprints
from ml.stores.dbt_run import DBT_PROJECT_DIR, DbtRun, build_scratch
from ml.stores.fingerprints import feature_fingerprints
from ml.stores.raw import RawStore
from ml.stores.warehouse import Marts, open_marts

_NUMBERS = ("INT", "DOUBLE", "FLOAT", "DECIMAL", "REAL")
_KEY_TESTS = ("unique", "unique_together")


@dataclass(frozen=True)
class ColumnChange:
    """How a column's values differ.

    Attributes:
        share: Of the rows that both builds have; None where the column is in one build only.
        nulls: Share of nulls, published and edited; None where the column is absent.
        means: Mean, published and edited; None where it is absent or no number.
    """

    name: str
    share: float | None
    nulls: tuple[float | None, float | None]
    means: tuple[float | None, float | None]


@dataclass(frozen=True)
class MartDiff:
    """How a mart differs.

    Attributes:
        key: Columns by which rows were matched; empty when rows were compared as a whole.
        rows: Published and edited; None where there is no such mart.
        changed: Rows of both builds that differ in a column; 0 without a key.
        retyped: Column -> "type -> type".
    """

    name: str
    key: tuple[str, ...]
    rows: tuple[int | None, int | None]
    added: int
    removed: int
    changed: int
    columns_added: tuple[str, ...] = ()
    columns_removed: tuple[str, ...] = ()
    retyped: Mapping[str, str] | None = None
    columns: tuple[ColumnChange, ...] = ()

    @property
    def is_same(self) -> bool:
        has_other_columns = self.columns_added or self.columns_removed or self.retyped
        return None not in self.rows and not (self.added or self.removed or self.changed or has_other_columns)


@dataclass(frozen=True)
class MartsDiff:
    """How an edited project differs from the published marts.

    Attributes:
        features: Feature marts whose definition differs, added and removed ones included -> its new fingerprint.
        feature_columns: Features ("<mart>.<column>") of those whose own definition differs.
    """

    published: str
    target_day: date
    raw_version: str
    marts: tuple[MartDiff, ...]
    features: Mapping[str, str | None]
    feature_columns: tuple[str, ...]


def diff_marts(settings: Settings, project_dir: Path = DBT_PROJECT_DIR, day: date | None = None) -> MartsDiff:
    """Build a project and compare it with the published marts.

    Args:
        day: Build up to this shop day from the newest raw version, so that new data shows too; by default both are
            those of the published marts.

    Raises:
        DataFailed: Nothing is published, or the edited project fails a test or contract of its own.
        ToolFailed: dbt or DuckDB could not do the work.
    """
    published = open_marts(settings)
    target_day, raw_version = _built_from(settings, published, day)
    with _apart(settings) as elsewhere:
        run = build_scratch(elsewhere, raw_version, target_day, project_dir)
        with published.connect() as connection:
            connection.execute(f"set temp_directory = '{elsewhere.shop_dir / 'spill'}'")
            connection.execute(f"attach '{run.database}' as edited (read_only)")
            marts = tuple(_diff(connection, published, run, name) for name in _names(published, run))
        features = _changes(published.version.lineage["fingerprints"], feature_fingerprints(run.manifest))
        columns = _changed_columns(published, run, features)
    return MartsDiff(published.version.id, target_day, raw_version, marts, features, columns)


def _built_from(settings: Settings, published: Marts, day: date | None) -> tuple[date, str]:
    if day is None:
        return published.target_day, published.version.lineage["raw_version"]
    raw = RawStore(settings).select_batches(day)
    if raw is None:
        raise DataFailed("there is no raw data; run `shopwright ingest` first")
    return day, raw.version.id


@contextmanager
def _apart(settings: Settings) -> Iterator[Settings]:
    """Settings of a temporary state folder that has the shop's raw store and nothing else."""
    with tempfile.TemporaryDirectory(prefix="shopwright-diff-") as folder:
        apart = settings.model_copy(update={"state_dir": Path(folder)})
        apart.__dict__.pop("shop_dir", None)  # cached on the original
        apart.shop_dir.mkdir(parents=True)
        (apart.shop_dir / "raw").symlink_to(settings.shop_dir / "raw")
        yield apart


def _names(published: Marts, run: DbtRun) -> list[str]:
    return sorted({*published.version.tables(), *_built(run)})


def _built(run: DbtRun) -> dict[str, Mapping[str, Any]]:
    nodes = run.manifest["nodes"].values()
    return {node["name"]: node for node in nodes if node["resource_type"] == "model" and node["fqn"][1] == "marts"}


def _changes(before: Mapping[str, str], edited: Mapping[str, str]) -> dict[str, str | None]:
    """Names whose fingerprint differs, with the new one."""
    return {name: edited.get(name) for name in sorted({*before, *edited}) if before.get(name) != edited.get(name)}


def _changed_columns(published: Marts, run: DbtRun, features: Mapping[str, str | None]) -> tuple[str, ...]:
    known: Mapping[str, str] = published.version.lineage.get("column_fingerprints", {})
    before = {name: each for name, each in known.items() if name.split(".")[0] in features}
    edited: dict[str, str] = {}
    for mart, fingerprint in features.items():
        if fingerprint is not None:
            edited |= column_fingerprints(run.manifest, mart)
    return tuple(_changes(before, edited))


def _diff(connection: duckdb.DuckDBPyConnection, published: Marts, run: DbtRun, name: str) -> MartDiff:
    node = _built(run).get(name)
    edited = f'edited."{node["schema"]}"."{name}"' if node else None
    if edited is None or name not in published.version.tables():
        count = _count(connection, edited or name)
        if edited is None:
            return MartDiff(name, (), (count, None), added=0, removed=count, changed=0)
        return MartDiff(name, (), (None, count), added=count, removed=0, changed=0)
    before, after = _types(connection, name), _types(connection, edited)
    common = [column for column in before if column in after]
    key = tuple(column for column in _key(run, str(node and node["unique_id"])) if column in common)
    rows = (_count(connection, name), _count(connection, edited))
    retyped = {column: f"{before[column]} -> {after[column]}" for column in common if before[column] != after[column]}
    if key:
        values = [column for column in common if column not in key]
        added, removed, changed, matched, *differing = _by_key(connection, name, edited, key, values, set(retyped))
    else:
        values, changed, matched, differing = common, 0, 0, []
        added, removed = _as_a_whole(connection, name, edited, common)
    shares = {column: count / matched for column, count in zip(values, differing, strict=False) if count}
    gone, new = [c for c in before if c not in after], [c for c in after if c not in before]
    told = [column for column in [*common, *gone, *new] if column in {*shares, *retyped, *gone, *new}]
    columns = tuple(
        ColumnChange(column, shares.get(column, 0.0 if column in common else None), *_moments(pair))
        for column in told
        for pair in [(_measure(connection, name, before, column), _measure(connection, edited, after, column))]
    )
    return MartDiff(name, key, rows, added, removed, changed, tuple(new), tuple(gone), retyped, columns)


def _by_key(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    edited: str,
    key: tuple[str, ...],
    values: list[str],
    retyped: set[str],
) -> list[int]:
    """Rows added, removed, changed and matched, then per value column the matched rows in which it differs."""
    differs = [
        f'p."{column}"::varchar is distinct from e."{column}"::varchar'
        if column in retyped
        else f'p."{column}" is distinct from e."{column}"'
        for column in values
    ]
    both = "p._here and e._here"
    counts = [
        "count(*) filter (p._here is null)",
        "count(*) filter (e._here is null)",
        f"count(*) filter ({both} and ({' or '.join(differs) or 'false'}))",
        f"count(*) filter ({both})",
        *(f"count(*) filter ({both} and {condition})" for condition in differs),
    ]
    matching = " and ".join(f'p."{column}" is not distinct from e."{column}"' for column in key)
    return _one(
        connection,
        f"select {', '.join(counts)} from (select *, true as _here from {name}) as p "  # noqa: S608 - names of our own
        f"full join (select *, true as _here from {edited}) as e on {matching}",
    )


def _as_a_whole(connection: duckdb.DuckDBPyConnection, name: str, edited: str, columns: list[str]) -> tuple[int, int]:
    chosen = ", ".join(f'"{column}"' for column in columns)
    published, build = (f"(select {chosen} from {relation})" for relation in (name, edited))  # noqa: S608 - our own
    added = _one(connection, f"select count(*) from ({build} except all {published})")[0]  # noqa: S608 - our own
    removed = _one(connection, f"select count(*) from ({published} except all {build})")[0]  # noqa: S608 - our own
    return added, removed


def _key(run: DbtRun, model: str) -> list[str]:
    """Columns that the project itself tests to be unique together in a model."""
    for node in run.manifest["nodes"].values():
        test = node.get("test_metadata") or {}
        if test.get("name") in _KEY_TESTS and node.get("attached_node") == model:
            arguments = test["kwargs"]
            return list(arguments.get("columns") or [arguments["column_name"]])
    return []


def _measure(
    connection: duckdb.DuckDBPyConnection, relation: str, types: Mapping[str, str], column: str
) -> tuple[float | None, float | None]:
    """Share of nulls and mean of a column."""
    if column not in types:
        return None, None
    is_number = any(kind in types[column] for kind in _NUMBERS)
    mean = f'avg("{column}")' if is_number else "null"
    query = f'select avg(("{column}" is null)::int), {mean} from {relation}'  # noqa: S608 - names of our own marts
    nulls, average = _one(connection, query)
    return nulls, average


def _moments(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    (nulls_before, mean_before), (nulls_after, mean_after) = pair
    return (nulls_before, nulls_after), (mean_before, mean_after)


def _types(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    described = connection.execute(f"describe select * from {relation}").fetchall()  # noqa: S608 - our own marts
    return {row[0]: row[1] for row in described}


def _count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    return int(_one(connection, f"select count(*) from {relation}")[0])  # noqa: S608 - our own marts


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> list[Any]:
    return list(connection.execute(query).fetchall()[0])
