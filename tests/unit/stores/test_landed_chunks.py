"""A landed batch is read in chunks of whole row groups, in order, from verified bytes."""

from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.outcomes import DataFailed
from ml.shop.delivery import Delivery
from ml.stores import landing as landing_module
from ml.stores.landing import Landing

DAY = date(2024, 1, 5)


@pytest.fixture
def landing(tmp_path):
    return Landing(tmp_path / "tiny" / "landing")


@pytest.fixture
def small_groups(monkeypatch):
    """Files are written in row groups of three rows."""
    write = pq.write_table
    monkeypatch.setattr(
        landing_module.pq, "write_table", lambda rows, path, **more: write(rows, path, row_group_size=3, **more)
    )


def land(landing, count):
    rows = pa.table({"order_id": pa.array([f"o{number}" for number in range(count)], pa.string())})
    return landing.land(Delivery("orders", rows, "typed"), DAY, DAY, "files")


@pytest.mark.parametrize(
    ("max_rows", "sizes"),
    [(1, [1] * 8), (2, [2, 1, 2, 1, 2]), (3, [3, 3, 2]), (5, [3, 5]), (6, [6, 2]), (100, [8])],
)
def test_chunks_are_whole_row_groups_as_far_as_they_fit(landing, small_groups, max_rows, sizes):
    batch = land(landing, 8)
    chunks = list(landing.read_chunks(batch, max_rows))
    assert [chunk.num_rows for chunk in chunks] == sizes
    assert pa.concat_tables(chunks) == landing.read(batch)


def test_an_empty_batch_is_one_empty_chunk_with_its_columns(landing):
    (chunk,) = landing.read_chunks(land(landing, 0), 5)
    assert (chunk.num_rows, chunk.column_names) == (0, ["order_id"])


def test_changed_bytes_are_told_before_the_first_chunk(landing):
    batch = land(landing, 8)
    path = landing.root / "orders" / batch.id / "rows.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataFailed, match="do not match the manifest"):
        landing.read_chunks(batch, 5)
