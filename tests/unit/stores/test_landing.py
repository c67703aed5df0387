"""A batch is landed once, as it was delivered, and only read back from the bytes that were landed."""

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from ml.outcomes import DataFailed
from ml.shop.delivery import UNPARSED_SCHEMA, Delivery
from ml.stores import landing as landing_module
from ml.stores.landing import Landing

FRIDAY, SATURDAY, SUNDAY = date(2024, 1, 5), date(2024, 1, 6), date(2024, 1, 7)


@pytest.fixture
def landing(tmp_path):
    return Landing(tmp_path / "tiny" / "landing")


def orders(*ids, unparsed=None):
    rows = pa.table({"order_id": list(ids), "cents": pa.array([100] * len(ids), pa.int64())})
    return Delivery("orders", rows, "typed", unparsed)


def products(*ids):
    return Delivery("products", pa.table({"product_id": pa.array(ids, pa.string())}), "typed")


def unparsed(*texts):
    lines = [{"source_file": "orders.csv", "line": 2, "text": text, "reason": "too short"} for text in texts]
    return pa.Table.from_pylist(lines, schema=UNPARSED_SCHEMA)


def folder_of(landing, batch):
    return landing.root / batch.table / batch.id


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def files_under(landing):
    return {path: path.stat().st_mtime_ns for path in landing.root.rglob("*") if path.is_file()}


def test_a_batch_is_named_by_its_days_and_content(landing):
    batch = landing.land(orders("a", "b"), FRIDAY, SUNDAY, "files")
    assert batch.id.startswith("2024-01-07.3d.")
    assert (batch.table, batch.first_day, batch.last_day) == ("orders", FRIDAY, SUNDAY)
    assert (batch.rows, batch.unparsed, batch.source, batch.format) == (2, 0, "files", "typed")
    assert batch.schema == {"order_id": "string", "cents": "int64"}
    assert batch.shop_id == "tiny"
    assert batch.same_as is None
    assert sorted(path.name for path in folder_of(landing, batch).iterdir()) == ["manifest.json", "rows.parquet"]
    assert landing.batches() == [batch], "the manifest holds all of it"


def test_rows_are_read_back_as_they_were_delivered(landing):
    odd = pa.table({"order_id": ["a", "a", None], "amount": [1.5, float("nan"), -3.0], "_line": [2, 3, 5]})
    batch = landing.land(Delivery("orders", odd, "text"), FRIDAY, FRIDAY, "files")
    assert landing.read(batch).schema == odd.schema
    assert landing.read(batch).column("order_id").to_pylist() == ["a", "a", None]
    assert batch.format == "text"


def test_unparsed_lines_are_kept_and_counted(landing):
    batch = landing.land(orders("a", unparsed=unparsed("b;c", "d")), FRIDAY, FRIDAY, "files")
    assert (batch.rows, batch.unparsed) == (3, 2)
    assert landing.read(batch).num_rows == 1
    assert landing.read_unparsed(batch).column("text").to_pylist() == ["b;c", "d"]
    assert batch.files["rows.parquet"]["rows"] == 1
    assert batch.files["unparsed.parquet"]["rows"] == 2


def test_a_batch_without_unparsed_lines_has_none(landing):
    batch = landing.land(orders("a", unparsed=unparsed()), FRIDAY, FRIDAY, "files")
    assert list(batch.files) == ["rows.parquet"]
    assert landing.read_unparsed(batch).num_rows == 0


def test_the_same_days_and_content_again_change_nothing(landing, monkeypatch):
    first = landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    before = files_under(landing)
    monkeypatch.setattr(landing_module, "wall_clock", lambda: datetime(2030, 1, 1, tzinfo=UTC))
    assert landing.land(orders("a"), FRIDAY, FRIDAY, "files") == first
    assert files_under(landing) == before
    assert [path.name for path in (landing.root / "orders").iterdir() if path.is_dir()] == [first.id]


def test_how_the_source_sliced_its_rows_does_not_show(landing):
    whole = landing.land(orders("a", "b"), FRIDAY, FRIDAY, "files")
    pieces = Delivery("orders", pa.concat_tables([orders("a").rows, orders("b").rows]), "typed")
    assert pieces.rows.column("order_id").num_chunks == 2
    assert landing.land(pieces, FRIDAY, FRIDAY, "files") == whole


def test_other_content_for_the_same_days_is_another_batch(landing):
    first = landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    second = landing.land(orders("b"), FRIDAY, FRIDAY, "files")
    third = landing.land(orders("a", unparsed=unparsed("x")), FRIDAY, FRIDAY, "files")
    assert len({first.id, second.id, third.id}) == 3
    assert landing.read(first).column("order_id").to_pylist() == ["a"]


