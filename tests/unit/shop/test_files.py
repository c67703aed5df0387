"""The files source delivers what a folder holds, or names what is wrong with it."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.outcomes import DataFailed
from ml.shop.files import FilesSource

FRIDAY, SATURDAY, SUNDAY, MONDAY = (date(2024, 1, day) for day in (5, 6, 7, 8))


@pytest.fixture
def folder(tmp_path):
    """A shop with one order a day from Friday to Sunday and as little else as possible."""
    shop = tmp_path / "shop"
    put(shop / "customers.parquet", customer_id=["c1"])
    put(shop / "products.parquet", product_id=["p1"], is_merchandise=[True])
    for day in (FRIDAY, SATURDAY, SUNDAY):
        put(shop / "orders" / f"{day}.parquet", order_id=[f"o-{day}"], ordered_at=[noon(day)])
        put(shop / "order_lines" / f"{day}.parquet", order_line_id=[f"l-{day}"], ordered_at=[noon(day)])
    return shop


@pytest.fixture
def source(configure, folder):
    return FilesSource(configure(source="files", files_dir=folder))


def noon(day):
    return datetime(day.year, day.month, day.day, 17, tzinfo=UTC)


def put(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def put_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ids(delivery, column="order_id"):
    return delivery.rows.column(column).to_pylist()


def test_tables_are_those_found_in_the_order_of_the_contract(source, folder):
    put_text(folder / "payments.csv", "payment_id\n")
    (folder / "promotions").mkdir()
    put_text(folder / "notes.txt", "nothing of the contract")
    assert source.tables() == ("customers", "products", "orders", "order_lines", "promotions", "payments")


def test_a_wrong_folder_is_named_with_its_setting(configure, tmp_path):
    source = FilesSource(configure(source="files", files_dir=tmp_path / "nowhere"))
    with pytest.raises(DataFailed, match=r"nowhere: no such folder; SHOPWRIGHT_FILES_DIR"):
        source.tables()


def test_a_missing_required_table_is_named_with_what_was_expected_and_found(source, folder):
    (folder / "products.parquet").unlink()
    with pytest.raises(
        DataFailed, match=r"required table products is missing; expected .*products\.csv.* found customers, orders"
    ):
        source.tables()


def test_an_empty_folder_lacks_every_required_table(configure, tmp_path):
    source = FilesSource(configure(source="files", files_dir=tmp_path))
    with pytest.raises(
        DataFailed, match=r"customers, products, orders, order_lines is missing.*no table of the contract"
    ):
        source.tables()


def test_a_relative_folder_does_not_depend_on_where_the_process_runs(configure, tmp_path, monkeypatch):
    before = FilesSource(configure(source="files", files_dir="shop"))._folder
    monkeypatch.chdir(tmp_path)
    assert FilesSource(configure(source="files", files_dir="shop"))._folder == before


def test_days_are_read_from_the_first_up_to_the_end(source):
    delivery = source.read("orders", FRIDAY, SUNDAY)
    assert ids(delivery) == ["o-2024-01-05", "o-2024-01-06"]
    assert (delivery.table, delivery.format, delivery.unparsed) == ("orders", "typed", None)


def test_a_days_file_is_what_arrived_that_day_late_rows_included(source, folder):
    put(folder / "orders" / f"{SUNDAY}.parquet", order_id=["late"], ordered_at=[noon(FRIDAY)])
    assert ids(source.read("orders", SUNDAY, MONDAY)) == ["late"]
    assert ids(source.read("orders", FRIDAY, SATURDAY)) == ["o-2024-01-05"]


def test_a_folder_per_day_is_read_whole_and_adds_no_column(source, folder):
    (folder / "orders" / f"{FRIDAY}.parquet").unlink()
    put(folder / "orders" / f"date={FRIDAY}" / "b.parquet", order_id=["two"])
    put(folder / "orders" / f"date={FRIDAY}" / "a.parquet", order_id=["one"])
    put_text(folder / "orders" / f"date={FRIDAY}" / "_SUCCESS", "")
    delivery = source.read("orders", FRIDAY, SATURDAY)
    assert delivery.rows.to_pydict() == {"order_id": ["one", "two"]}


def test_a_snapshot_is_delivered_for_any_day(source):
    assert ids(source.read("products", date(2020, 1, 1), date(2020, 1, 2)), "product_id") == ["p1"]


def test_changes_of_an_entity_are_those_of_the_days(source, folder):
    (folder / "customers.parquet").unlink()
    put(folder / "customers" / f"{SATURDAY}.parquet", customer_id=["c2"])
    assert ids(source.read("customers", SATURDAY, SUNDAY), "customer_id") == ["c2"]
    nothing = source.read("customers", SUNDAY, MONDAY)
    assert (nothing.count_rows, nothing.format) == (0, "typed")


def test_a_whole_event_table_is_cut_into_days_of_the_shops_zone(source, folder):
    for path in (folder / "orders").iterdir():
        path.unlink()
    (folder / "orders").rmdir()
    times = [datetime(2024, 1, 6, 4, 59, tzinfo=UTC), datetime(2024, 1, 6, 5, 0, tzinfo=UTC)]
    put(folder / "orders.parquet", order_id=["friday night", "saturday"], ordered_at=times)
    assert ids(source.read("orders", FRIDAY, SATURDAY)) == ["friday night"]
    assert ids(source.read("orders", SATURDAY, SUNDAY)) == ["saturday"]


def test_a_whole_csv_file_is_cut_with_its_unparsed_lines(source, folder):
    for path in (folder / "orders").iterdir():
        path.unlink()
    (folder / "orders").rmdir()
    put_text(folder / "orders.csv", "order_id,ordered_at\na,2024-01-05 17:00\nragged\nb,2024-01-06 17:00\nx,y,z\n")
    friday, saturday = source.read("orders", FRIDAY, SATURDAY), source.read("orders", SATURDAY, SUNDAY)
    assert (ids(friday), friday.unparsed.column("line").to_pylist()) == (["a"], [3])
    assert (ids(saturday), saturday.unparsed.column("line").to_pylist()) == (["b"], [5])
    assert friday.format == "text"
    assert friday.count_rows == 2


def test_csv_of_several_days_is_joined_with_its_unparsed_lines(source, folder):
    for day in (FRIDAY, SATURDAY):
        (folder / "orders" / f"{day}.parquet").unlink()
        put_text(folder / "orders" / f"{day}.csv", f"order_id\no-{day}\nx,{day}\n")
    delivery = source.read("orders", FRIDAY, SUNDAY)
    assert ids(delivery) == ["o-2024-01-05", "o-2024-01-06"]
    assert delivery.unparsed.column("source_file").to_pylist() == ["orders/2024-01-05.csv", "orders/2024-01-06.csv"]


def test_a_missing_day_of_a_required_event_table_is_named(source, folder):
    (folder / "orders" / f"{SATURDAY}.parquet").unlink()
    with pytest.raises(
        DataFailed, match=r"orders: no file for 1 of 3 days \(2024-01-06\); expected orders/2024-01-06\.parquet"
    ):
        source.read("orders", FRIDAY, MONDAY)


def test_no_file_is_expected_on_a_closed_day(configure, folder):
    (folder / "orders" / f"{SATURDAY}.parquet").unlink()
    source = FilesSource(configure(source="files", files_dir=folder, closed_days='["01-06"]'))
    assert ids(source.read("orders", FRIDAY, MONDAY)) == ["o-2024-01-05", "o-2024-01-07"]
    assert source.read("orders", SATURDAY, SUNDAY).count_rows == 0


def test_a_day_without_promotions_needs_no_file(source, folder):
    (folder / "promotions").mkdir()
    delivery = source.read("promotions", FRIDAY, SATURDAY)
    assert delivery.count_rows == 0
    assert "starts_at" in delivery.rows.column_names


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all, but long enough to have a footer"])
def test_an_unreadable_parquet_file_is_named(source, folder, content):
    (folder / "orders" / f"{FRIDAY}.parquet").write_bytes(content)
    with pytest.raises(
        DataFailed, match=rf"orders/2024-01-05\.parquet: not a readable Parquet file \({len(content)} bytes\)"
    ):
        source.read("orders", FRIDAY, SATURDAY)


def test_a_truncated_parquet_file_is_named(source, folder):
    path = folder / "orders" / f"{FRIDAY}.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataFailed, match=r"orders/2024-01-05\.parquet: not a readable Parquet file"):
        source.read("orders", FRIDAY, SATURDAY)


@pytest.mark.parametrize(
    "name", ["2024-1-5.parquet", "orders_2024-01-09.parquet", "2024-02-30.csv", "2024-01-09.json", "date=x"]
)
def test_a_file_that_is_no_days_file_is_not_passed_over(source, folder, name):
    put_text(folder / "orders" / name, "")
    with pytest.raises(DataFailed, match=rf"orders/{name}: not a day's file; expected names such as"):
        source.read("orders", FRIDAY, SATURDAY)


@pytest.mark.parametrize("name", [".orders.swp", "_SUCCESS"])
def test_hidden_files_are_passed_over(source, folder, name):
    put_text(folder / "orders" / name, "")
    assert ids(source.read("orders", FRIDAY, SATURDAY)) == ["o-2024-01-05"]


def test_an_empty_day_folder_is_named(source, folder):
    (folder / "orders" / "date=2024-01-08").mkdir()
    with pytest.raises(DataFailed, match=r"orders/date=2024-01-08: the day's folder is empty"):
        source.read("orders", MONDAY, date(2024, 1, 9))


def test_two_files_for_one_day_are_refused(source, folder):
    put_text(folder / "orders" / f"{FRIDAY}.csv", "order_id\nx\n")
    with pytest.raises(DataFailed, match="a second file for the day"):
        source.read("orders", FRIDAY, SATURDAY)


def test_one_table_in_two_forms_is_refused(source, folder):
    put_text(folder / "orders.csv", "order_id\nx\n")
    with pytest.raises(DataFailed, match=r"table orders is there more than once \(orders\.csv, orders\); keep one"):
        source.read("orders", FRIDAY, SATURDAY)


def test_parquet_and_csv_days_are_not_mixed(source, folder):
    (folder / "orders" / f"{SATURDAY}.parquet").unlink()
    put_text(folder / "orders" / f"{SATURDAY}.csv", "order_id,ordered_at\nx,2024-01-06\n")
    with pytest.raises(DataFailed, match="orders: some of the days are Parquet files and some CSV files"):
        source.read("orders", FRIDAY, SUNDAY)
    assert source.read("orders", SATURDAY, SUNDAY).format == "text"


def test_a_column_renamed_on_one_of_several_days_is_not_filled_with_nulls(source, folder):
    put(folder / "orders" / f"{SATURDAY}.parquet", id=["o"], ordered_at=[noon(SATURDAY)])
    with pytest.raises(
        DataFailed, match=r"orders/2024-01-06\.parquet: column order_id is missing; orders/2024-01-05\.parquet"
    ):
        source.read("orders", FRIDAY, SUNDAY)
    with pytest.raises(DataFailed, match=r"orders/2024-01-06\.parquet: column order_id is missing"):
        source.read("orders", SATURDAY, MONDAY)
    assert source.read("orders", SATURDAY, SUNDAY).rows.column_names == ["id", "ordered_at"], "the gate judges one day"


def test_an_optional_column_that_comes_later_is_null_before(source, folder):
    put(folder / "orders" / f"{SATURDAY}.parquet", order_id=["x"], ordered_at=[noon(SATURDAY)], store_id=["s1"])
    assert source.read("orders", FRIDAY, SUNDAY).rows.column("store_id").to_pylist() == [None, "s1"]


def test_a_type_that_changes_between_days_is_named(source, folder):
    put(folder / "orders" / f"{SATURDAY}.parquet", order_id=[7], ordered_at=[noon(SATURDAY)])
    with pytest.raises(
        DataFailed, match=r"2024-01-06\.parquet: column order_id is int64; in orders/2024-01-05\.parquet it is string"
    ):
        source.read("orders", FRIDAY, SUNDAY)


def test_a_column_twice_is_named(source, folder):
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["order_id", "order_id"])
    pq.write_table(twice, folder / "orders" / f"{FRIDAY}.parquet")
    with pytest.raises(DataFailed, match="has the column order_id more than once"):
        source.read("orders", FRIDAY, SATURDAY)


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_is_text_however_it_was_encoded(source, folder, kind):
    pq.write_table(pa.table({"order_id": pa.array(["a", None]).cast(kind)}), folder / "orders" / f"{FRIDAY}.parquet")
    delivered = source.read("orders", FRIDAY, SATURDAY).rows
    assert delivered.schema.field("order_id").type == pa.string()
    assert delivered.column("order_id").to_pylist() == ["a", None]


def test_other_types_are_delivered_as_they_are(source, folder):
    put(folder / "orders" / f"{FRIDAY}.parquet", order_id=[1], cents=[1.5])
    assert [str(kind) for kind in source.read("orders", FRIDAY, SATURDAY).rows.schema.types] == ["int64", "double"]
