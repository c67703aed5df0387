"""Immutable versions of Parquet parts; moving one pointer file is the only commit.

Layout of a store: `parts/<sha256>.parquet`, `versions/<id>.json` (the manifest), `CURRENT`
(the id of the version that readers see). Parts are named by their content, so that versions share
what did not change and writing the same content twice changes nothing.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.outcomes import DataFailed
from ml.settings import wall_clock
from ml.stores.durable import exclusive_lock, sha256_file, sync_file, sync_folder, write_durably

# A writer has this long between its first part and its publication before `prune` may take the part for rubbish.
_UNPUBLISHED_GRACE_SECONDS = 3600


class StaleWriter(Exception):
    """Another writer published first; read the current version again and decide anew."""


@dataclass(frozen=True, order=True)
class Part:
    """One immutable Parquet file of one table.

    Attributes:
        partition: What the part covers within its table, as text (a day, a month, a batch id).
    """

    table: str
    partition: str
    sha256: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Version:
    """A manifest: which parts make up each table, and where they came from.

    Attributes:
        number: Position in the order of publication, from 1.
        lineage: What the version was made of; part of its identity, so it holds no wall-clock time.
    """

    id: str
    number: int
    parent: str | None
    parts: tuple[Part, ...]
    lineage: dict[str, Any] = field(default_factory=dict)

    def tables(self) -> tuple[str, ...]:
        return tuple(sorted({part.table for part in self.parts}))

    def parts_of(self, table: str) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.table == table)


def _content_digest(parts: tuple[Part, ...], lineage: dict[str, Any]) -> str:
    content = {"parts": [asdict(part) for part in parts], "lineage": lineage}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


class VersionStore:
    """A folder of versions with one pointer.

    Args:
        root: Folder of the store; made on the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()

    def path_of(self, part: Part) -> Path:
        return self.root / "parts" / f"{part.sha256}.parquet"

    def write_part(self, table: str, partition: str, rows: pa.Table) -> Part:
        """Write rows as an immutable part. It becomes visible to readers only with `publish`."""
        temporary = self._temporary_part()
        try:
            pq.write_table(
                rows, temporary, compression="zstd", coerce_timestamps="us", allow_truncated_timestamps=False
            )
            return self.adopt_part(table, partition, temporary)
        finally:
            temporary.unlink(missing_ok=True)

    def adopt_part(self, table: str, partition: str, file: Path) -> Part:
        """Move a finished Parquet file of the same file system into the store as a part."""
        metadata = pq.read_metadata(file)
        part = Part(table, partition, sha256_file(file), metadata.num_rows, file.stat().st_size)
        target = self.path_of(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        sync_file(file)
        file.replace(target)
        sync_folder(target.parent)
        return part

    def _temporary_part(self) -> Path:
        folder = self.root / "parts"
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".part-", suffix=".tmp")
        os.close(descriptor)
        return Path(name)

    def publish(self, parts: Iterable[Part], lineage: dict[str, Any], expected_parent: str | None) -> Version:
        """Make a version of these parts current. Publishing what is already current changes nothing.

        Args:
            parts: All parts of the version, shared ones included.
            lineage: What it was made of (JSON; no wall-clock time).
            expected_parent: The version that the writer started from: the fence against two writers.

        Raises:
            StaleWriter: The current version is neither `expected_parent` nor equal to this one.
        """
        ordered = tuple(sorted(parts))
        lineage = json.loads(json.dumps(lineage))  # as it will be read back, so that the digest can be checked
        digest = _content_digest(ordered, lineage)
        with exclusive_lock(self.root / ".lock"):
            current = self.current()
            if current is not None and current.id.endswith(f"-{digest}"):
                return current
            current_id = current.id if current else None
            if current_id != expected_parent:
                raise StaleWriter(f"{self.root.name}: expected {expected_parent} to be current, found {current_id}")
            # Numbers come from file names: a damaged manifest of an older version must not stop the next one.
            number = 1 + max((int(path.stem[1:].split("-")[0]) for path in self._manifests()), default=0)
            version = Version(f"v{number:06d}-{digest}", number, current_id, ordered, lineage)
            manifest = json.dumps(asdict(version), sort_keys=True, indent=1).encode()
            write_durably(self._manifest_path(version.id), manifest)
            self._point_at(version.id, manifest)
            return version

    def _manifest_path(self, version_id: str) -> Path:
        return self.root / "versions" / f"{version_id}.json"

    def _manifests(self) -> list[Path]:
        return sorted(self.root.glob("versions/v*.json"))

    def _point_at(self, version_id: str, manifest: bytes) -> None:
        pointer = {"version": version_id, "manifest_sha256": hashlib.sha256(manifest).hexdigest()}
        write_durably(self.root / "CURRENT", json.dumps(pointer).encode())

    def current(self) -> Version | None:
        """The version that readers see, or None before the first publication."""
        pointer_path = self.root / "CURRENT"
        if not pointer_path.exists():
            return None
        try:
            pointer = json.loads(pointer_path.read_bytes())
            path, expected = self._manifest_path(pointer["version"]), pointer["manifest_sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataFailed(f"{pointer_path}: the pointer cannot be read; restore it") from error
        if not path.exists() or sha256_file(path) != expected:
            raise DataFailed(f"{path}: the manifest is missing or does not match the pointer; restore it or roll back")
        return self.get(pointer["version"])

    def get(self, version_id: str) -> Version:
        """A kept version.

        Raises:
            DataFailed: There is no such version, or its manifest is not what was published.
        """
        path = self._manifest_path(version_id)
        try:
            raw = json.loads(path.read_bytes())
            parts = tuple(Part(**part) for part in raw["parts"])
            version = Version(raw["id"], raw["number"], raw["parent"], parts, raw["lineage"])
        except FileNotFoundError:
            raise DataFailed(f"{path}: the version is not kept") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataFailed(f"{path}: the manifest cannot be read; restore it") from error
        digest = _content_digest(version.parts, version.lineage)
        if version.id != version_id or not version_id.endswith(f"-{digest}"):
            raise DataFailed(f"{path}: the manifest does not match its version's id; restore it")
        return version

    def versions(self) -> list[Version]:
        """All kept versions, oldest first."""
        return [self.get(path.stem) for path in self._manifests()]

    def point_to(self, version_id: str) -> Version:
        """Make a kept version current again (rollback)."""
        with exclusive_lock(self.root / ".lock"):
            version = self.get(version_id)
            self._point_at(version_id, self._manifest_path(version_id).read_bytes())
            return version

    def open_part(self, part: Part) -> Path:
        """Path of a part whose bytes match the manifest; hashed on this process's first use.

        Raises:
            DataFailed: The file is missing or its bytes changed.
        """
        path = self.path_of(part)
        if part.sha256 not in self._verified:
            if not path.exists():
                raise DataFailed(f"{path}: part of table {part.table} is missing")
            if sha256_file(path) != part.sha256:
                raise DataFailed(f"{path}: bytes of table {part.table} do not match the manifest's sha256")
            self._verified.add(part.sha256)
        return path

    def open_table(self, version: Version, table: str) -> list[Path]:
        """Verified paths of a table's parts, for readers that take Parquet files."""
        return [self.open_part(part) for part in version.parts_of(table)]

    def read(self, version: Version, table: str, columns: list[str] | None = None) -> pa.Table:
        """A whole table of a version."""
        paths = self.open_table(version, table)
        if not paths:
            raise DataFailed(
                f"{self.root.name} {version.id} has no table {table}; it has {', '.join(version.tables())}"
            )
        return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])

    def scrub(self) -> list[str]:
        """Hash every part of every kept version; returns what is wrong, one line each."""
        problems = []
        parts: dict[str, Part] = {}
        try:
            self.current()
        except DataFailed as error:
            problems.append(f"current version: {error}")
        for path in self._manifests():
            try:
                parts |= {part.sha256: part for part in self.get(path.stem).parts}
            except DataFailed as error:
                problems.append(str(error))
        for part in parts.values():
            path = self.path_of(part)
            if not path.exists():
                problems.append(f"{path}: part of table {part.table} is missing")
            elif sha256_file(path) != part.sha256:
                problems.append(f"{path}: bytes of table {part.table} do not match the manifest's sha256")
        return problems

    def prune(self, keep: int) -> int:
        """Remove all but the newest `keep` versions, and parts that none of the rest needs.

        The current version is always kept.

        Returns:
            The number of files removed.
        """
        with exclusive_lock(self.root / ".lock"):
            current = self.current()
            versions = self.versions()
            kept = {version.id for version in versions[-keep:]} | ({current.id} if current else set())
            needed = {part.sha256 for version in versions if version.id in kept for part in version.parts}
            stale = [self._manifest_path(version.id) for version in versions if version.id not in kept]
            abandoned_before = wall_clock().timestamp() - _UNPUBLISHED_GRACE_SECONDS
            stale += [
                path
                for path in self.root.glob("parts/*")
                if path.stem not in needed and path.stat().st_mtime < abandoned_before
            ]
            for path in stale:
                path.unlink()
            return len(stale)
