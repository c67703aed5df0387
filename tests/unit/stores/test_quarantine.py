"""Set-aside rows: kept as delivered, shown masked, revealed on the record."""

import stat

import pyarrow as pa
import pytest

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.operations import Operations, quarantine_entries, quarantine_reveals
from ml.stores.quarantine import MASK, Quarantine, SetAside

BATCH = "2024-01-05.1d.abcdef01"
KEY = ("orders", BATCH, "currency_not_settlement")
SECRET = "customer-4711"


@pytest.fixture
def operations(tmp_path):
    return Operations.from_settings(Settings(_env_file=None, state_dir=tmp_path, shop_id="tiny"))


@pytest.fixture
def store(tmp_path, operations):
    return Quarantine(Settings(_env_file=None, state_dir=tmp_path, shop_id="tiny"), operations)


def entry(count=2, **other):
    rows = {
        "order_id": [f"o{number}" for number in range(count)],
        "customer_id": [SECRET] * count,
        "currency": ["EUR"] * count,
        "surplus": ["who knows"] * count,
    }
    return SetAside("orders", BATCH, KEY[2], "expected USD", pa.table(rows | other))


def test_rows_are_kept_as_delivered_with_the_reason_beside_them(store):
    store.set_aside(entry())
    rows = store.read(*KEY).to_pylist()
    assert [row["customer_id"] for row in rows] == [SECRET, SECRET]
    assert {(row["_table"], row["_rule"], row["_reason"], row["_batch_id"]) for row in rows} == {
        ("orders", KEY[2], "expected USD", BATCH)
    }


def test_nobody_else_can_read_the_store(store):
    store.set_aside(entry())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [store.root, *store.root.rglob("*")]}
    assert len(modes) == 4
    assert modes.pop(f"{KEY[2]}.parquet") == 0o600
    assert set(modes.values()) == {0o700}


def test_the_same_batch_and_rule_again_replaces_the_rows_and_keeps_the_state(store, operations):
    store.set_aside(entry())
    with operations.transaction() as connection:
        connection.execute(quarantine_entries.update().values(state="discarded"))
    (before,) = store.entries()
    store.set_aside(entry())
    assert store.entries() == [before]
    assert store.read(*KEY).num_rows == 2
    assert store.total_rows("orders", BATCH) == 2


def test_personal_and_unknown_columns_are_masked(store):
    store.set_aside(entry(count=1))
    (row,) = store.masked(*KEY).to_pylist()
    assert (row["customer_id"], row["surplus"]) == (MASK, MASK)
    assert (row["order_id"], row["currency"]) == ("o0", "EUR")


def test_a_missing_personal_value_is_seen_to_be_missing(store):
    store.set_aside(entry(count=1, customer_id=pa.array([None], pa.string())))
    assert store.masked(*KEY).column("customer_id").to_pylist() == [None]


def test_the_text_of_a_line_that_could_not_be_split_is_masked(store):
    unparsed = pa.table({"source_file": ["f.csv"], "line": [7], "text": [SECRET], "reason": ["two fields"]})
    store.set_aside(SetAside("orders", BATCH, "line_unparsed", "expected columns", unparsed))
    (row,) = store.masked("orders", BATCH, "line_unparsed").to_pylist()
    assert (row["source_file"], row["line"], row["text"]) == ("f.csv", 7, MASK)


def test_a_reveal_is_recorded_before_it_shows_anything(store, operations):
    store.set_aside(entry())
    rows = store.reveal(*KEY, reason="support case 12", who="alice")
    assert rows.column("customer_id").to_pylist() == [SECRET, SECRET]
    (record,) = operations.rows(quarantine_reveals)
    assert (record["revealed_by"], record["reason"], record["rows"]) == ("alice", "support case 12", 2)


def test_masked_rows_leave_no_record(store, operations):
    store.set_aside(entry())
    store.masked(*KEY)
    assert operations.rows(quarantine_reveals) == []


def test_what_is_not_there_is_named(store):
    with pytest.raises(DataFailed, match="no rows of orders"):
        store.read(*KEY)
