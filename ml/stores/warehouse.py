"""The warehouse: marts are built in a scratch database, staged, judged, and published as versions of Parquet parts.

A build is staged under its partition (`warehouse/staged/<day>.json`), so that builds of several partitions can be on
their way at once, as in a backfill. Each knows the version that it began from; what was overtaken is not published.
"""

import importlib.metadata
import json
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import duckdb

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, wall_clock
from ml.stores.column_fingerprints import known_or_new_fingerprints
from ml.stores.dbt_run import build_scratch
from ml.stores.durable import exclusive_lock, storage_named, storage_refusal, write_durably
from ml.stores.fingerprints import feature_fingerprints
from ml.stores.mart_parts import count_held, write_mart_parts
from ml.stores.raw import RawStore
from ml.stores.version_history import line_of
from ml.stores.versions import Part, StaleWriter, Version, VersionStore

_STAGED = "staged"
_STAGED_KEPT = timedelta(days=7)
_OPEN_ATTEMPTS = 3


class StaleBuild(ToolFailed):
    """Another build was published since this one began: build the partition again."""


@dataclass(frozen=True)
class Marts:
    """One version of the marts, published or staged.

    While one that `open_marts` gave, or a connection of it, is in use, its files stay, however many versions follow.
    """

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
        if self.version.id != _STAGED:
            weakref.finalize(connection, os.close, self.store.hold(self.version))
        return connection


@dataclass(frozen=True)
class Staged:
    """A build that waits to be judged and published.

    Attributes:
        expected_parent: The version that was current when the build began.
        held: Rows that wait for their customer, order or product, per reason.
        judged: The marts gate let it pass.
        published: The version that it became.
    """

    partition: date
    expected_parent: str | None
    parts: tuple[Part, ...]
    lineage: dict[str, Any]
    held: dict[str, int]
    judged: bool = False
    published: str | None = None

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
        return _open_current(store)
    if version_id not in {version.id for version in store.versions()}:
        raise DataFailed(
            f"marts version {version_id} is not kept; `shopwright warehouse versions` lists those that are"
        )
    return _held(store, store.get(version_id))


def _open_current(store: VersionStore) -> Marts:
    for attempt in range(1, _OPEN_ATTEMPTS + 1):
        version = store.current()
        if version is None:
            raise DataFailed("no marts are published yet; run `shopwright warehouse build`, `gate` and `publish`")
        try:
            return _held(store, version)
        except DataFailed:  # removed between the two; the pointer has moved on
            if attempt == _OPEN_ATTEMPTS:
                raise
    raise AssertionError("not reached")


def _held(store: VersionStore, version: Version) -> Marts:
    marts = Marts(store, version)
    weakref.finalize(marts, os.close, store.hold(version))
    return marts


def stage_marts(settings: Settings, partition: date) -> Staged:
    """Build all marts up to a shop day and stage them; readers see nothing of it.

    The build covers the newest of `partition` and what is published, so that days may be built in any order.

    Raises:
        DataFailed: There is no raw data, a raw file is damaged, or a test or contract failed.
        ToolFailed: dbt or DuckDB could not do the work, or the system does not store the bytes.
    """
    store = marts_store(settings)
    with _building(store):
        _forget_staged(settings, partition)
        current = store.current()
        target_day = max(partition, Marts(store, current).target_day) if current else partition
        raw = RawStore(settings).select_batches(target_day)  # opens, and so verifies, what dbt will read
        if raw is None or not raw.paths["orders"]:
            raise DataFailed(f"no raw orders up to {target_day}; run `shopwright ingest` first")
        run = build_scratch(settings, raw.version.id, target_day)
        fingerprints = feature_fingerprints(run.manifest)
        published = current.lineage if current else {}
        lineage = {
            "shop_id": settings.shop_id,
            "target_day": target_day.isoformat(),
            "raw_version": raw.version.id,
            "fingerprints": fingerprints,
            "column_fingerprints": known_or_new_fingerprints(run.manifest, fingerprints, published),
            "dbt": importlib.metadata.version("dbt-core"),
        }
        parts = tuple(sorted(write_mart_parts(run, store)))
        staged = Staged(partition, current.id if current else None, parts, lineage, count_held(run))
        write_staged(settings, staged)
        return staged


@contextmanager
def _building(store: VersionStore) -> Iterator[None]:
    """One build at a time. It may use parts that it found in the store: until they are staged, `writing` keeps them."""
    with storage_named("warehouse"), exclusive_lock(store.root.parent / ".build.lock"), store.writing():
        try:
            yield
        except duckdb.IOException as error:
            if (reason := storage_refusal(str(error))) is None:
                raise
            raise ToolFailed(f"the scratch database cannot be written: {reason}; make room and build again") from error


def open_staged(settings: Settings, partition: date) -> tuple[Staged, Marts]:
    """The build of a partition that waits, with its marts.

    Raises:
        ToolFailed: No build of this partition waits.
    """
    staged = _read_staged(_staged_path(settings, partition))
    if staged is None:
        raise ToolFailed(f"no build of {partition} waits; run `shopwright warehouse build --day {partition}` first")
    version = Version(_STAGED, 0, staged.expected_parent, staged.parts, staged.lineage)
    return staged, Marts(marts_store(settings), version)


