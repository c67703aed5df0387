"""The warehouse: marts are built in a scratch database, staged, judged, and published as versions of Parquet parts."""

import importlib.metadata
import json
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.stores.dbt_run import build_scratch
from ml.stores.durable import exclusive_lock, write_durably
from ml.stores.fingerprints import feature_fingerprints
from ml.stores.mart_parts import count_held, write_mart_parts
from ml.stores.raw import RawStore
from ml.stores.versions import Part, StaleWriter, Version, VersionStore

_STAGED = "staged"


@dataclass(frozen=True)
class Marts:
    """One version of the marts, published or staged."""

    store: VersionStore
    version: Version

    @cached_property
    def target_day(self) -> date:
        """The newest shop day that the marts cover."""
        return date.fromisoformat(self.version.lineage["target_day"])

    @property
    def as_of_date(self) -> date:
        """The shop day at whose start the newest feature rows hold: the day after the newest one covered."""
        return self.target_day + timedelta(days=1)

    def connect(self) -> duckdb.DuckDBPyConnection:
        """An in-memory database with one view per mart, over parts whose bytes match the manifest.

        Raises:
            DataFailed: A part is missing or its bytes changed.
        """
        connection = duckdb.connect(config={"threads": 2, "memory_limit": "3GB"})
        connection.execute("set TimeZone = 'UTC'")
        for table in self.version.tables():
            files = [str(path) for path in self.store.open_table(self.version, table)]
            connection.read_parquet(files).create_view(table)
        return connection


@dataclass(frozen=True)
class Staged:
    """A build that waits to be judged and published.

    Attributes:
        expected_parent: The version that was current when the build began.
        held: Rows that wait for their customer, order or product, per reason.
        judged: The marts gate let it pass.
    """

    partition: date
    expected_parent: str | None
    parts: tuple[Part, ...]
    lineage: dict[str, Any]
    held: dict[str, int]
    judged: bool = False

    def rows(self) -> dict[str, int]:
        """Rows per mart."""
        counts: dict[str, int] = {}
        for part in self.parts:
            counts[part.table] = counts.get(part.table, 0) + part.rows
        return counts


def marts_store(settings: Settings) -> VersionStore:
    return VersionStore(settings.shop_dir / "warehouse" / "marts")


def open_marts(settings: Settings, version_id: str | None = None) -> Marts:
    """The published marts, or a kept older version of them.

    Raises:
        DataFailed: Nothing is published yet, or the version is not kept.
    """
    store = marts_store(settings)
    if version_id is None:
        version = store.current()
        if version is None:
            raise DataFailed("no marts are published yet; run `shopwright warehouse build`, `gate` and `publish`")
        return Marts(store, version)
    if version_id not in {version.id for version in store.versions()}:
        raise DataFailed(
            f"marts version {version_id} is not kept; `shopwright warehouse versions` lists those that are"
        )
    return Marts(store, store.get(version_id))


def stage_marts(settings: Settings, partition: date) -> Staged:
    """Build all marts up to a shop day and stage them; readers see nothing of it.

    The build covers the newest of `partition` and what is published, so that days may be built in any order.

    Raises:
        DataFailed: There is no raw data, a raw file is damaged, or a test or contract failed.
        ToolFailed: dbt or DuckDB could not do the work.
    """
    store = marts_store(settings)
    with exclusive_lock(store.root.parent / ".build.lock"):
        _staged_path(settings).unlink(missing_ok=True)
        current = store.current()
        target_day = max(partition, Marts(store, current).target_day) if current else partition
        raw = RawStore(settings).select_batches(target_day)  # opens, and so verifies, what dbt will read
        if raw is None or not raw.paths["orders"]:
            raise DataFailed(f"no raw orders up to {target_day}; run `shopwright ingest` first")
        run = build_scratch(settings, raw.version.id, target_day)
        lineage = {
            "shop_id": settings.shop_id,
            "target_day": target_day.isoformat(),
            "raw_version": raw.version.id,
            "fingerprints": feature_fingerprints(run.manifest),
            "dbt": importlib.metadata.version("dbt-core"),
        }
        parts = tuple(sorted(write_mart_parts(run, store)))
        staged = Staged(partition, current.id if current else None, parts, lineage, count_held(run))
        write_staged(settings, staged)
        return staged


def open_staged(settings: Settings, partition: date) -> tuple[Staged, Marts]:
    """The build that waits, with its marts.

    Raises:
        ToolFailed: No build of this partition waits.
    """
    path = _staged_path(settings)
    staged = _read_staged(path) if path.exists() else None
    if staged is None or staged.partition != partition:
        raise ToolFailed(f"no build of {partition} waits; run `shopwright warehouse build --day {partition}` first")
    version = Version(_STAGED, 0, staged.expected_parent, staged.parts, staged.lineage)
    return staged, Marts(marts_store(settings), version)


def mark_judged(settings: Settings, staged: Staged) -> None:
    """Note that the marts gate let the build pass."""
    write_staged(settings, replace(staged, judged=True))


def publish_staged(settings: Settings, partition: date) -> Version:
    """Make the judged build what readers see. Publishing it again changes nothing.

    Raises:
        DataFailed: The marts gate has not let the build pass.
        ToolFailed: No build of this partition waits, or another build was published since it began.
    """
    staged, _ = open_staged(settings, partition)
    if not staged.judged:
        raise DataFailed(f"the build of {partition} has not passed the marts gate")
    store = marts_store(settings)
    current = store.current()
    if current is not None and _same_substance(current, staged):
        return current
    try:
        version = store.publish(staged.parts, staged.lineage, staged.expected_parent)
    except StaleWriter as error:
        raise ToolFailed(f"{error}; build {partition} again") from error
    store.prune(settings.keep_versions)
    return version


def _same_substance(version: Version, staged: Staged) -> bool:
    """Whether a version holds just what is staged, though perhaps from a raw version that has more days by now."""
    differing = {"raw_version"}
    kept = {name: value for name, value in version.lineage.items() if name not in differing}
    wanted = {name: value for name, value in staged.lineage.items() if name not in differing}
    return set(version.parts) == set(staged.parts) and kept == wanted


def _staged_path(settings: Settings) -> Path:
    return settings.shop_dir / "warehouse" / "staged.json"


def write_staged(settings: Settings, staged: Staged) -> None:
    content = {**asdict(staged), "partition": staged.partition.isoformat()}
    write_durably(_staged_path(settings), json.dumps(content, indent=1).encode())


def _read_staged(path: Path) -> Staged:
    content = json.loads(path.read_bytes())
    content["partition"] = date.fromisoformat(content["partition"])
    content["parts"] = tuple(Part(**part) for part in content["parts"])
    return Staged(**content)
