"""Immutable versions of Parquet parts; moving one pointer file is the only commit.

Layout of a store: `parts/<sha256>.parquet`, `versions/<id>.json` (the manifest), `CURRENT`
(the id of the version that readers see, and of those that were rolled back from). Parts are named
by their content, so that versions share what did not change and writing the same content twice
changes nothing. What may be removed is decided in ml/stores/version_history.py.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ml.outcomes import DataFailed
from ml.stores.durable import (
    exclusive_lock,
    sha256_file,
    share_file,
    shared_lock,
    storage_named,
    sync_file,
    sync_folder,
    write_durably,
)

# Parquet has nothing to gain from bytes of kilobytes, each unlike the others; and who reads them one group at a time
# holds no more of them than a group has.
_OPAQUE: Mapping[str, Any] = {"use_dictionary": False, "row_group_size": 200}


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


@dataclass(frozen=True)
class Pointer:
    """What `CURRENT` says.

    Attributes:
        withdrawn: Versions that an operator rolled back from.
    """

    version: str
    manifest_sha256: str
    withdrawn: tuple[str, ...] = ()


def number_of(version_id: str) -> int:
    """A version's position in the order of publication, from its id: manifests may be damaged, names are not."""
    return int(version_id[1:].split("-")[0])


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

    def writing(self) -> AbstractContextManager[None]:
        """While held by any process, `prune` removes no part of the store, published or not.

        Held by each write, and by a writer that goes on using parts which it found in the store.
        """
        return shared_lock(self.root / ".writers.lock")

    def write_part(self, table: str, partition: str, rows: pa.Table) -> Part:
        """Write rows as an immutable part. It becomes visible to readers only with `publish`.

        Raises:
            ToolFailed: The system does not store the bytes (a full disk, a read-only folder); it is named.
        """
        with storage_named(self.root.name), self.writing(), self._temporary_part() as temporary:
            layout = _OPAQUE if any(map(pa.types.is_binary, rows.schema.types)) else {}
            pq.write_table(
                rows, temporary, compression="zstd", coerce_timestamps="us", allow_truncated_timestamps=False, **layout
            )
            return self.adopt_part(table, partition, temporary)

    def adopt_part(self, table: str, partition: str, file: Path) -> Part:
        """Move a finished Parquet file of the same file system into the store as a part."""
        metadata = pq.read_metadata(file)
        part = Part(table, partition, sha256_file(file), metadata.num_rows, file.stat().st_size)
        target = self.path_of(part)
        with storage_named(self.root.name):
            target.parent.mkdir(parents=True, exist_ok=True)
            sync_file(file)
            file.replace(target)
            sync_folder(target.parent)
        return part

    @contextmanager
    def _temporary_part(self) -> Iterator[Path]:
        folder = self.root / "parts"
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=".part-", suffix=".tmp")
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def publish(self, parts: Iterable[Part], lineage: dict[str, Any], expected_parent: str | None) -> Version:
        """Make a version of these parts current. Publishing what is already current changes nothing.

        A publication that was killed before the pointer moved is finished under the id that it had.

        Args:
            parts: All parts of the version, shared ones included.
            lineage: What it was made of (JSON; no wall-clock time).
            expected_parent: The version that the writer started from: the fence against two writers.

        Raises:
            StaleWriter: The current version is neither `expected_parent` nor equal to this one.
            ToolFailed: The system does not store the bytes; the current version stays.
        """
        ordered = tuple(sorted(parts))
        lineage = json.loads(json.dumps(lineage))  # as it will be read back, so that the digest can be checked
        digest = _content_digest(ordered, lineage)
        with storage_named(self.root.name), exclusive_lock(self.root / ".lock"):
            current = self.current()
            if current is not None and current.id.endswith(f"-{digest}"):
                return current
            current_id = current.id if current else None
            if current_id != expected_parent:
                raise StaleWriter(f"{self.root.name}: expected {expected_parent} to be current, found {current_id}")
            number = self._unfinished_number(digest, current_id)
            version = Version(f"v{number:06d}-{digest}", number, current_id, ordered, lineage)
            manifest = json.dumps(asdict(version), sort_keys=True, indent=1).encode()
            write_durably(self._manifest_path(version.id), manifest)
            self._point_at(version.id, manifest, self.withdrawn())
            return version

    def _unfinished_number(self, digest: str, parent: str | None) -> int:
        """The next free number, or that of the same publication which was killed before the pointer moved."""
        # Numbers come from file names: a damaged manifest of an older version must not stop the next one.
        ids = [path.stem for path in self.manifests()]
        for version_id in reversed(ids):
            if version_id.endswith(f"-{digest}") and version_id not in self.withdrawn():
                try:
                    if self.get(version_id).parent == parent:
                        return number_of(version_id)
                except DataFailed:
                    continue
        return 1 + max(map(number_of, ids), default=0)

    def _manifest_path(self, version_id: str) -> Path:
        return self.root / "versions" / f"{version_id}.json"

    def manifests(self) -> list[Path]:
        """Manifest files, in the order of their versions' numbers."""
        return sorted(self.root.glob("versions/v*.json"))

    def _point_at(self, version_id: str, manifest: bytes, withdrawn: Iterable[str]) -> None:
        kept = [name for name in withdrawn if self._manifest_path(name).exists()]
        pointer = {
            "version": version_id,
            "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
            "withdrawn": kept,
        }
        write_durably(self.root / "CURRENT", json.dumps(pointer).encode())

    def _pointer(self) -> Pointer | None:
        path = self.root / "CURRENT"
        if not path.exists():
            return None
        try:
            raw = json.loads(path.read_bytes())
            return Pointer(raw["version"], raw["manifest_sha256"], tuple(raw.get("withdrawn", ())))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataFailed(f"{path}: the pointer cannot be read; restore it") from error

    def withdrawn(self) -> tuple[str, ...]:
        """Ids of the kept versions that were rolled back from."""
        pointer = self._pointer()
        return pointer.withdrawn if pointer else ()

    def current(self) -> Version | None:
        """The version that readers see, or None before the first publication."""
        pointer = self._pointer()
        if pointer is None:
            return None
        path = self._manifest_path(pointer.version)
        if not path.exists() or sha256_file(path) != pointer.manifest_sha256:
            raise DataFailed(f"{path}: the manifest is missing or does not match the pointer; restore it or roll back")
        return self.get(pointer.version)

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
        return [self.get(path.stem) for path in self.manifests()]

    def point_to(self, version_id: str, withdrawn: Iterable[str] = (), expected_current: str | None = None) -> Version:
        """Make a kept version current again, after hashing its parts.

        Args:
            withdrawn: The versions that are rolled back from.
            expected_current: When given, the version that must be current now.

        Raises:
            DataFailed: The version is not kept, or one of its files is damaged; the pointer stays.
            StaleWriter: Another version is current than was expected.
        """
        with storage_named(self.root.name), exclusive_lock(self.root / ".lock"):
            pointer = self._pointer()
            if expected_current is not None and (pointer is None or pointer.version != expected_current):
                raise StaleWriter(f"{self.root.name}: {expected_current} is not current any more")
            version = self.get(version_id)
            for part in version.parts:
                self.open_part(part)
            self._point_at(version_id, self._manifest_path(version_id).read_bytes(), withdrawn)
            return version

    def hold(self, version: Version) -> int:
        """Keep `prune` from removing a version and its parts until the returned descriptor is closed.

        The kernel closes it when the process ends, however it ends.

        Raises:
            DataFailed: The version is not kept any more.
        """
        path = self._manifest_path(version.id)
        try:
            descriptor = share_file(path)
        except FileNotFoundError:
            raise DataFailed(f"{path}: the version is not kept") from None
        if os.fstat(descriptor).st_nlink == 0:  # removed while this waited for it
            os.close(descriptor)
            raise DataFailed(f"{path}: the version is not kept")
        return descriptor

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
        for path in self.manifests():
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

    def prune(self, keep: int, needed: Callable[[], Iterable[Part]] = tuple) -> int:
        """Remove versions that nobody will go back to, and files that no kept version and no writer needs.

        Args:
            keep: How many versions to keep to go back to, the current one included.
            needed: Further parts to spare, asked for while no writer is at work.

        Returns:
            The number of files removed.
        """
        from ml.stores.version_history import prune_store  # it builds on this module

        with exclusive_lock(self.root / ".lock"):
            return prune_store(self, keep, needed)
