"""A version is published by moving one pointer, over parts that never change."""

import json
import os

import pyarrow as pa
import pytest

from ml.outcomes import DataFailed
from ml.stores.version_history import Fate, kept_versions, line_of
from ml.stores.versions import StaleWriter, VersionStore

LINEAGE = {"shop_id": "tiny"}


@pytest.fixture
def store(tmp_path):
    return VersionStore(tmp_path / "raw")


def rows(*numbers):
    return pa.table({"number": pa.array(numbers, pa.int64())})


def publish(store, numbers, parent=None, table="orders", lineage=LINEAGE):
    part = store.write_part(table, "2024-01-05", rows(*numbers))
    return store.publish([part], lineage, expected_parent=parent.id if parent else None)


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_nothing_is_current_before_the_first_publication(store):
    assert store.current() is None
    store.write_part("orders", "2024-01-05", rows(1))
    assert store.current() is None


def test_what_was_published_is_read_back(store):
    version = publish(store, [1, 2])
    assert version.number == 1
    assert version.parent is None
    assert version.lineage == LINEAGE
    assert version.tables() == ("orders",)
    assert store.current() == version
    assert store.read(version, "orders").to_pydict() == {"number": [1, 2]}


def test_reading_takes_only_the_columns_asked_for(store):
    part = store.write_part("orders", "d", pa.table({"a": [1], "b": [2]}))
    version = store.publish([part], LINEAGE, expected_parent=None)
    assert store.read(version, "orders", columns=["b"]).to_pydict() == {"b": [2]}


def test_equal_rows_make_one_part_file(store):
    first, second = store.write_part("orders", "d", rows(1)), store.write_part("orders", "d", rows(1))
    assert first == second
    assert [path.name for path in (store.root / "parts").iterdir()] == [f"{first.sha256}.parquet"]


def test_publishing_what_is_current_changes_nothing(store):
    version = publish(store, [1])
    before = (store.root / "CURRENT").read_bytes()
    assert publish(store, [1], parent=version) == version
    assert publish(store, [1], parent=None) == version, "a task that runs again starts from an older parent"
    assert (store.root / "CURRENT").read_bytes() == before
    assert store.versions() == [version]


def test_the_order_of_parts_does_not_matter(store):
    one, two = store.write_part("orders", "a", rows(1)), store.write_part("orders", "b", rows(2))
    version = store.publish([one, two], LINEAGE, expected_parent=None)
    assert store.publish([two, one], LINEAGE, expected_parent=version.id) == version


def test_another_lineage_is_another_version(store):
    first = publish(store, [1])
    second = publish(store, [1], parent=first, lineage={"shop_id": "tiny", "dbt": "edited"})
    assert second.id != first.id
    assert second.parent == first.id
    assert store.current() == second


