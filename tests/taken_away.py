"""Protections taken away, one each: what tests of crashes put in place of the real thing as positive controls."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

from ml.stores.durable import write_durably
from ml.stores.versions import Part, Version, VersionStore, _content_digest

_publish = VersionStore.publish


def skip(*_: Any) -> None:
    """For `os.fsync`: bytes stay where a power cut loses them."""


def never(*_: Any) -> bool:
    """For a check that would find the work done."""
    return False


def write_in_place(path: Path, content: bytes) -> None:
    """For `write_durably`: no temporary file and no rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content[: len(content) // 2])
    half_written()
    path.write_bytes(content)


def half_written() -> None:
    """Where to kill a writer in the middle of a file."""


def publish_anyway(
    store: VersionStore, parts: Iterable[Part], lineage: dict[str, Any], expected_parent: str | None
) -> Version:
    """For `VersionStore.publish`: without a fence, and without looking whether the content is current already."""
    current = store.current()
    return _publish(store, parts, {**lineage, "try": uuid4().hex}, current.id if current else None)


def publish_pointer_first(
    store: VersionStore, parts: Iterable[Part], lineage: dict[str, Any], expected_parent: str | None
) -> Version:
    """For `VersionStore.publish`: the pointer moves before the manifest is there."""
    ordered, number = tuple(sorted(parts)), len(store.manifests()) + 1
    lineage = json.loads(json.dumps(lineage))
    version_id = f"v{number:06d}-{_content_digest(ordered, lineage)}"
    version = Version(version_id, number, expected_parent, ordered, lineage)
    manifest = json.dumps(asdict(version)).encode() + b" " * 20_000  # as large as one of many parts
    store._point_at(version.id, manifest, ())
    write_durably(store.root / "versions" / f"{version.id}.json", manifest)
    return version
