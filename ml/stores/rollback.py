"""Going back to an earlier version of the marts, with a record of who did, when and why."""

from dataclasses import dataclass
from typing import Any

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, wall_clock
from ml.stores.durable import exclusive_lock, storage_named
from ml.stores.operations import Operations, rollbacks
from ml.stores.version_history import Fate, kept_versions, line_of
from ml.stores.versions import StaleWriter, Version, VersionStore
from ml.stores.warehouse import marts_store

MARTS = "marts"


@dataclass(frozen=True)
class Rollback:
    """A way from what readers see to an earlier version, or back again.

    Attributes:
        withdrawn: What is rolled back from after it, of the versions that are kept.
    """

    before: Version
    after: Version
    withdrawn: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        return self.before.id == self.after.id


def plan_rollback(settings: Settings, to_version: str | None = None) -> Rollback:
    """Find where a rollback goes; nothing is changed.

    Args:
        to_version: A kept version that was current once; without one, the version before the current one. One that
            was rolled back from can be named too: that takes it back.

    Raises:
        DataFailed: Nothing is published, or there is no such version to go to.
    """
    return _plan(marts_store(settings), to_version)


def _plan(store: VersionStore, to_version: str | None) -> Rollback:
    current = store.current()
    if current is None:
        raise DataFailed("no marts are published yet")
    if to_version is None:
        to_version = current.parent
        if to_version is None:
            raise DataFailed(f"marts {current.id} are the first; there is no version before them")
    found = next((kept for kept in kept_versions(store) if kept.id == to_version), None)
    listed = "`shopwright warehouse versions` lists those that are kept"
    if found is None:
        raise DataFailed(f"marts version {to_version} is not kept; {listed}")
    if found.version is None:
        raise DataFailed(f"marts version {to_version}: its manifest is damaged; choose another, {listed}")
    if found.fate is Fate.NEVER_CURRENT:
        raise DataFailed(f"marts version {to_version} never was current: its publication ended before; {listed}")
    left = {version.id for version in line_of(store, current)}
    kept_in = {version.id for version in line_of(store, found.version)}
    withdrawn = (set(store.withdrawn()) | (left - kept_in)) - kept_in
    return Rollback(current, found.version, tuple(sorted(withdrawn)))


def roll_back(settings: Settings, to_version: str | None = None, *, reason: str, by: str) -> Rollback:
    """Make an earlier version of the marts current. One that was killed is completed by asking again, and done once.

    Raises:
        DataFailed: There is no such version to go to, or a file of it is damaged; nothing moved.
        ToolFailed: Another version was published at this moment, or the system does not store the bytes.
    """
    operations, store = Operations.from_settings(settings), marts_store(settings)
    with storage_named("warehouse"), exclusive_lock(store.root.parent / ".rollback.lock"):
        asked = _interrupted(operations, store)
        if asked is not None and to_version is None:
            to_version = asked["to_version"]
        plan = _plan(store, to_version)
        if asked is None or asked["to_version"] != plan.after.id:
            if plan.is_done:
                return plan
            asked = _record(operations, plan, reason, by)
        if not plan.is_done:
            try:
                store.point_to(plan.after.id, plan.withdrawn, expected_current=plan.before.id)
            except StaleWriter as error:
                raise ToolFailed(f"{error}; look again before you roll back") from error
        _complete(operations, asked)
    return plan


def rollback_history(settings: Settings) -> list[dict[str, Any]]:
    """Rollbacks, oldest first."""
    return Operations.from_settings(settings).rows(rollbacks, store=MARTS)


def _interrupted(operations: Operations, store: VersionStore) -> dict[str, Any] | None:
    """The newest rollback, when its process ended before it noted that it was done and nothing was published since."""
    newest = operations.rows(rollbacks, limit=1, store=MARTS)
    current = store.current()
    if not newest or newest[0]["completed_at"] is not None or current is None:
        return None
    return newest[0] if current.id in (newest[0]["from_version"], newest[0]["to_version"]) else None


def _record(operations: Operations, plan: Rollback, reason: str, by: str) -> dict[str, Any]:
    row = {
        "store": MARTS,
        "from_version": plan.before.id,
        "to_version": plan.after.id,
        "reason": reason,
        "decided_by": by,
        "decided_at": wall_clock(),
    }
    with operations.transaction() as connection:
        connection.execute(rollbacks.insert().values(**row))
    return operations.rows(rollbacks, limit=1, store=MARTS)[0]


def _complete(operations: Operations, asked: dict[str, Any]) -> None:
    with operations.transaction() as connection:
        this = rollbacks.c.id == asked["id"]
        connection.execute(rollbacks.update().where(this).values(completed_at=wall_clock()))