def test_batches_come_in_the_order_of_their_days(landing):
    sunday = landing.land(orders("c"), SUNDAY, SUNDAY, "files")
    friday = landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    saturday = landing.land(products("p"), SATURDAY, SATURDAY, "files")
    assert landing.batches("orders") == [friday, sunday]
    assert landing.batches(up_to=SATURDAY) == [friday, saturday]
    assert landing.batches(on=SATURDAY) == [saturday]
    assert landing.batches("payments") == []


def test_an_unchanged_snapshot_adds_no_files(landing):
    friday = landing.land(products("p"), FRIDAY, FRIDAY, "files")
    saturday = landing.land(products("p"), SATURDAY, SATURDAY, "files")
    sunday = landing.land(products("p"), SUNDAY, SUNDAY, "files")
    assert (saturday.same_as, sunday.same_as) == (friday.id, friday.id)
    assert saturday.files == {}
    assert [path.name for path in folder_of(landing, sunday).iterdir()] == ["manifest.json"]
    assert landing.read(sunday).column("product_id").to_pylist() == ["p"]
    assert landing.read_unparsed(sunday).num_rows == 0
    assert landing.land(products("p"), SUNDAY, SUNDAY, "files") == sunday


def test_a_changed_snapshot_is_landed_whole(landing):
    landing.land(products("p"), FRIDAY, FRIDAY, "files")
    assert landing.land(products("p", "q"), SATURDAY, SATURDAY, "files").same_as is None


def test_a_snapshot_repeats_only_the_days_just_before(landing):
    landing.land(products("p"), FRIDAY, FRIDAY, "files")
    assert landing.land(products("p"), SUNDAY, SUNDAY, "files").same_as is None, "Saturday may still bring another"


def test_a_snapshot_repeats_nothing_when_the_day_before_has_two_versions(landing):
    landing.land(products("p"), FRIDAY, FRIDAY, "files")
    landing.land(products("q"), FRIDAY, FRIDAY, "files")
    assert landing.land(products("p"), SATURDAY, SATURDAY, "files").same_as is None


def test_events_never_repeat_the_day_before(landing):
    landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    assert landing.land(orders("a"), SATURDAY, SATURDAY, "files").same_as is None


def test_bytes_that_do_not_match_the_manifest_are_refused(landing):
    batch = landing.land(orders("a", unparsed=unparsed("x")), FRIDAY, FRIDAY, "files")
    damage(folder_of(landing, batch) / "rows.parquet")
    with pytest.raises(DataFailed, match=r"orders/2024-01-05\.1d\..*/rows\.parquet: bytes .* do not match"):
        landing.read(batch)
    damage(folder_of(landing, batch) / "unparsed.parquet")
    with pytest.raises(DataFailed, match=r"unparsed\.parquet: bytes"):
        landing.read_unparsed(batch)


def test_a_repeating_batch_is_refused_with_the_files_that_it_repeats(landing):
    friday = landing.land(products("p"), FRIDAY, FRIDAY, "files")
    saturday = landing.land(products("p"), SATURDAY, SATURDAY, "files")
    damage(folder_of(landing, friday) / "rows.parquet")
    with pytest.raises(DataFailed, match=friday.id):
        landing.read(saturday)


def test_a_missing_file_is_refused(landing):
    batch = landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    (folder_of(landing, batch) / "rows.parquet").unlink()
    with pytest.raises(DataFailed, match="is missing"):
        landing.read(batch)


def test_landing_the_same_content_again_mends_a_damaged_file(landing):
    batch = landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    damage(folder_of(landing, batch) / "rows.parquet")
    assert len(landing.scrub()) == 1
    assert landing.land(orders("a"), FRIDAY, FRIDAY, "files") == batch
    assert landing.scrub() == []


def change_manifest(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "2024-01-05.1d.00000000"},
        {"table": "order_lines"},
        {"first_day": "2024-01-04"},
        {"last_day": "yesterday"},
        {"files": {}},
        {"files": {"rows.parquet": {"sha256": "0" * 64, "rows": 1}}},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_manifest_that_was_changed_is_refused(landing, changes):
    batch = landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    change_manifest(folder_of(landing, batch) / "manifest.json", **changes)
    with pytest.raises(DataFailed, match=r"manifest\.json"):
        landing.batches()


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_manifest_that_cannot_be_read_is_refused(landing, content):
    batch = landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    (folder_of(landing, batch) / "manifest.json").write_text(content)
    with pytest.raises(DataFailed, match=r"manifest\.json: the manifest of a landed batch cannot be read"):
        landing.batches("orders")


