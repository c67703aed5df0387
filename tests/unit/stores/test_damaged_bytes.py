"""Bytes that changed on the disk: the manifest's sha256 refuses all of them, the engines notice few."""

import random
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.outcomes import DataFailed
from ml.stores.versions import Part, Version, VersionStore

FLIPS = 60
SEEDS = (1, 2, 3)


def published(folder: Path, seed: int) -> tuple[VersionStore, Version]:
    dice = random.Random(seed)  # noqa: S311 - no secret
    rows = pa.table(
        {
            "order_id": [f"o{dice.randrange(10**9)}" for _ in range(500)],
            "amount_cents": [dice.randrange(1, 10_000) for _ in range(500)],
            "discount": [dice.random() for _ in range(500)],
        }
    )
    store = VersionStore(folder)
    return store, store.publish([store.write_part("orders", "d", rows)], {}, None)


def read(store: VersionStore, version: Version) -> pa.Table:
    """As a process that has not opened the part yet."""
    return VersionStore(store.root).read(version, "orders")


def by_pyarrow(path: Path) -> object:
    return pq.read_table(path)


def by_duckdb(path: Path) -> object:
    return duckdb.read_parquet(str(path)).fetchall()


@pytest.mark.parametrize("seed", SEEDS)
def test_of_sixty_flipped_bits_the_manifest_refuses_sixty_and_the_engines_miss_most(tmp_path: Path, seed: int) -> None:
    store, version = published(tmp_path, seed)
    (part,) = version.parts
    path, dice = store.path_of(part), random.Random(seed)  # noqa: S311 - no secret
    whole, wanted = path.read_bytes(), read(store, version)
    refused, unnoticed = 0, {by_pyarrow: 0, by_duckdb: 0}
    for _ in range(FLIPS):
        flipped = bytearray(whole)
        bit = dice.randrange(len(whole) * 8)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(flipped))
        with pytest.raises(DataFailed, match="do not match the manifest's sha256"):
            read(store, version)
        refused += 1
        for engine in unnoticed:
            try:
                unnoticed[engine] += engine(path) is not None
            except (pa.ArrowException, OSError, duckdb.Error):
                continue
    assert refused == FLIPS
    # Positive control: without the hash most of them are read, and with other values where data was hit.
    assert min(unnoticed.values()) > FLIPS / 2
    path.write_bytes(whole)
    assert read(store, version) == wanted


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flipped_bit_changes_values_unseen_where_nothing_is_hashed(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positive control: the same read without the hash hands out values that nobody wrote."""
    store, version = published(tmp_path, seed)
    (part,) = version.parts
    path, wanted = store.path_of(part), read(store, version)
    # In the middle of the last column's values: random numbers, which compression stores as they are.
    content = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(0).column(2)
    content[chunk.dictionary_page_offset + chunk.total_compressed_size // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataFailed):
        read(store, version)

    def unhashed(self: VersionStore, part: Part) -> Path:
        return self.path_of(part)

    monkeypatch.setattr(VersionStore, "open_part", unhashed)
    assert read(store, version) != wanted


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _shorten_rows(path: Path) -> None:
    """A valid file with fewer rows, as an older copy put back would be."""
    pq.write_table(pq.read_table(path).slice(0, 100), path)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("damage", [_cut, _empty, _shorten_rows])
def test_a_cut_an_empty_and_a_shortened_file_are_refused_as_the_datas_fault(
    tmp_path: Path, seed: int, damage: Callable[[Path], None]
) -> None:
    store, version = published(tmp_path, seed)
    (part,) = version.parts
    damage(store.path_of(part))
    with pytest.raises(DataFailed, match="orders do not match") as refusal:
        read(store, version)
    assert str(store.path_of(part)) in str(refusal.value)
    assert store.scrub() == [str(refusal.value)]
    # The rest of the store goes on: the next version is published, and what is damaged is not gone back to.
    fresh = store.publish([store.write_part("orders", "d", pa.table({"order_id": ["o"]}))], {}, version.id)
    assert read(store, fresh).num_rows == 1
    with pytest.raises(DataFailed):
        VersionStore(store.root).point_to(version.id)
    assert store.current() == fresh


def test_without_the_hash_an_engine_reads_fewer_rows_and_stumbles_over_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positive control: a shortened file is read without a word; a cut one is no verdict about the data."""
    monkeypatch.setattr(VersionStore, "open_part", lambda self, part: self.path_of(part))
    store, version = published(tmp_path, 1)
    (part,) = version.parts
    _shorten_rows(store.path_of(part))
    assert read(store, version).num_rows == 100
    _cut(store.path_of(part))
    with pytest.raises((pa.ArrowException, OSError)) as stumbled:
        read(store, version)
    assert not isinstance(stumbled.value, DataFailed)


def test_the_same_rows_written_again_mend_a_damaged_part(tmp_path: Path) -> None:
    store, version = published(tmp_path, 1)
    (part,) = version.parts
    rows = read(store, version)
    _cut(store.path_of(part))
    assert store.write_part("orders", "d", rows) == part
    assert read(store, version) == rows
