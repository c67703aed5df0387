"""Accepted batches as one version of immutable parts."""

from datetime import date

import pyarrow as pa
import pytest

from ml.outcomes import ToolFailed
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.stores.raw import BATCHES, SET_ASIDE_SCHEMA, AcceptedBatch, RawStore, batch_day, raw_schema
from ml.stores.versions import StaleWriter


@pytest.fixture
def raw(tmp_path):
    return RawStore(Settings(_env_file=None, state_dir=tmp_path, shop_id="tiny"))


def accepted(day, table="orders", rows=2, quarantined=0, lines=()):
    batch_id = f"2024-01-{day:02}.1d.abcdef01"
    filled = {"_batch_id": batch_id, "_batch_date": date(2024, 1, day), "_event_date": date(2024, 1, day)}
    content = [{"order_id": f"{day}-{number}", "total_amount_cents": 100, **filled} for number in range(rows)]
    return AcceptedBatch(
        table=table,
        batch_id=batch_id,
        rows=pa.Table.from_pylist(content, schema=raw_schema(CONTRACT[table])),
        set_aside_lines=pa.Table.from_pylist(list(lines), schema=SET_ASIDE_SCHEMA),
        rows_in=rows + quarantined,
        rows_quarantined=quarantined,
        rows_collapsed=0,
        rows_late=0,
    )


def test_batches_are_published_in_one_version(raw):
    raw.append([accepted(1), accepted(1, "coupons", rows=0)])
    assert [version.number for version in raw.versions.versions()] == [1]
    assert raw.accepted() == {("orders", "2024-01-01.1d.abcdef01"), ("coupons", "2024-01-01.1d.abcdef01")}


def test_appending_again_changes_nothing(raw):
    first = raw.append([accepted(1)])
    assert raw.append([accepted(1)]) == first
    assert len(raw.versions.versions()) == 1


def test_the_order_of_days_does_not_matter(raw, tmp_path):
    other = RawStore(Settings(_env_file=None, state_dir=tmp_path / "other", shop_id="tiny"))
    for day in (1, 2, 3):
        raw.append([accepted(day)])
    for day in (3, 1, 2):
        other.append([accepted(day)])
    assert raw.versions.current().parts == other.versions.current().parts


def test_only_batches_up_to_the_day_are_selected(raw):
    for day in (1, 2, 3):
        raw.append([accepted(day)])
    selected = raw.select_batches(date(2024, 1, 2))
    assert len(selected.paths["orders"]) == len(selected.paths[BATCHES]) == 2
    assert selected.paths["payments"] == ()
    assert selected.schema_of("payments") == raw_schema(CONTRACT["payments"])
    assert selected.schema_of("set_aside_order_lines") == SET_ASIDE_SCHEMA


def test_nothing_is_selected_before_the_first_publication(raw):
    assert raw.select_batches(date(2024, 1, 2)) is None
    assert raw.accepted() == set()


def test_recent_rows_are_cut_by_event_day(raw):
    for day in (1, 2, 3):
        raw.append([accepted(day, rows=day)])
    rows = raw.recent_rows("orders", ["order_id"], date(2024, 1, 2), date(2024, 1, 3))
    assert rows.column("order_id").to_pylist() == ["2-0", "2-1"]
    assert raw.recent_rows("payments", ["payment_id"], date(2024, 1, 2), date(2024, 1, 3)).num_rows == 0


def test_counts_and_set_aside_lines_are_kept(raw):
    line = {"order_id": "o", "rule": "r", "_batch_id": "b", "_batch_date": date(2024, 1, 1), "lines": 1}
    version = raw.append([accepted(1, quarantined=3, lines=[line])])
    (counts,) = raw.versions.read(version, BATCHES).to_pylist()
    assert (counts["rows_in"], counts["rows_accepted"], counts["rows_quarantined"]) == (5, 2, 3)
    assert raw.versions.read(version, "set_aside_order_lines").to_pylist() == [line]


def test_a_writer_that_was_overtaken_appends_to_what_is_there(raw, monkeypatch):
    publish, calls = raw.versions.publish, []

    def overtaken(parts, lineage, expected_parent):
        calls.append(expected_parent)
        if len(calls) == 1:
            raise StaleWriter("another was first")
        return publish(parts, lineage, expected_parent)

    monkeypatch.setattr(raw.versions, "publish", overtaken)
    raw.append([accepted(1)])
    assert len(calls) == 2

    def always(*_args, **_more):
        raise StaleWriter("another was first")

    monkeypatch.setattr(raw.versions, "publish", always)
    with pytest.raises(ToolFailed, match="another writer"):
        raw.append([accepted(2)])


def test_a_batch_s_day_is_in_its_name():
    assert batch_day("2024-01-05.1d.abcdef01") == date(2024, 1, 5)