def mark_judged(settings: Settings, staged: Staged) -> None:
    """Note that the marts gate let the build pass.

    Raises:
        ToolFailed: The partition was built again meanwhile: what waits now was not judged.
    """
    with _staged_lock(settings):
        waiting = _read_staged(_staged_path(settings, staged.partition))
        if waiting is None or replace(waiting, judged=False) != replace(staged, judged=False):
            raise ToolFailed(f"{staged.partition} was built again while it was judged; judge the new build")
        _write_staged(settings, replace(staged, judged=True))


def publish_staged(settings: Settings, partition: date) -> Version:
    """Make the judged build what readers see, and return what they see. Publishing it again changes nothing.

    Raises:
        DataFailed: The marts gate has not let the build pass, or it is what an operator rolled back from.
        StaleBuild: Another build was published since this one began.
        ToolFailed: No build of this partition waits, or the system does not store the bytes.
    """
    staged, _ = open_staged(settings, partition)
    if not staged.judged:
        raise DataFailed(f"the build of {partition} has not passed the marts gate")
    store = marts_store(settings)
    current = store.current()
    if current is not None and _is_in(store, current, staged):
        _mark_published(settings, staged, current)
        return current
    _refuse_withdrawn(store, staged)
    try:
        version = store.publish(staged.parts, staged.lineage, staged.expected_parent)
    except StaleWriter as error:
        raise StaleBuild(f"{error}; build {partition} again") from error
    _mark_published(settings, staged, version)
    store.prune(settings.keep_versions, lambda: _waiting_parts(settings))
    return version


def _is_in(store: VersionStore, current: Version, staged: Staged) -> bool:
    """Whether readers see the build already: as the current version, or below later ones that began from it."""
    if staged.published is not None or _same_substance(current, staged):
        return True
    if staged.expected_parent == current.id:
        return False
    since = takewhile(lambda version: version.id != staged.expected_parent, line_of(store, current))
    return any(_same_substance(version, staged) for version in since)


def _refuse_withdrawn(store: VersionStore, staged: Staged) -> None:
    for version_id in store.withdrawn():
        if _same_substance(store.get(version_id), staged):
            raise DataFailed(
                f"the build of {staged.partition} equals marts {version_id}, which was rolled back; mend the data or "
                f"the model first, or take it back by `shopwright warehouse rollback --to {version_id}`"
            )


def _same_substance(version: Version, staged: Staged) -> bool:
    """Whether a version holds just what is staged, though perhaps from a raw version that has more days by now."""
    differing = {"raw_version"}
    kept = {name: value for name, value in version.lineage.items() if name not in differing}
    wanted = {name: value for name, value in staged.lineage.items() if name not in differing}
    return set(version.parts) == set(staged.parts) and kept == wanted


def _staged_dir(settings: Settings) -> Path:
    return settings.shop_dir / "warehouse" / "staged"


def _staged_path(settings: Settings, partition: date) -> Path:
    return _staged_dir(settings) / f"{partition}.json"


@contextmanager
def _staged_lock(settings: Settings) -> Iterator[None]:
    with storage_named("warehouse"), exclusive_lock(_staged_dir(settings) / ".lock"):
        yield


def write_staged(settings: Settings, staged: Staged) -> None:
    with _staged_lock(settings):
        _write_staged(settings, staged)


def _write_staged(settings: Settings, staged: Staged) -> None:
    content = {**asdict(staged), "partition": staged.partition.isoformat()}
    write_durably(_staged_path(settings, staged.partition), json.dumps(content, indent=1).encode())


def _mark_published(settings: Settings, staged: Staged, version: Version) -> None:
    if staged.published is None:
        with _staged_lock(settings):
            if _read_staged(_staged_path(settings, staged.partition)) == staged:
                _write_staged(settings, replace(staged, published=version.id))


def _read_staged(path: Path) -> Staged | None:
    if not path.exists():
        return None
    content = json.loads(path.read_bytes())
    content["partition"] = date.fromisoformat(content["partition"])
    content["parts"] = tuple(Part(**part) for part in content["parts"])
    return Staged(**content)


def _waiting_parts(settings: Settings) -> Iterator[Part]:
    """Parts of the builds that wait to be judged or published."""
    for path in _staged_dir(settings).glob("*.json"):
        staged = _read_staged(path)
        if staged is not None and staged.published is None:
            yield from staged.parts


def _forget_staged(settings: Settings, partition: date) -> None:
    """Forget the build of a partition that is built again, and those that nobody finished for days."""
    with _staged_lock(settings):
        _staged_path(settings, partition).unlink(missing_ok=True)
        forgotten_before = (wall_clock() - _STAGED_KEPT).timestamp()
        for path in _staged_dir(settings).glob("*.json"):
            if path.stat().st_mtime < forgotten_before:
                path.unlink()
        for unfinished in _staged_dir(settings).glob(".*.json.*"):  # of a killed process: writers hold the lock
            unfinished.unlink()
