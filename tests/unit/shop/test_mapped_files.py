"""What a mapping makes of a shop's files, on rows small enough to be worked out by hand."""

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.outcomes import DataFailed
from ml.shop.mapped_files import MappedFilesSource

HEADER = "Invoice,Code,Name,Qty,At,Price,Customer,Country\n"
MAPPING = """\
files:
  sales:
    path: sales.csv
    time: {from: At, format: "%d/%m/%Y %H:%M", zone: Europe/London}
tables:
  customers:
    file: sales
    one_row_per: Customer
    columns:
      customer_id: Customer
      registered_at: {from: At, take: first}
      country: {from: Country, values: {United Kingdom: GB}, take: last}
  products:
    file: sales
    one_row_per: Code
    columns:
      product_id: Code
      name: {from: Name, take: last}
      is_merchandise: {where: {column: Code, not_in: [POST]}}
  orders:
    file: sales
    one_row_per: Invoice
    keep:
      cancelled: {column: Invoice, not_starts_with: C}
      returned: {column: Qty, above: 0}
    columns:
      order_id: Invoice
      customer_id: {from: Customer, take: first}
      ordered_at: {from: At, take: first}
      total_amount_cents: {product: [Qty, Price], factor: 100, take: sum}
      currency: {constant: GBP}
  order_lines:
    file: sales
    keep:
      cancelled: {column: Invoice, not_starts_with: C}
      returned: {column: Qty, above: 0}
    columns:
      order_line_id: {template: "{Invoice}-{Code}-{#}"}
      order_id: Invoice
      product_id: Code
      ordered_at: At
      quantity: Qty
      amount_cents: {product: [Qty, Price], factor: 100}
      currency: {constant: GBP}
"""
ROWS = [
    "1,a,RED MUG,2,01/07/2024 10:00,1.005,ann,United Kingdom",
    "1,b,CUP,1,01/07/2024 10:00,2.50,ann,United Kingdom",
    "1,a,RED MUG,1,01/07/2024 10:00,1.00,ann,United Kingdom",
    "2,a,RED MUG,1,01/07/2024 11:00,1.00,,United Kingdom",
    "C3,a,RED MUG,-1,01/07/2024 12:00,1.00,ann,United Kingdom",
    "4,b,CUP,-2,02/07/2024 00:30,2.50,bob,France",
    "4,POST,POSTAGE,1,02/07/2024 00:30,18,bob,France",
    "5,a,ROSE MUG,3,02/07/2024 10:00,1.10,ann,United Kingdom",
]
MONDAY, TUESDAY, WEDNESDAY = date(2024, 7, 1), date(2024, 7, 2), date(2024, 7, 3)


