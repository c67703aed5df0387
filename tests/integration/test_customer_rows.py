"""The online store of customers' rows: versions are there whole or not at all, and what is lost comes back."""

import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.settings import Settings, SettingsError
from ml.stores.customer_rows import OlderRows, RowsAbsent, RowsUnavailable, RowsVersion, open_customer_rows
from ml.stores.published_rows import CUSTOMER_ROWS, fill_online, make_current, published_store, restore_online
from tests.posted_events import of_shop
from tests.published_rows import lose_rows, publish_rows

FIRST = RowsVersion("a" * 64, "2024-03-10", 2)
SECOND = RowsVersion("b" * 64, "2024-03-11", 2)
THIRD = RowsVersion("c" * 64, "2024-03-12", 1)


def test_a_version_is_read_whole_beside_the_one_before(settings: Settings) -> None:
    rows = open_customer_rows(settings, is_writer=True)
    assert rows.version() is None
    with pytest.raises(RowsAbsent):
        rows.read(["ann"])
    assert rows.write(FIRST, [("ann", b"1"), ("bob", b"2")])
    rows.make_current(FIRST)
    assert rows.read(["ann", "bob", "cy"]) == {"ann": b"1", "bob": b"2"}
    assert rows.write(SECOND, [("ann", b"3"), ("cy", b"4")])
    assert rows.version() == FIRST
    assert rows.read(["ann"]) == {"ann": b"1"}
    rows.make_current(SECOND)
    assert rows.version() == SECOND
    assert rows.read(["ann", "bob"]) == {"ann": b"3"}
    # A process that has not switched yet reads on in the version that it knows.
    assert rows.read(["ann", "bob"], FIRST.id) == {"ann": b"1", "bob": b"2"}
    rows.write(THIRD, [("ann", b"5")])
    rows.make_current(THIRD)
    with pytest.raises(RowsAbsent):
        rows.read(["ann"], FIRST.id)
    assert rows.read(["ann"], SECOND.id) == {"ann": b"3"}


def test_writing_again_changes_nothing(settings: Settings) -> None:
    rows = open_customer_rows(settings, is_writer=True)
    assert rows.write(FIRST, [("ann", b"1")])
    rows.make_current(FIRST)
    assert not rows.write(FIRST, [("ann", b"else")])
    rows.make_current(FIRST)
    assert rows.read(["ann"]) == {"ann": b"1"}


def test_an_older_day_never_replaces_a_newer_one(settings: Settings) -> None:
    rows = open_customer_rows(settings, is_writer=True)
    rows.write(SECOND, [("ann", b"3")])
    rows.make_current(SECOND)
    with pytest.raises(OlderRows):
        rows.write(FIRST, [("ann", b"1")])
    assert rows.read(["ann"]) == {"ann": b"3"}
    assert rows.write(FIRST, [("ann", b"1")], replaces_newer=True)


def test_a_version_whose_writer_was_killed_is_not_read_and_can_be_finished(settings: Settings) -> None:
    rows = open_customer_rows(settings, is_writer=True)

    def dies() -> Iterator[tuple[str, bytes]]:
        for number in range(5000):
            yield f"c{number}", b"row"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rows.write(FIRST, dies())
    with pytest.raises(RowsAbsent):
        rows.read(["c1"], FIRST.id)
    with pytest.raises(RowsAbsent):
        rows.make_current(FIRST)
    assert rows.version() is None
    assert rows.write(FIRST, [("c1", b"again")])
    assert rows.read(["c1", "c4999"], FIRST.id)["c1"] == b"again"


def test_readers_never_see_a_mix_while_versions_follow(settings: Settings) -> None:
    """Every version holds one value for all customers; a reader of the current version must see one value."""
    customers = [f"c{number}" for number in range(300)]
    ended, mixed, reads = threading.Event(), [], 0
    writer = open_customer_rows(settings, is_writer=True)

    def publish(number: int) -> None:
        day = date(2024, 3, 1) + timedelta(days=number)
        version = RowsVersion(f"{number:064}", day.isoformat(), len(customers))
        writer.write(version, [(customer, str(number).encode()) for customer in customers])
        writer.make_current(version)

    publish(0)

    def read() -> None:
        nonlocal reads
        reader = open_customer_rows(settings, is_writer=True)
        while not ended.is_set():
            try:
                found = reader.read(customers)
            except RowsAbsent:  # two versions went by between the pointer and its rows
                continue
            reads += 1
            if len(found) != len(customers) or len(set(found.values())) != 1:
                mixed.append(found)

    thread = threading.Thread(target=read)
    thread.start()
    number = 0
    while thread.is_alive() and min(number, reads) < 20:
        number += 1
        publish(number)
    ended.set()
    thread.join()
    assert reads >= 20
    assert mixed == []


def test_a_store_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    settings = of_shop(tmp_path, f"unix://:s3cret@{tmp_path}/nobody.sock")
    with pytest.raises(RowsUnavailable) as caught:
        open_customer_rows(settings).read(["ann"], FIRST.id)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(SettingsError, match="STATE_URL"):
        open_customer_rows(of_shop(tmp_path, "http://else"))


def test_what_is_published_brings_a_lost_store_back(settings: Settings) -> None:
    version = publish_rows(settings, "2024-03-10", b"row")
    assert not restore_online(settings)
    lose_rows(settings)
    assert open_customer_rows(settings).version() is None
    assert restore_online(settings)
    assert open_customer_rows(settings).version() == version
    assert open_customer_rows(settings).read(["ann"]) == {"ann": b"row"}


def test_every_row_of_a_part_of_several_groups_is_filled_in(settings: Settings) -> None:
    names = [f"customer-{number:03d}" for number in range(450)]
    table = pa.table({"customer_id": names, "row": [name.encode() for name in names]})
    store = published_store(settings)
    part = store.write_part(CUSTOMER_ROWS, "2024-03-10", table)
    metadata = pq.read_metadata(store.open_part(part))
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [200, 200, 50]
    assert fill_online(settings, store, part)
    assert open_customer_rows(settings).version() is None  # nobody reads them yet
    make_current(settings, part)
    assert open_customer_rows(settings).read(names) == {name: name.encode() for name in names}


def test_a_pointer_moves_only_to_rows_that_are_filled_in(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    version = publish_rows(settings, "2024-03-10", b"row")
    store = published_store(settings)
    part = store.write_part(
        CUSTOMER_ROWS, "2024-03-09", pa.table({"customer_id": ["ann"], "row": pa.array([b"old"], pa.binary())})
    )
    with pytest.raises(OlderRows):
        fill_online(settings, store, part)
    assert open_customer_rows(settings).version() == version
