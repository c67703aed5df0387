"""How far a part of the follower has read the serving log: one row each of the operational record."""

from dataclasses import dataclass
from typing import Any

from ml.stores.fraud_tables import follower_marks
from ml.stores.operations import Operations

SETTLED = "settle"
"""Up to here decisions are in the operational record."""


@dataclass(frozen=True)
class Mark:
    """A place in the log, and what the part wants to remember beside it.

    Attributes:
        position: All entries up to it are dealt with.
    """

    position: int
    detail: dict[str, Any]


def read_mark(operations: Operations, name: str, log_id: str) -> Mark:
    """Where to go on; from the start for a part that never ran, and for another log: positions mean nothing there."""
    found = operations.rows(follower_marks, name=name)
    if not found or found[0]["log_id"] != log_id:
        return Mark(0, {})
    return Mark(int(found[0]["position"]), dict(found[0]["detail"]))


def save_mark(operations: Operations, name: str, log_id: str, mark: Mark) -> None:
    row = {"name": name, "log_id": log_id, "position": mark.position, "detail": mark.detail}
    operations.upsert(follower_marks, ("name",), row)