@pytest.fixture
def shop(configure, tmp_path):
    """A function that writes files and a mapping and opens them."""

    def write(rows=None, mapping=MAPPING, **files):
        folder = tmp_path / "shop"
        folder.mkdir(exist_ok=True)
        if rows is not None:
            (folder / "sales.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
        for name, content in files.items():
            path = folder / name.replace("__", "/").replace("_csv", ".csv")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        (tmp_path / "map.yml").write_text(mapping)
        return MappedFilesSource(
            configure(
                source="files",
                files_dir=folder,
                files_mapping=tmp_path / "map.yml",
                timezone="Europe/London",
                currency="GBP",
            )
        )

    return write


def of(source, table, first=MONDAY, end=WEDNESDAY):
    return [
        {name: value for name, value in row.items() if name != "_line"}
        for row in source.read(table, first, end).rows.to_pylist()
    ]


def test_lines_are_rows_of_the_file_in_exact_pence_with_ids_of_their_own(shop):
    lines = of(shop(ROWS), "order_lines", MONDAY, TUESDAY)
    assert [(line["order_line_id"], line["quantity"], line["amount_cents"]) for line in lines] == [
        ("1-a-2", "2", "201"),
        ("1-b-1", "1", "250"),
        ("1-a-1", "1", "100"),
        ("2-a-1", "1", "100"),
    ]
    assert lines[0]["ordered_at"] == "2024-07-01T09:00:00.000000Z"


def test_an_order_is_made_of_its_lines_and_a_guest_has_no_customer(shop):
    orders = of(shop(ROWS), "orders")
    assert [(o["order_id"], o["customer_id"], o["total_amount_cents"]) for o in orders] == [
        ("1", "ann", "551"),
        ("2", None, "100"),
        ("4", "bob", "1800"),
        ("5", "ann", "330"),
    ]


def test_a_day_is_the_shops_own(shop):
    """Half past midnight in summer is half past eleven of the day before in UTC."""
    source = shop(ROWS)
    assert [order["order_id"] for order in of(source, "orders", TUESDAY, WEDNESDAY)] == ["4", "5"]


def test_what_a_filter_leaves_out_is_counted_on_its_day(shop):
    source = shop(ROWS)
    assert source.read("orders", MONDAY, TUESDAY).left_out == {"cancelled": 1}
    assert source.read("orders", TUESDAY, WEDNESDAY).left_out == {"returned": 1}
    assert source.read("order_lines", MONDAY, WEDNESDAY).left_out == {"cancelled": 1, "returned": 1}
    assert source.read("customers", MONDAY, WEDNESDAY).left_out == {"no Customer": 1}


def test_every_row_of_the_file_is_delivered_or_counted(shop):
    delivery = shop(ROWS).read("order_lines", MONDAY, WEDNESDAY)
    assert delivery.count_rows + sum(delivery.left_out.values()) == len(ROWS)


def test_an_entity_is_what_is_known_by_the_end_of_the_days(shop):
    source = shop(ROWS)
    names = {
        day: {p["product_id"]: p["name"] for p in of(source, "products", *day)}
        for day in ((MONDAY, TUESDAY), (TUESDAY, WEDNESDAY))
    }
    assert names[(MONDAY, TUESDAY)] == {"a": "RED MUG", "b": "CUP"}
    assert names[(TUESDAY, WEDNESDAY)] == {"b": "CUP", "POST": "POSTAGE", "a": "ROSE MUG"}
    [ann] = [c for c in of(source, "customers", TUESDAY, WEDNESDAY) if c["customer_id"] == "ann"]
    assert ann == {"customer_id": "ann", "registered_at": "2024-07-01T09:00:00.000000Z", "country": "GB"}
    assert {c["country"] for c in of(source, "customers")} == {"GB", "France"}


def test_day_by_day_gives_the_rows_of_one_load(shop):
    source = shop(ROWS)
    for table in ("orders", "order_lines"):
        by_day = of(source, table, MONDAY, TUESDAY) + of(source, table, TUESDAY, WEDNESDAY)
        assert sorted(map(str, by_day)) == sorted(map(str, of(source, table)))


def test_what_is_merchandise_is_asked_of_the_code(shop):
    found = {product["product_id"]: product["is_merchandise"] for product in of(shop(ROWS), "products")}
    assert found == {"a": "true", "b": "true", "POST": "false"}


def test_ids_of_lines_hold_when_the_file_is_sorted_otherwise_and_grows(shop):
    def ids(rows):
        return {line["order_line_id"]: line["amount_cents"] for line in of(shop(rows), "order_lines")}

    before = ids(ROWS)
    assert ids(ROWS[::-1]) == before
    after = ids(["0,a,RED MUG,9,01/07/2024 09:00,1.00,ann,United Kingdom", *ROWS])
    assert {key: after[key] for key in before} == before


def test_the_same_days_give_the_same_rows_in_the_same_order(shop):
    source = shop(ROWS)
    for table in source.tables():
        first, second = (source.read(table, MONDAY, WEDNESDAY) for _ in range(2))
        assert first.rows.equals(second.rows)


def test_what_cannot_be_read_is_handed_on_for_the_gate_to_see(shop):
    rows = [*ROWS, "6,a,RED MUG,many,02/07/2024 12:00,1.00,ann,United Kingdom", "7,a,X,1,soon,cheap,,France"]
    lines = {line["order_id"]: line for line in of(shop(rows), "order_lines")}
    assert (lines["6"]["quantity"], lines["6"]["amount_cents"]) == ("many", "many")
    assert (lines["7"]["ordered_at"], lines["7"]["amount_cents"]) == ("soon", "cheap")
    orders = {order["order_id"]: order for order in of(shop(rows), "orders")}
    assert orders["6"]["total_amount_cents"] is None, "part of a sum is no sum"
    assert orders["7"]["ordered_at"] == "soon"


def test_a_broken_line_goes_with_the_lines_and_with_the_row_before_it(shop):
    source = shop([ROWS[0], "1,b,two fields short", *ROWS[3:]])
    assert source.read("orders", MONDAY, TUESDAY).unparsed is None
    [line] = source.read("order_lines", MONDAY, TUESDAY).unparsed.to_pylist()
    assert (line["line"], line["text"]) == (3, "1,b,two fields short")
    assert source.read("order_lines", TUESDAY, WEDNESDAY).unparsed is None


def test_a_missing_column_is_named_with_those_found(shop):
    source = shop(sales_csv=HEADER.replace("Price", "Pryce") + ROWS[0] + "\n")
    with pytest.raises(DataFailed, match=r"sales.csv: column Price is missing; .* found Invoice, Code"):
        source.read("orders", MONDAY, WEDNESDAY)


def test_a_wrong_format_of_the_time_is_said_so(shop):
    source = shop(ROWS, MAPPING.replace("%d/%m/%Y %H:%M", "%Y-%m-%d"))
    with pytest.raises(DataFailed, match=r"ordered_at cannot be read in any row of sales.csv; do format and zone"):
        source.read("orders", MONDAY, WEDNESDAY)


def test_a_missing_file_of_a_required_table_is_said_so(shop):
    with pytest.raises(DataFailed, match="required table customers, products, orders, order_lines has no file"):
        shop().tables()


OTHER = """\
files:
  pedidos: {path: "pedidos/{day}.csv", delimiter: ";", encoding: latin-1, decimal: ",", thousands: "."}
  produtos: {path: produtos.parquet}
tables:
  products:
    file: produtos
    columns:
      product_id: {from: id, remove: "[.]0$"}
      name: nome
      package_size: peso
      is_merchandise: {from: tipo, values: {taxa: false}, otherwise: true}
  orders:
    file: pedidos
    columns:
      order_id: {template: "BR-{pedido}"}
      customer_id: cliente
      ordered_at:
        from: criado
        format: ["%d.%m.%Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
        zone: {column: loja, values: {Manaus: America/Manaus}, otherwise: America/Sao_Paulo}
      store_id: loja
      total_amount_cents: {from: total, remove: "R[$]", factor: 100}
      currency: {constant: BRL}
      updated_at: {from: mudado, zone: UTC}
      _op: {delete_where: {column: estado, equals: cancelado}}
"""
PEDIDOS = """\
pedido;cliente;criado;loja;total;mudado;estado
1;joão;01.07.2024 10:00:00;São Paulo;R$ 1.234,56;2024-07-01 14:00;pago
2;ana;01.07.2024 10:00:00;Manaus;3,5;;cancelado
3;;2024-07-01T10:00:00-0300;Manaus;0,1;;
"""


def test_separate_files_in_another_language_with_commas_and_local_times(shop, tmp_path):
    (tmp_path / "shop").mkdir()
    products = pa.table({"id": [7.0, 8.0], "nome": ["Café", None], "peso": [0.5, 12.0], "tipo": ["taxa", None]})
    pq.write_table(products, tmp_path / "shop" / "produtos.parquet")
    source = shop(mapping=OTHER, **{"pedidos__2024-07-01_csv": PEDIDOS.encode("latin-1")})
    orders = of(source, "orders", MONDAY, TUESDAY)
    assert [order["ordered_at"][:19] for order in orders] == [
        "2024-07-01T13:00:00",
        "2024-07-01T14:00:00",
        "2024-07-01T13:00:00",
    ]
    assert [order["total_amount_cents"] for order in orders] == ["123456", "350", "10"]
    assert [order["_op"] for order in orders] == ["upsert", "delete", "upsert"]
    assert (orders[0]["customer_id"], orders[0]["updated_at"]) == ("joão", "2024-07-01T14:00:00.000000Z")
    assert [order["order_id"] for order in orders] == ["BR-1", "BR-2", "BR-3"]
    assert of(source, "products") == [
        {"product_id": "7", "name": "Café", "package_size": "0.5", "is_merchandise": "false"},
        {"product_id": "8", "name": None, "package_size": "12", "is_merchandise": "true"},
    ]


def test_a_missing_day_of_a_required_table_is_named(shop):
    source = shop(mapping=OTHER, **{"pedidos__2024-07-01_csv": PEDIDOS.encode("latin-1")})
    assert source.days("orders") == (MONDAY, MONDAY)
    with pytest.raises(DataFailed, match=r"no file for 1 of 2 days \(2024-07-02\); expected pedidos/2024-07-02.csv"):
        source.read("orders", MONDAY, WEDNESDAY)


def test_moments_of_a_typed_file_are_taken_as_they_are(shop, tmp_path):
    folder: Path = tmp_path / "shop"
    folder.mkdir()
    moments = pa.array(
        [datetime(2024, 7, 1, 9, tzinfo=UTC), datetime(2024, 7, 1, 23, 30, tzinfo=UTC)],
        pa.timestamp("ms", tz="America/New_York"),
    )
    rows = {"Invoice": [1, 2], "Code": ["a", "b"], "Qty": [1.5, 2.0], "At": moments, "Price": [0.1 + 0.2, 1.005]}
    pq.write_table(pa.table(rows), folder / "sales.parquet")
    mapping = MAPPING.replace("sales.csv", "sales.parquet").replace('format: "%d/%m/%Y %H:%M", ', "")
    lines = of(shop(mapping=mapping), "order_lines", MONDAY, WEDNESDAY)
    assert [(line["ordered_at"][:16], line["quantity"], line["amount_cents"]) for line in lines] == [
        ("2024-07-01T09:00", "1.5", "45"),
        ("2024-07-01T23:30", "2", "201"),
    ]
    assert len(of(shop(mapping=mapping), "order_lines", TUESDAY, WEDNESDAY)) == 1, "half past midnight in London"
