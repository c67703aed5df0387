"""A small shop with rows in quarantine, for tests of their way back; also what a killed child of such a test does."""

import csv
import os
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

# At the top, so that the children of a test are forked with it: it takes seconds to import.
from expectations.readmission import readmit
from ml.cli.ingest import gate_arrivals, land_days
from ml.settings import PREFIX, Settings, get_settings
from ml.shop.breakages import zero_quantity
from ml.shop.generated import small_shop
from ml.stores.operations import gate_verdicts, incidents, quarantine_decisions, quarantine_entries
from ml.stores.quarantine import EntryKey
from ml.stores.quarantine_files import read_repaired
from ml.stores.raw import BATCHES, SET_ASIDE_ORDER_LINES, RawStore
from ml.stores.readmissions import EntryDesk, Signature
from tests.gate_records import newest_verdict, operations, raw_rows

FIRST = date(2024, 1, 1)
HISTORY_END = FIRST + timedelta(days=8)
DAY = HISTORY_END + timedelta(days=1)
NOT_POSITIVE = "quantity_not_positive"
PLANTED = 6
"""Lines of DAY that have quantity 0."""

Rows = list[dict[str, str]]


def environment(folder: Path) -> dict[str, str]:
    """The shop's settings as environment variables."""
    settings = {
        "SOURCE": "files",
        "SHOP_ID": "tiny",
        "FILES_DIR": str(folder / "shop"),
        "STATE_DIR": str(folder / "var"),
        "FIRST_DAY": FIRST.isoformat(),
        "BOOTSTRAP_DAY": HISTORY_END.isoformat(),
        "LAST_DAY": "",
        "OWNERS": '{"order_lines": "till-team"}',
        "QUARANTINE_BUDGETS": '{"orders": 0.5}',
    }
    return {f"{PREFIX}{name}": value for name, value in settings.items()}


def use(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Let the environment of a test be this shop's."""
    for name, value in environment(folder).items():
        patch.setenv(name, value)
    get_settings.cache_clear()


def make_history(folder: Path) -> None:
    """Files of ten days, all but the last ingested; the environment is the shop's."""
    small_shop(folder / "shop", FIRST, 10, customers=90)
    land_days(FIRST, HISTORY_END)
    gate_arrivals(HISTORY_END)


def make_quarantined(history: Path, folder: Path) -> str:
    """A copy of the history whose DAY was ingested with bad lines; returns their batch."""
    shutil.copytree(history, folder)
    zero_quantity(folder / "shop", DAY, rows=PLANTED)
    land_days(DAY, DAY)
    gate_arrivals(DAY)
    return newest_batch()


def newest_batch(table: str = "order_lines") -> str:
    return str(newest_verdict(table, DAY)["batch_id"])


def edit(file: Path, change: Callable[[Rows], Rows]) -> None:
    """Rewrite a CSV file as somebody would who repairs it."""
    with file.open(newline="") as text:
        changed = change(list(csv.DictReader(text)))
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, list(changed[0]))
        writer.writeheader()
        writer.writerows(changed)


def with_quantity(rows: Rows, quantity: str = "2.0") -> Rows:
    return [{**row, "quantity": quantity} for row in rows]


def missing_lines() -> dict[str, int]:
    """Order -> lines that it misses, as the marts count them."""
    missing: dict[str, int] = {}
    for row in raw_rows(SET_ASIDE_ORDER_LINES):
        missing[row["order_id"]] = missing.get(row["order_id"], 0) + row["lines"]
    return {order: lines for order, lines in missing.items() if lines}


def assert_conserved(batch: str, table: str = "order_lines") -> list[dict[str, Any]]:
    """In = published + quarantined + collapsed, for each batch, and for the origin with all that came back of it.

    Returns:
        The counts of the batches in which rows came back.
    """
    found = raw_rows(BATCHES, table_name=table)
    for row in found:
        assert row["rows_in"] == row["rows_accepted"] + row["rows_quarantined"] + row["rows_collapsed"], row
        assert row["rows_accepted"] == len(raw_rows(table, _batch_id=row["batch_id"]))
    [origin] = [row for row in found if row["batch_id"] == batch]
    back = [row for row in found if row["readmits"] == batch]
    accepted = sum(row["rows_accepted"] for row in [origin, *back])
    collapsed = sum(row["rows_collapsed"] for row in [origin, *back])
    entries = operations().rows(quarantine_entries, table_name=table, batch_id=batch)
    waiting = sum(row["rows"] - row["rows_readmitted"] for row in entries)
    assert origin["rows_in"] == accepted + collapsed + waiting
    return back


def state() -> list[object]:
    """Everything that a decision can change."""
    tables = (quarantine_entries, quarantine_decisions, gate_verdicts, incidents)
    return [RawStore(get_settings()).versions.current(), *(operations().rows(table) for table in tables)]


def settings_of(folder: Path) -> Settings:
    """The shop's settings in a process of its own."""
    os.environ.update(environment(folder))
    get_settings.cache_clear()
    return get_settings()


def readmit_file(folder: str, batch: str, file: str) -> None:
    """What a child of a test does, and may be killed at: readmit an edited file."""
    settings, key = settings_of(Path(folder)), EntryKey("order_lines", batch, NOT_POSITIVE)
    desk = EntryDesk(settings, key)
    offer = read_repaired(Path(file), key, desk.rows(), desk.origin().format)
    readmit(settings, key, offer, as_is=False, signature=Signature("repaired", "ada"))


def account(folder: str, batch: str) -> dict[str, Any]:
    """What is there once a child is done: rows, counts and the audit trail, without moments and names of batches."""
    settings_of(Path(folder))
    back = assert_conserved(batch)
    came = {row["batch_id"] for row in back}
    lines = [row for row in raw_rows("order_lines") if row["_batch_id"] in came]
    [entry] = operations().rows(quarantine_entries, batch_id=batch, rule=NOT_POSITIVE)
    decisions = operations().rows(quarantine_decisions)
    return {
        "lines": sorted((row["order_line_id"], row["quantity"]) for row in lines),
        "missing": missing_lines(),
        "entry": [entry[name] for name in ("rows", "rows_readmitted", "rows_discarded", "state")],
        "decisions": [[row["action"], row["rows_offered"], row["rows_passed"], row["reason"]] for row in decisions],
        "batches": len(back),
    }
