"""What arrivals left behind in the shop whose settings are in force: raw rows, verdicts' records, open incidents."""

from datetime import date
from typing import Any

from ml.settings import get_settings
from ml.stores.operations import Operations, alerts, gate_verdicts, incidents
from ml.stores.quarantine import Quarantine
from ml.stores.raw import BATCHES, RawStore


def operations() -> Operations:
    return Operations.from_settings(get_settings())


def newest_verdict(table: str, day: date) -> dict[str, Any]:
    """On a table's batch of a day."""
    return operations().rows(gate_verdicts, gate="arrivals", object=table, partition=day.isoformat())[-1]


def raw_version() -> str | None:
    current = RawStore(get_settings()).versions.current()
    return current.id if current else None


def raw_rows(table: str, **equal: object) -> list[dict[str, Any]]:
    """Published rows of a table whose columns have these values."""
    raw = RawStore(get_settings())
    current = raw.versions.current()
    if current is None or not current.parts_of(table):
        return []
    rows = raw.versions.read(current, table).to_pylist()
    return [row for row in rows if all(row[name] == value for name, value in equal.items())]


def open_incidents() -> dict[tuple[str, str, str], dict[str, Any]]:
    """(kind, object, rule) -> incident."""
    return {(row["kind"], row["object"], row["rule"]): row for row in operations().rows(incidents, state="open")}


def count_alerts() -> int:
    return len(operations().rows(alerts))


def assert_conserved() -> None:
    """Rows in = published + quarantined + collapsed, for every verdict that let a batch through, and in raw."""
    passed = [
        row
        for row in operations().rows(gate_verdicts)
        if row["status"] == "passed" and "publication" not in {rule["rule"] for rule in row["rules"]}
    ]
    assert len(passed) > 6, "nothing was checked"
    for row in passed:
        assert row["rows_in"] == row["rows_published"] + row["rows_quarantined"] + row["rows_collapsed"], row["object"]
    batches = raw_rows(BATCHES)
    assert len(batches) > 6, "nothing was checked"
    quarantine = Quarantine(get_settings(), operations())
    for row in batches:
        assert row["rows_in"] == row["rows_accepted"] + row["rows_quarantined"] + row["rows_collapsed"]
        assert row["rows_quarantined"] == quarantine.total_rows(row["table_name"], row["batch_id"])
