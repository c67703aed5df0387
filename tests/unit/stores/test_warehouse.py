import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.stores import warehouse
from ml.stores.versions import Part
from ml.stores.warehouse import (
    Staged,
    mark_judged,
    marts_store,
    open_marts,
    open_staged,
    publish_staged,
    stage_marts,
    write_staged,
)

DAY = date(2017, 11, 19)
NEXT_DAY = date(2017, 11, 20)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, state_dir=tmp_path, keep_versions=2)


def write_rows(settings: Settings, *orders: str) -> tuple[Part, ...]:
    return (marts_store(settings).write_part("fct_orders", "2017-11", pa.table({"order_id": list(orders)})),)


def lineage(target_day: date, raw_version: str = "v000001-a") -> dict[str, object]:
    return {"target_day": target_day.isoformat(), "raw_version": raw_version, "fingerprints": {"feat_customer": "f"}}


def stage(settings: Settings, partition: date, parts: tuple[Part, ...], **other: object) -> Staged:
    """Stage as a build would, with what is current as its parent."""
    current = marts_store(settings).current()
    staged = Staged(partition, current.id if current else None, parts, lineage(partition), {}, judged=True)
    staged = replace(staged, **other)
    write_staged(settings, staged)
    return staged


def test_nothing_can_be_read_before_the_first_publication(settings: Settings) -> None:
    with pytest.raises(DataFailed, match="no marts are published"):
        open_marts(settings)


def test_published_marts_are_views_over_their_parts(settings: Settings) -> None:
    stage(settings, DAY, write_rows(settings, "a", "b"))
    version = publish_staged(settings, DAY)
    marts = open_marts(settings)
    assert (marts.version.id, marts.target_day, marts.as_of_date) == (version.id, DAY, NEXT_DAY)
    with marts.connect() as connection:
        assert connection.execute("select order_id from fct_orders order by 1").fetchall() == [("a",), ("b",)]


def test_a_part_whose_bytes_changed_is_refused(settings: Settings) -> None:
    parts = write_rows(settings, "a")
    stage(settings, DAY, parts)
    publish_staged(settings, DAY)
    path = marts_store(settings).path_of(parts[0])
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataFailed, match="fct_orders"):
        open_marts(settings).connect()


def test_what_the_gate_has_not_let_pass_is_not_published(settings: Settings) -> None:
    stage(settings, DAY, write_rows(settings, "a"), judged=False)
    with pytest.raises(DataFailed, match="has not passed the marts gate"):
        publish_staged(settings, DAY)
    assert marts_store(settings).current() is None


def test_publishing_again_changes_nothing(settings: Settings) -> None:
    stage(settings, DAY, write_rows(settings, "a"))
    first = publish_staged(settings, DAY)
    assert publish_staged(settings, DAY) == first
    assert len(marts_store(settings).versions()) == 1


def test_equal_marts_from_a_raw_version_with_more_days_are_no_new_version(settings: Settings) -> None:
    stage(settings, DAY, write_rows(settings, "a"))
    first = publish_staged(settings, DAY)
    stage(settings, DAY, write_rows(settings, "a"), lineage=lineage(DAY, "v000002-b"))
    assert publish_staged(settings, DAY) == first


def test_an_edited_feature_is_a_new_version_even_with_equal_rows(settings: Settings) -> None:
    stage(settings, DAY, write_rows(settings, "a"))
    first = publish_staged(settings, DAY)
    edited = {**lineage(DAY), "fingerprints": {"feat_customer": "another"}}
    stage(settings, DAY, write_rows(settings, "a"), lineage=edited)
    assert publish_staged(settings, DAY).number == first.number + 1


def test_a_build_that_another_one_overtook_is_not_published(settings: Settings) -> None:
    overtaken = stage(settings, DAY, write_rows(settings, "a"))
    stage(settings, NEXT_DAY, write_rows(settings, "a", "b"))
    newer = publish_staged(settings, NEXT_DAY)
    mark_judged(settings, overtaken)
    with pytest.raises(ToolFailed, match="build 2017-11-19 again"):
        publish_staged(settings, DAY)
    assert open_marts(settings).version == newer


def test_two_builds_wait_side_by_side(settings: Settings) -> None:
    first = stage(settings, DAY, write_rows(settings, "a"), judged=False)
    second = stage(settings, NEXT_DAY, write_rows(settings, "a", "b"), judged=False)
    assert (open_staged(settings, DAY)[0], open_staged(settings, NEXT_DAY)[0]) == (first, second)
    mark_judged(settings, first)
    with pytest.raises(DataFailed, match="has not passed"):
        publish_staged(settings, NEXT_DAY)
    assert publish_staged(settings, DAY).lineage["target_day"] == str(DAY)


def test_what_was_built_again_while_it_was_judged_is_not_judged(settings: Settings) -> None:
    opened = stage(settings, DAY, write_rows(settings, "a"), judged=False)
    again = stage(settings, DAY, write_rows(settings, "a", "b"), judged=False)
    with pytest.raises(ToolFailed, match="built again while it was judged"):
        mark_judged(settings, opened)
    assert open_staged(settings, DAY)[0] == again
    with pytest.raises(DataFailed, match="has not passed"):
        publish_staged(settings, DAY)


def test_a_build_that_readers_see_below_a_later_one_is_published_already(settings: Settings) -> None:
    """Killed after the pointer moved and before that was noted; then another day was published upon it."""
    staged = stage(settings, DAY, write_rows(settings, "a"))
    publish_staged(settings, DAY)
    write_staged(settings, staged)
    stage(settings, NEXT_DAY, write_rows(settings, "a", "b"))
    newer = publish_staged(settings, NEXT_DAY)
    assert publish_staged(settings, DAY) == newer
    assert len(marts_store(settings).versions()) == 2


