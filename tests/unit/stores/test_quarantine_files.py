"""Quarantined rows as a file that somebody edits: what is written is read back, and what does not fit is named."""

import stat
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.outcomes import DataFailed
from ml.stores.quarantine import EntryKey
from ml.stores.quarantine_files import original_orders, read_repaired, write_export

KEY = EntryKey("order_lines", "2024-01-05.1d.abcdef01", "quantity_not_positive")
UNPARSED = EntryKey("order_lines", KEY.batch_id, "line_unparsed")
MOMENT = datetime(2024, 1, 5, 15, 30, tzinfo=UTC)


@pytest.fixture
def entry():
    return pa.table(
        {
            "order_line_id": ["l0", "l1", "l2"],
            "order_id": ["o1", None, ""],
            "product_id": ["p, 1", 'p "2"', "p\n3"],
            "ordered_at": pa.array([MOMENT, None, MOMENT], pa.timestamp("ns", tz="UTC")),
            "quantity": [0.0, float("nan"), -1.5],
            "amount_cents": [100.0, None, 300.0],  # as pandas writes whole numbers where one is missing
            "currency": ["USD"] * 3,
            "surplus": ["?"] * 3,
            "_rule": [KEY.rule] * 3,
        }
    )


def read(path, entry, delivered_as="typed", key=KEY):
    return read_repaired(path, key, entry, delivered_as)


def exported(tmp_path, entry, positions=(0, 1, 2), suffix=".csv"):
    path = tmp_path / f"rows{suffix}"
    write_export(path, KEY, entry.take(list(positions)), positions, entry.column_names)
    return path


def test_a_csv_holds_what_the_gate_reads_again(tmp_path, entry):
    repaired = read(exported(tmp_path, entry), entry)
    assert repaired.format == "text"
    assert repaired.positions.tolist() == [0, 1, 2]
    assert repaired.rows.to_pydict() == {
        "order_line_id": ["l0", "l1", "l2"],
        "order_id": ["o1", None, None],
        "product_id": ["p, 1", 'p "2"', "p\n3"],
        "ordered_at": ["2024-01-05T15:30:00+00:00", None, "2024-01-05T15:30:00+00:00"],
        "quantity": ["0.0", None, "-1.5"],
        "amount_cents": ["100", None, "300"],
        "currency": ["USD"] * 3,
    }


def test_a_parquet_file_keeps_the_types(tmp_path, entry):
    repaired = read(exported(tmp_path, entry, suffix=".parquet"), entry)
    assert repaired.format == "typed"
    assert repaired.rows.schema == entry.drop_columns(["surplus", "_rule"]).schema


def test_rows_are_known_by_their_positions_and_not_by_their_order(tmp_path, entry):
    path = exported(tmp_path, entry, positions=(2, 0))
    repaired = read(path, entry)
    assert repaired.positions.tolist() == [0, 2]
    assert repaired.rows.column("order_line_id").to_pylist() == ["l0", "l2"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_nobody_else_can_read_an_export_and_none_is_overwritten(tmp_path, entry, suffix):
    path = exported(tmp_path, entry, suffix=suffix)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        exported(tmp_path, entry, positions=(0,), suffix=suffix)
    assert path.read_bytes() == before


def test_nothing_is_left_of_an_export_that_fails(tmp_path, entry, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="no space"):
        exported(tmp_path, entry, suffix=".parquet")
    assert list(tmp_path.iterdir()) == []


def test_decimals_and_truth_are_written_as_the_gate_reads_them(tmp_path):
    entry = pa.table({"product_id": ["p1"], "is_merchandise": [False], "package_size": pa.array([Decimal("1E+3")])})
    path = tmp_path / "rows.csv"
    write_export(path, EntryKey("products", KEY.batch_id, "r"), entry, [0], entry.column_names)
    assert path.read_text().splitlines()[1].endswith("p1,1000,false")


def test_a_line_that_did_not_split_comes_with_the_columns_to_fill_in(tmp_path):
    lines = pa.table({"source_file": ["f.csv"], "line": [7], "text": ["a,b"], "reason": ["2 fields"]})
    path = tmp_path / "lines.csv"
    write_export(path, UNPARSED, lines, [0], ["order_line_id", "quantity", "surplus"])
    header, row = path.read_text().splitlines()
    assert header == "_row,_batch_id,_rule,_source_file,_source_line,_text,_reason,order_line_id,quantity"
    assert row == f'0,{KEY.batch_id},line_unparsed,f.csv,7,"a,b",2 fields,,'
    repaired = read(path, lines, "text", UNPARSED)
    assert repaired.rows.column_names == ["order_line_id", "quantity"]


def test_parquet_of_text_stays_text(tmp_path):
    entry = pa.table({"order_line_id": ["l0"], "quantity": ["0"], "_line": pa.array([3], pa.int64())})
    path = exported(tmp_path, entry, positions=(0,), suffix=".parquet")
    assert pq.read_table(path).column("_source_line").to_pylist() == [3]
    assert read(path, entry, "text").format == "text"


@pytest.mark.parametrize(
    ("positions", "problem"),
    [
        (pa.array([0, 0, 1]), "_row 0 comes more than once"),
        (pa.array([0, 1, 3]), "_row 3 is not in the entry, whose rows are 0 to 2"),
        (pa.array([0, -1, 2]), "_row -1 is not in the entry"),
        (pa.array([0, None, 2]), "_row is empty or no whole number in row 2"),
        (pa.array([0.0, 1.5, 2.0]), "_row is empty or no whole number in row 2"),
        (pa.array([True, False, True]), "_row is empty or no whole number in row 1, 2, 3"),
    ],
)
def test_positions_that_do_not_fit_are_named(tmp_path, entry, positions, problem):
    path = exported(tmp_path, entry, suffix=".parquet")
    rows = pq.read_table(path)
    pq.write_table(rows.set_column(0, "_row", positions), path)
    with pytest.raises(DataFailed, match=problem):
        read(path, entry)


def test_many_positions_are_not_all_named(tmp_path, entry):
    path = exported(tmp_path, entry, suffix=".parquet")
    rows = pq.read_table(path).take([0] * 15)
    pq.write_table(rows.set_column(0, "_row", pa.array(range(10, 25))), path)
    with pytest.raises(DataFailed, match="18, 19 and 5 more is not in the entry"):
        read(path, entry)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("rows.xlsx", b"x", "ends in .csv or .parquet"),
        ("rows.parquet", b"secret", "not a readable Parquet file"),
        ("rows.csv", b"", "is empty"),
        ("rows.csv", b"_row;quantity\n0;1\n", "semicolon"),
        ("rows.csv", b"_row,quantity\n", "has no row"),
        ("rows.csv", b"_row,quantity\n0,1,secret\n1,2\n", "line 2 cannot be split"),
        ("rows.csv", b"_row,quantity\n0,secret\n", "column order_line_id, .* is missing"),
        ("rows.csv", b"\xff\xfe_row", "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_by_its_fault_without_values(tmp_path, entry, name, content, problem):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataFailed, match=problem) as told:
        read(path, entry)
    assert "secret" not in str(told.value)


def test_only_rows_that_named_an_order_have_one(entry):
    assert original_orders(entry, [0, 1, 2]) == ["o1"]
    assert original_orders(pa.table({"text": ["a"]}), [0]) == []