def test_a_writer_that_was_overtaken_publishes_nothing(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    with pytest.raises(StaleWriter, match=first.id):
        publish(store, [3], parent=first)
    assert store.current() == second
    assert store.versions() == [first, second]


def test_a_first_writer_that_was_overtaken_publishes_nothing(store):
    publish(store, [1])
    with pytest.raises(StaleWriter):
        publish(store, [2], parent=None)


def test_a_crash_between_manifest_and_pointer_leaves_the_old_version(store, monkeypatch):
    first = publish(store, [1])

    def killed(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(VersionStore, "_point_at", killed)
    with pytest.raises(KeyboardInterrupt):
        publish(store, [2], parent=first)
    monkeypatch.undo()
    assert len(store.versions()) == 2, "the manifest was written"
    assert store.current() == first
    assert store.read(store.current(), "orders").to_pydict() == {"number": [1]}
    published = publish(store, [2], parent=first)
    assert store.current() == published
    assert store.read(published, "orders").to_pydict() == {"number": [2]}


def test_a_part_whose_bytes_changed_is_refused(store):
    version = publish(store, [1])
    [part] = version.parts
    damage(store.path_of(part))
    with pytest.raises(DataFailed, match=r"orders do not match") as refusal:
        store.read(version, "orders")
    assert str(store.path_of(part)) in str(refusal.value)


def test_a_part_that_is_missing_is_refused(store):
    version = publish(store, [1])
    store.path_of(version.parts[0]).unlink()
    with pytest.raises(DataFailed, match="is missing"):
        store.open_table(version, "orders")


def test_a_table_that_the_version_lacks_is_named_with_those_it_has(store):
    version = publish(store, [1])
    with pytest.raises(DataFailed, match=r"no table payments; it has orders"):
        store.read(version, "payments")


def test_a_manifest_that_does_not_match_the_pointer_is_refused(store):
    version = publish(store, [1])
    manifest = store.root / "versions" / f"{version.id}.json"
    manifest.write_text(manifest.read_text() + "\n")
    with pytest.raises(DataFailed, match="does not match the pointer"):
        store.current()


def test_a_manifest_that_does_not_match_its_id_is_refused(store):
    first = publish(store, [1])
    publish(store, [2], parent=first)
    manifest = store.root / "versions" / f"{first.id}.json"
    content = json.loads(manifest.read_text())
    content["parts"][0]["rows"] = 7
    manifest.write_text(json.dumps(content))
    with pytest.raises(DataFailed, match="does not match its version's id"):
        store.get(first.id)
    with pytest.raises(DataFailed):
        store.point_to(first.id)


def test_a_version_that_is_not_kept_is_named(store):
    publish(store, [1])
    with pytest.raises(DataFailed, match=r"v000009-abc\.json: the version is not kept"):
        store.get("v000009-abc")


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]"])
def test_a_pointer_that_cannot_be_read_is_refused(store, content):
    publish(store, [1])
    (store.root / "CURRENT").write_bytes(content)
    with pytest.raises(DataFailed, match="CURRENT: the pointer cannot be read"):
        store.current()


def test_rollback_points_to_a_kept_version_and_publication_goes_on_from_there(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    assert store.point_to(first.id) == first
    assert store.current() == first
    third = publish(store, [3], parent=first)
    assert third.number == second.number + 1
    assert third.parent == first.id


def _age(store, seconds=7200):
    """Make all parts look as if they had been written two hours ago."""
    for path in (store.root / "parts").iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def test_pruning_keeps_the_newest_versions_and_the_parts_they_share(store):
    shared = store.write_part("customers", "all", rows(0))
    versions, parent = [], None
    for number in (1, 2, 3):
        own = store.write_part("orders", "d", rows(number))
        versions.append(store.publish([shared, own], LINEAGE, expected_parent=parent))
        parent = versions[-1].id
    _age(store)
    assert store.prune(keep=2) == 2, "one manifest and the part that only it needed"
    assert store.versions() == versions[1:]
    assert store.scrub() == []
    assert store.read(versions[1], "customers").num_rows == 1


def test_pruning_never_removes_the_current_version(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    publish(store, [3], parent=second)
    store.point_to(first.id)
    _age(store)
    store.prune(keep=1)
    assert store.current() == first
    assert store.read(first, "orders").to_pydict() == {"number": [1]}


def test_pruning_leaves_parts_that_a_writer_has_not_published_yet(store):
    version = publish(store, [1])
    _age(store)
    part = store.write_part("orders", "d", rows(2))
    store.prune(keep=5)
    published = store.publish([part], LINEAGE, expected_parent=version.id)
    assert store.read(published, "orders").to_pydict() == {"number": [2]}


def test_scrub_names_every_damaged_part_of_every_kept_version(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    assert store.scrub() == []
    damage(store.path_of(first.parts[0]))
    store.path_of(second.parts[0]).unlink()
    problems = store.scrub()
    assert len(problems) == 2
    assert any(first.parts[0].sha256 in problem and "do not match" in problem for problem in problems)
    assert any(second.parts[0].sha256 in problem and "is missing" in problem for problem in problems)


def test_scrub_hashes_again_what_was_verified_before(store):
    version = publish(store, [1])
    store.read(version, "orders")
    damage(store.path_of(version.parts[0]))
    assert len(store.scrub()) == 1


def test_scrub_names_a_damaged_manifest(store):
    version = publish(store, [1])
    (store.root / "versions" / f"{version.id}.json").write_text("{")
    problems = store.scrub()
    assert len(problems) == 2, "the pointer's check and the manifest's own"
    assert all(version.id in problem for problem in problems)


def test_a_damaged_manifest_of_an_older_version_does_not_stop_the_next(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    (store.root / "versions" / f"{first.id}.json").write_text("{")
    third = publish(store, [3], parent=second)
    assert third.number == 3
    assert store.current() == third


def test_a_publication_that_was_killed_is_finished_under_its_own_id(store, monkeypatch):
    first = publish(store, [1])
    with monkeypatch.context() as patch:
        patch.setattr(VersionStore, "_point_at", _killed)
        with pytest.raises(KeyboardInterrupt):
            publish(store, [2], parent=first)
    aborted = store.versions()[-1]
    assert publish(store, [2], parent=first) == aborted
    assert store.versions() == [first, aborted]


def _killed(*_arguments):
    raise KeyboardInterrupt


def test_a_version_that_never_became_current_is_told_apart_and_pruned(store, monkeypatch):
    first = publish(store, [1])
    with monkeypatch.context() as patch:
        patch.setattr(VersionStore, "_point_at", _killed)
        with pytest.raises(KeyboardInterrupt):
            publish(store, [2], parent=first)
    third = publish(store, [3], parent=first)
    assert [(kept.version.number, kept.fate) for kept in kept_versions(store)] == [
        (1, Fate.PUBLISHED),
        (2, Fate.NEVER_CURRENT),
        (3, Fate.CURRENT),
    ]
    store.prune(keep=2)
    assert store.versions() == [first, third]


def test_what_was_rolled_back_from_is_remembered_by_later_versions(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    store.point_to(first.id, withdrawn=[second.id])
    third = publish(store, [3], parent=first)
    assert [(kept.id, kept.fate) for kept in kept_versions(store)] == [
        (first.id, Fate.PUBLISHED),
        (second.id, Fate.WITHDRAWN),
        (third.id, Fate.CURRENT),
    ]
    assert line_of(store, third) == [third, first]


def test_a_version_with_a_damaged_part_does_not_become_current(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    damage(store.path_of(first.parts[0]))
    with pytest.raises(DataFailed, match="do not match"):
        VersionStore(store.root).point_to(first.id)
    assert store.current() == second


def test_a_rollback_from_another_version_than_was_looked_at_is_refused(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    with pytest.raises(StaleWriter, match="not current any more"):
        store.point_to(first.id, expected_current=first.id)
    assert store.current() == second


def test_a_version_that_a_reader_holds_is_not_pruned_until_it_lets_go(store):
    first = publish(store, [1])
    descriptor = store.hold(first)
    parent = first
    for number in (2, 3, 4):
        parent = publish(store, [number], parent=parent)
    _age(store)
    store.prune(keep=1)
    assert store.versions() == [first, parent]
    assert store.read(first, "orders").to_pydict() == {"number": [1]}
    os.close(descriptor)
    store.prune(keep=1)
    assert store.versions() == [parent]
    assert not store.path_of(first.parts[0]).exists()


def test_a_removed_version_cannot_be_held(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    store.prune(keep=1)
    with pytest.raises(DataFailed, match="is not kept"):
        store.hold(first)
    assert store.current() == second


def test_no_part_is_pruned_while_a_writer_is_at_work(store):
    first = publish(store, [1])
    publish(store, [2], parent=first)
    _age(store)
    other = VersionStore(store.root)
    with other.writing():
        store.prune(keep=1)
        assert store.path_of(first.parts[0]).exists(), "the writer may have found it in the store"
    store.prune(keep=1)
    assert not store.path_of(first.parts[0]).exists()


def test_parts_that_wait_elsewhere_are_not_pruned(store):
    version = publish(store, [1])
    staged = store.write_part("orders", "d", rows(2))
    stray = store.write_part("orders", "d", rows(3))
    _age(store)
    store.prune(keep=1, needed=lambda: [staged])
    assert store.path_of(staged).exists()
    assert not store.path_of(stray).exists()
    assert store.current() == version


def test_what_killed_writers_left_is_removed(store):
    publish(store, [1])
    left = [
        store.root / "parts" / ".part-x.tmp",
        store.root / "versions" / ".v000002-a.json.x",
        store.root / ".CURRENT.x",
    ]
    for path in left:
        path.touch()
    store.prune(keep=5)
    assert not any(path.exists() for path in left)


def test_nothing_is_pruned_that_a_damaged_manifest_may_need(store):
    first = publish(store, [1])
    second = publish(store, [2], parent=first)
    publish(store, [3], parent=second)
    (store.root / "versions" / f"{first.id}.json").write_text("{")
    _age(store)
    store.prune(keep=1)
    assert store.path_of(first.parts[0]).exists()
    assert [kept.fate for kept in kept_versions(store)] == [Fate.DAMAGED, Fate.CURRENT]