def test_an_edit_that_is_taken_back_is_published_though_an_older_version_equals_it(settings: Settings) -> None:
    for fingerprint in ("f", "edited", "f"):
        made_of = {**lineage(DAY), "fingerprints": {"feat_customer": fingerprint}}
        stage(settings, DAY, write_rows(settings, "a"), lineage=made_of)
        version = publish_staged(settings, DAY)
    assert (version.number, version.lineage["fingerprints"]) == (3, {"feat_customer": "f"})


def test_a_reader_keeps_its_version_however_many_follow(settings: Settings) -> None:
    stage(settings, DAY, write_rows(settings, "first"))
    publish_staged(settings, DAY)
    reader = open_marts(settings)
    connection = open_marts(settings).connect()  # which is all that is left of what was opened for it
    for number in range(4):
        stage(settings, DAY, write_rows(settings, f"later {number}"))
        publish_staged(settings, DAY)
        _age_parts(settings)
    assert connection.execute("select order_id from fct_orders").fetchall() == [("first",)]
    with reader.connect() as again:
        assert again.execute("select order_id from fct_orders").fetchall() == [("first",)]
    held = reader.version.id
    del reader
    connection.close()
    del connection, again
    stage(settings, DAY, write_rows(settings, "last"))
    publish_staged(settings, DAY)
    with pytest.raises(DataFailed, match="is not kept"):
        open_marts(settings, held)


def test_a_build_that_waits_keeps_its_parts(settings: Settings) -> None:
    waiting = stage(settings, NEXT_DAY, write_rows(settings, "waits"), judged=False)
    abandoned = write_rows(settings, "abandoned")
    _age_parts(settings)
    stage(settings, DAY, write_rows(settings, "a"))
    publish_staged(settings, DAY)
    store = marts_store(settings)
    assert store.path_of(waiting.parts[0]).exists()
    assert not store.path_of(abandoned[0]).exists()


def test_a_build_that_nobody_finished_for_a_week_is_forgotten(settings: Settings) -> None:
    stage(settings, NEXT_DAY, write_rows(settings, "waits"))
    path = settings.shop_dir / "warehouse" / "staged" / f"{NEXT_DAY}.json"
    long_ago = path.stat().st_mtime - 8 * 24 * 3600
    os.utime(path, (long_ago, long_ago))
    with pytest.raises(DataFailed, match="no raw orders"):
        stage_marts(settings, DAY)
    assert not path.exists()


def _age_parts(settings: Settings) -> None:
    for path in (marts_store(settings).root / "parts").iterdir():
        then = path.stat().st_mtime - 7200
        os.utime(path, (then, then))


def test_only_the_partition_that_was_built_can_be_judged_or_published(settings: Settings) -> None:
    with pytest.raises(ToolFailed, match="no build of 2017-11-19 waits"):
        open_staged(settings, DAY)
    stage(settings, DAY, write_rows(settings, "a"))
    with pytest.raises(ToolFailed, match="no build of 2017-11-20 waits"):
        publish_staged(settings, NEXT_DAY)


def test_old_versions_are_pruned_and_kept_ones_can_be_opened(settings: Settings) -> None:
    for day in (17, 18, 19):
        partition = date(2017, 11, day)
        stage(settings, partition, write_rows(settings, *"abc"[: day - 16]))
        publish_staged(settings, partition)
    kept = marts_store(settings).versions()
    assert [version.number for version in kept] == [2, 3]
    assert open_marts(settings, kept[0].id).target_day == date(2017, 11, 18)
    with pytest.raises(DataFailed, match="is not kept"):
        open_marts(settings, "v000001-gone")


def test_a_staged_build_survives_the_end_of_the_process(settings: Settings) -> None:
    staged = stage(settings, DAY, write_rows(settings, "a"), held={"unknown_product": 2})
    found, marts = open_staged(settings, DAY)
    assert found == staged
    assert found.rows() == {"fct_orders": 1}
    assert marts.as_of_date == NEXT_DAY


def test_a_build_without_raw_orders_says_so_and_leaves_nothing_staged(settings: Settings) -> None:
    stage(settings, DAY, write_rows(settings, "a"))
    with pytest.raises(DataFailed, match=r"no raw orders up to 2017-11-19; run `shopwright ingest` first"):
        stage_marts(settings, DAY)
    assert not (settings.shop_dir / "warehouse" / "staged" / f"{DAY}.json").exists()


def test_a_backfilled_day_does_not_take_newer_days_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stage(settings, NEXT_DAY, write_rows(settings, "a"))
    publish_staged(settings, NEXT_DAY)
    asked = []

    class NoRaw:
        def __init__(self, _settings: Settings) -> None: ...

        def select_batches(self, up_to: date) -> None:
            asked.append(up_to)

    monkeypatch.setattr(warehouse, "RawStore", NoRaw)
    with pytest.raises(DataFailed):
        stage_marts(settings, DAY)
    assert asked == [NEXT_DAY]


def test_the_staged_record_holds_no_clock_time(settings: Settings) -> None:
    stage(settings, DAY, write_rows(settings, "a"))
    content = json.loads((settings.shop_dir / "warehouse" / "staged" / f"{DAY}.json").read_text())
    assert set(content) == {"partition", "expected_parent", "parts", "lineage", "held", "judged", "published"}