def test_a_crash_before_the_rename_leaves_no_batch(landing, monkeypatch):
    def no_space(_path):
        raise OSError("no space left on device")

    monkeypatch.setattr(landing_module, "sync_folder", no_space)
    with pytest.raises(OSError, match="no space"):
        landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    monkeypatch.undo()
    assert landing.batches() == []
    assert [path for path in (landing.root / "orders").iterdir() if path.is_dir()] == []


def test_what_a_killed_process_left_is_ignored_and_then_removed(landing):
    left = landing.root / "orders" / ".landing-killed"
    left.mkdir(parents=True)
    (left / "rows.parquet").write_bytes(b"half")
    assert landing.batches() == []
    assert landing.scrub() == []
    landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    assert not left.exists()


def test_files_are_synced_before_the_batch_appears(landing, monkeypatch):
    synced, visible = [], []

    def record(path):
        synced.append(path.name if path.is_file() else "folder")
        visible.append(bool(list(landing.root.glob("orders/2*"))))

    monkeypatch.setattr(landing_module, "sync_file", record)
    monkeypatch.setattr(landing_module, "sync_folder", record)
    landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    assert synced == ["rows.parquet", "manifest.json", "folder", "folder"]
    assert visible == [False, False, False, True]


def test_scrub_names_every_damaged_file(landing):
    friday = landing.land(products("p"), FRIDAY, FRIDAY, "files")
    saturday = landing.land(products("p"), SATURDAY, SATURDAY, "files")
    order_batch = landing.land(orders("a", unparsed=unparsed("x")), FRIDAY, FRIDAY, "files")
    landing.read(order_batch)
    landing.read_unparsed(order_batch)
    assert landing.scrub() == []
    damage(folder_of(landing, order_batch) / "unparsed.parquet")
    (folder_of(landing, friday) / "rows.parquet").unlink()
    (folder_of(landing, saturday) / "manifest.json").write_text("{")
    problems = landing.scrub()
    assert len(problems) == 3
    assert "unparsed.parquet: bytes" in problems[0]
    assert "rows.parquet: file of a landed batch is missing" in problems[1]
    assert f"{saturday.id}/manifest.json" in problems[2]


def test_scrub_misses_the_batch_that_another_repeats(landing):
    friday = landing.land(products("p"), FRIDAY, FRIDAY, "files")
    landing.land(products("p"), SATURDAY, SATURDAY, "files")
    for path in folder_of(landing, friday).iterdir():
        path.unlink()
    folder_of(landing, friday).rmdir()
    [problem] = landing.scrub()
    assert friday.id in problem


MONDAY = date(2024, 1, 8)
WEEK_BEFORE = date(2024, 1, 1)


def promotions(*ids):
    return Delivery("promotions", pa.table({"product_id": pa.array(ids, pa.string())}), "typed")


def test_a_run_delivers_the_newest_batch_of_each_table(landing, monkeypatch):
    moments = iter(datetime(2024, 2, day, tzinfo=UTC) for day in range(1, 28))
    monkeypatch.setattr(landing_module, "wall_clock", lambda: next(moments))
    landing.land(orders("wrong"), FRIDAY, FRIDAY, "files")
    corrected = landing.land(orders("a"), FRIDAY, FRIDAY, "files")
    landing.land(orders("b"), SATURDAY, SATURDAY, "files")
    snapshot = landing.land(products("p"), FRIDAY, FRIDAY, "files")
    assert landing.delivered(FRIDAY) == [snapshot, corrected]
    assert landing.delivered(MONDAY) == []


def test_a_run_delivers_all_weeks_of_a_table_that_is_landed_by_week(landing):
    landing.land(promotions("before"), date(2023, 12, 25), date(2023, 12, 31), "files")
    whole = landing.land(orders("a"), WEEK_BEFORE, MONDAY, "files")
    week = landing.land(promotions("p"), WEEK_BEFORE, SUNDAY, "files")
    rest = landing.land(promotions("q"), MONDAY, MONDAY, "files")
    landing.land(promotions("r"), date(2024, 1, 9), date(2024, 1, 9), "files")
    assert landing.delivered(MONDAY) == [whole, week, rest]


def test_a_correction_of_one_week_takes_the_place_of_that_week(landing, monkeypatch):
    moments = iter(datetime(2024, 2, day, tzinfo=UTC) for day in range(1, 28))
    monkeypatch.setattr(landing_module, "wall_clock", lambda: next(moments))
    whole = landing.land(orders("a"), WEEK_BEFORE, MONDAY, "files")
    landing.land(promotions("wrong"), WEEK_BEFORE, SUNDAY, "files")
    rest = landing.land(promotions("q"), MONDAY, MONDAY, "files")
    corrected = landing.land(promotions("p"), WEEK_BEFORE, SUNDAY, "files")
    assert landing.delivered(MONDAY) == [whole, corrected, rest]
