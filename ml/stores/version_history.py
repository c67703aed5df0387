"""What became of a store's versions, and which of its files nobody needs any more."""

import fcntl
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ml.outcomes import DataFailed
from ml.settings import wall_clock
from ml.stores.durable import exclusive_lock_if_free
from ml.stores.versions import Part, Version, VersionStore

# A writer that does not hold `VersionStore.writing` has this long between its first part and its publication.
_UNPUBLISHED_GRACE_SECONDS = 3600


class Fate(StrEnum):
    """What became of a version."""

    CURRENT = "current"
    PUBLISHED = "published"
    WITHDRAWN = "rolled back"
    NEVER_CURRENT = "never current"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Kept:
    """A version whose manifest is kept; `version` is None when the manifest is damaged."""

    id: str
    fate: Fate
    version: Version | None


def kept_versions(store: VersionStore) -> list[Kept]:
    """All kept versions with what became of them, oldest first.

    A version was published when the current one descends from it. A manifest that nothing descends from was
    written by a publication that ended before the pointer moved.
    """
    line = line_of(store, store.current())
    published = {version.id for version in line}
    withdrawn = set(store.withdrawn())
    # Behind a damaged or removed manifest the line cannot be followed; older versions get the benefit of the doubt.
    reached = 0 if not line or line[-1].parent is None else line[-1].number
    kept = []
    for path in store.manifests():
        version = _get(store, path.stem)
        if version is None:
            fate = Fate.DAMAGED
        elif line and version.id == line[0].id:
            fate = Fate.CURRENT
        elif version.id in withdrawn:
            fate = Fate.WITHDRAWN
        elif version.id in published or version.number < reached:
            fate = Fate.PUBLISHED
        else:
            fate = Fate.NEVER_CURRENT
        kept.append(Kept(path.stem, fate, version))
    return kept


def line_of(store: VersionStore, version: Version | None) -> list[Version]:
    """A version, the one that it was built upon, and so on, as far as they are kept."""
    line = []
    while version is not None:
        line.append(version)
        version = _get(store, version.parent) if version.parent else None
    return line


def _get(store: VersionStore, version_id: str) -> Version | None:
    try:
        return store.get(version_id)
    except DataFailed:
        return None


def prune_store(store: VersionStore, keep: int, needed: Callable[[], Iterable[Part]]) -> int:
    """See `VersionStore.prune`; the caller holds the store's lock, so no publication is under way."""
    kept = kept_versions(store)
    removed = [one for one in _stale(kept, keep) if _remove_unless_held(store.root / "versions" / f"{one.id}.json")]
    gone = {one.id for one in removed}
    left = [one for one in kept if one.id not in gone]
    unfinished = [*store.root.glob("versions/.v*"), *store.root.glob(".CURRENT.*")]
    for path in unfinished:
        path.unlink()
    return len(removed) + len(unfinished) + _remove_parts(store, left, needed)


def _stale(kept: list[Kept], keep: int) -> list[Kept]:
    """Versions that need not be kept: what never was current, and all but the newest `keep` that were.

    A version that was rolled back from is kept while it is among the newest, so that one can return to it.
    """
    line = [one for one in kept if one.fate in (Fate.CURRENT, Fate.PUBLISHED)]
    spared = {one.id for one in line[-keep:]} | {one.id for one in kept if one.fate in (Fate.CURRENT, Fate.DAMAGED)}
    newest = {one.id for one in [one for one in kept if one.fate is not Fate.NEVER_CURRENT][-keep:]}
    spared |= {one.id for one in kept if one.fate is Fate.WITHDRAWN and one.id in newest}
    return [one for one in kept if one.id not in spared]


def _remove_unless_held(manifest: Path) -> bool:
    descriptor = os.open(manifest, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        manifest.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _remove_parts(store: VersionStore, left: list[Kept], needed: Callable[[], Iterable[Part]]) -> int:
    with exclusive_lock_if_free(store.root / ".writers.lock") as is_free:
        if not is_free:  # the next publication removes them
            return 0
        stale = list(store.root.glob("parts/.part-*"))  # nobody writes, so their writers are dead
        # What a damaged manifest needs is not known, so everything stays until it is restored.
        if all(one.version is not None for one in left):
            used = {part.sha256 for one in left if one.version is not None for part in one.version.parts}
            used |= {part.sha256 for part in needed()}
            abandoned_before = wall_clock().timestamp() - _UNPUBLISHED_GRACE_SECONDS
            stale += [
                path
                for path in store.root.glob("parts/[!.]*")
                if path.stem not in used and path.stat().st_mtime < abandoned_before
            ]
        for path in stale:
            path.unlink()
        return len(stale)
