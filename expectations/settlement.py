"""What is decided about quarantined rows: recorded once, whatever kills the process that decides.

What raw was told comes first, the audit trail after it. `finish_interrupted` completes the trail where a process
ended in between, from raw and from the landed manifests. Nothing here judges data.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from expectations.incidents import SET_ASIDE_KIND
from ml.alerts.incidents import close_incident
from ml.settings import Settings
from ml.stores.landing import Batch, Landing
from ml.stores.operations import Operations
from ml.stores.quarantine import Action, Decision, EntryKey, Quarantine
from ml.stores.quarantine_files import Repaired
from ml.stores.raw import AcceptedBatch, RawStore, batch_day, raw_schema
from ml.stores.readmissions import ORDER_LINES, EntryDesk, Signature, offer_of


@dataclass(frozen=True)
class Outcome:
    """What a decision about an entry's rows came to.

    Attributes:
        batch_id: The batch that told raw about it; None when raw has nothing to know.
        passed: Rows that came back, also those that collapsed into another one of them.
        refused: Rule -> rows of the offer that broke it.
        known_keys: Rows that came back under a key that raw had already: the newest of a key counts.
        skipped: Rows of the offer that had come back before; they are as they were.
        still_open: Rows of the entry about which nothing is decided.
        changed: Whether anything is different from before.
    """

    still_open: int
    batch_id: str | None = None
    offered: int = 0
    passed: int = 0
    collapsed: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    known_keys: int = 0
    skipped: int = 0
    changed: bool = False


def discard(settings: Settings, key: EntryKey, *, signature: Signature) -> Outcome:
    """Give up the open rows of an entry. Nothing is open: nothing changes.

    Lines that the source has delivered again are missed no longer, so their orders become complete for them.
    """
    desk = EntryDesk(settings, key)
    with desk.quarantine.deciding():
        finish(desk)
        positions = desk.open_positions()
        if not len(positions):
            return Outcome(desk.count_open())
        is_missed_no_more = key.table == ORDER_LINES and desk.replaced_by() is not None
        batch_id = _publish_replaced(desk, positions, signature).id if is_missed_no_more else None
        count = len(positions)
        settle(desk, Decision(Action.DISCARD, count, 0, batch_id, signature.reason, signature.decided_by))
        return Outcome(desk.count_open(), batch_id, offered=count, changed=True)


def finish_interrupted(settings: Settings) -> int:
    """Complete the audit trail where a process ended between raw and the trail; returns how many decisions."""
    landing, raw = Landing(settings.shop_dir / "landing"), RawStore(settings)
    decisions = Quarantine(settings, Operations.from_settings(settings)).decisions()
    told = {(row["table_name"], row["readmission_batch_id"]) for row in decisions}
    keys = set()
    for table, batch_id in sorted(raw.readmissions() - told):
        batch = landing.batch(table, batch_id)
        keys.add(EntryKey(table, str(batch.readmits), offer_of(batch)["rule"]))
    finished = 0
    for key in sorted(keys, key=str):
        desk = EntryDesk(settings, key)
        with desk.quarantine.deciding():
            finished += finish(desk)
    return finished


def finish(desk: EntryDesk) -> int:
    """Complete the audit trail of one entry; the caller holds the lock."""
    told = {row["readmission_batch_id"] for row in desk.quarantine.decisions(desk.key.table, desk.key.batch_id)}
    unfinished = [batch for batch in desk.published_readmissions() if batch.id not in told]
    for batch in unfinished:
        offer = offer_of(batch)
        back = desk.raw.readmitted_rows(desk.key.table, desk.key.batch_id, desk.key.rule)
        passed = back.column("_batch_id").to_pylist().count(batch.id)
        settle(
            desk,
            Decision(Action(offer["action"]), batch.rows, passed, batch.id, offer["reason"], offer["decided_by"]),
        )
    return len(unfinished)


def settle(desk: EntryDesk, decision: Decision) -> None:
    """Record the decision, and close the rule's incident once nothing of it waits for one any more."""
    desk.settle(decision)
    entries = [entry for entry in desk.quarantine.entries(desk.key.table) if entry["rule"] == desk.key.rule]
    if all(entry["state"] != "open" for entry in entries):
        newest = max(batch_day(entry["batch_id"]) for entry in entries)
        close_incident(
            desk.operations, kind=SET_ASIDE_KIND, object=desk.key.table, rule=desk.key.rule, partition=newest
        )


def _publish_replaced(desk: EntryDesk, positions: np.ndarray, signature: Signature) -> Batch:
    """Tell raw that lines are missed no longer, because their days were delivered again."""
    batch = desk.land(Repaired(pa.table({}), positions, "typed"), Action.DISCARD, signature)
    told = AcceptedBatch(
        table=batch.table,
        batch_id=batch.id,
        rows=raw_schema(desk.table).empty_table(),
        set_aside_lines=desk.note_complete(batch, positions),
        rows_in=len(positions),
        rows_quarantined=len(positions),
        rows_collapsed=0,
        rows_late=0,
        readmits=batch.readmits,
        readmitted_rows=desk.note_back(batch, np.array([], dtype=np.int64)),
    )
    desk.raw.append([told])
    return batch
