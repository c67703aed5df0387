"""One quarantine entry with all stores that a decision about its rows touches."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.shop.delivery import Delivery
from ml.stores.landing import Batch, Landing
from ml.stores.operations import Operations
from ml.stores.quarantine import UNPARSED_RULE, Action, Decision, EntryKey, Quarantine
from ml.stores.quarantine_files import ROW_COLUMN, Repaired, as_offered, original_orders
from ml.stores.raw import READMITTED_SCHEMA, SET_ASIDE_SCHEMA, RawStore, batch_day

SOURCE = "quarantine"
"""What the manifest of a landed readmission names as its source."""
ORDER_LINES = "order_lines"


@dataclass(frozen=True)
class Signature:
    """Who decides, and why."""

    reason: str
    decided_by: str


class EntryDesk:
    """The stores of one shop, opened at one entry of its quarantine.

    Raises:
        DataFailed: There is no such entry.
    """

    def __init__(self, settings: Settings, key: EntryKey) -> None:
        if key.table not in CONTRACT:
            raise DataFailed(f"{key.table} is no table of the contract, which has {', '.join(CONTRACT)}")
        self.settings, self.key, self.table = settings, key, CONTRACT[key.table]
        self.operations, self.raw = Operations.from_settings(settings), RawStore(settings)
        self.landing = Landing(settings.shop_dir / "landing")
        self.quarantine = Quarantine(settings, self.operations)
        self.quarantine.entry(key)

    def rows(self) -> pa.Table:
        """All rows of the entry, values included."""
        return self.quarantine.read(self.key.table, self.key.batch_id, self.key.rule)

    def origin(self) -> Batch:
        """The batch that the rows came in."""
        return self.landing.batch(self.key.table, self.key.batch_id)

    def is_published(self, batch: Batch) -> bool:
        return (batch.table, batch.id) in self.raw.accepted()

    def replaced_by(self) -> str | None:
        """A later delivery of the same days that is published, and so is what counts."""
        newer = [batch.id for batch in self.landing.delivered_again(self.origin()) if self.is_published(batch)]
        return newer[-1] if newer else None

    def back(self) -> np.ndarray:
        """Positions of the rows that have come back, ascending."""
        rows = self.raw.readmitted_rows(self.key.table, self.key.batch_id, self.key.rule)
        found: np.ndarray = np.unique(rows.column("position").to_numpy())
        return found

    def open_positions(self) -> np.ndarray:
        """Positions of the rows about which nothing is decided, ascending."""
        entry = self.quarantine.entry(self.key)
        if entry["rows_discarded"]:  # what was open then was given up
            return np.array([], dtype=np.int64)
        return np.setdiff1d(np.arange(entry["rows"]), self.back())

    def row_states(self) -> list[str]:
        """What became of each row, by position: open, readmitted or discarded."""
        entry = self.quarantine.entry(self.key)
        states = ["discarded" if entry["rows_discarded"] else "open"] * int(entry["rows"])
        for position in self.back():
            states[position] = "readmitted"
        return states

    def count_open(self) -> int:
        entry = self.quarantine.entry(self.key)
        return int(entry["rows"] - entry["rows_readmitted"] - entry["rows_discarded"])

    def as_they_were(self) -> Repaired:
        """The open rows just as they were delivered.

        Raises:
            DataFailed: They are lines that do not split into columns.
        """
        if self.key.rule == UNPARSED_RULE:
            raise DataFailed(
                f"{self.key}: a line that does not split into columns cannot be accepted as it is; export it, fill in "
                "its columns, and readmit the file"
            )
        return as_offered(self.key, self.rows(), self.open_positions(), is_text=self.origin().format == "text")

    def land(self, offer: Repaired, action: Action, signature: Signature, digest: str = "") -> Batch:
        """Land rows as a batch that readmits them; the same again returns the batch there is."""
        origin, count = self.origin(), len(offer.positions)
        # With the entry beside the rows, equal rows of two entries, or for two purposes, are two batches.
        notes = {"_readmits": self.key.batch_id, "_rule": self.key.rule, "_action": action.value}
        columns = {ROW_COLUMN: pa.array(offer.positions, pa.int64())}
        columns |= {name: pa.array([value] * count, pa.string()) for name, value in notes.items()}
        columns |= {name: offer.rows.column(name) for name in offer.rows.column_names}
        made = {
            "rule": self.key.rule,
            "action": action.value,
            "reason": signature.reason,
            "decided_by": signature.decided_by,
            "digest": digest,
        }
        return self.landing.land(
            Delivery(self.key.table, pa.table(columns), offer.format),
            origin.first_day,
            origin.last_day,
            SOURCE,
            readmits=origin.id,
            offer=made,
        )

    def published_readmissions(self) -> list[Batch]:
        """Batches that told raw something about the entry, in the order in which they landed."""
        found = [
            batch
            for batch in self.landing.batches(self.key.table, on=batch_day(self.key.batch_id))
            if batch.readmits == self.key.batch_id and offer_of(batch)["rule"] == self.key.rule
        ]
        return sorted((batch for batch in found if self.is_published(batch)), key=lambda batch: batch.landed_at)

    def settle(self, decision: Decision) -> None:
        """Record a decision, with the entry's counts as raw has them."""
        self.quarantine.decide(self.key, decision, rows_readmitted=len(self.back()))

    def note_back(self, batch: Batch, positions: np.ndarray) -> pa.Table:
        """Rows for raw's `readmitted_rows`."""
        notes = {
            "readmits": self.key.batch_id,
            "rule": self.key.rule,
            "_batch_id": batch.id,
            "_batch_date": batch.last_day,
        }
        return pa.Table.from_pylist([{**notes, "position": int(at)} for at in positions], schema=READMITTED_SCHEMA)

    def note_complete(self, batch: Batch, positions: np.ndarray) -> pa.Table:
        """Rows for raw's `set_aside_order_lines`: one per line that its order misses no longer."""
        if self.key.table != ORDER_LINES:
            return SET_ASIDE_SCHEMA.empty_table()
        notes = {"rule": self.key.rule, "_batch_id": batch.id, "_batch_date": batch.last_day, "lines": -1}
        orders = original_orders(self.rows(), positions)
        return pa.Table.from_pylist([{"order_id": order, **notes} for order in orders], schema=SET_ASIDE_SCHEMA)


def offer_of(batch: Batch) -> dict[str, str]:
    """What a batch that readmits says about itself.

    Raises:
        DataFailed: Its manifest says nothing.
    """
    if not batch.offer:
        raise DataFailed(f"{batch.table} {batch.id}: the manifest of a readmission lacks its offer; restore it")
    return batch.offer


def digest_of(offer: Repaired) -> str:
    """Tells two offers of an entry apart, whatever has become of their rows since."""
    content = hashlib.sha256(repr((offer.format, offer.rows.column_names, offer.positions.tolist())).encode())
    for column in offer.rows.columns:
        content.update(repr(column.to_pylist()).encode())
    return content.hexdigest()[:16]
