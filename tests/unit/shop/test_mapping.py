"""A mapping file is told what is wrong with it by file, line and key, before anything is read."""

from pathlib import Path

import pytest

from ml.settings import SettingsError
from ml.shop.mapping import Mapping, read_mapping

ROOT = Path(__file__).resolve().parents[3]
GOOD = """\
files:
  sales: {path: sales.csv}
tables:
  products:
    file: sales
    one_row_per: sku
    columns:
      product_id: sku
      is_merchandise: {constant: true}
"""
COLUMNS = "      is_merchandise: {constant: true}\n"


@pytest.fixture
def read(tmp_path):
    def write_and_read(text: str) -> Mapping:
        path = tmp_path / "shop.yml"
        path.write_text(text)
        return read_mapping(path, "shop.yml")

    return write_and_read


def refusal(read, text):
    with pytest.raises(SettingsError) as refused:
        read(text)
    return str(refused.value)


def test_the_example_can_be_read():
    mapping = read_mapping(ROOT / "docs/examples/gift_wholesaler.yml", "gift_wholesaler.yml")
    assert list(mapping.tables) == ["customers", "products", "orders", "order_lines"]
    assert mapping.usual_zone() == "Europe/London"


def test_a_small_one_can_be_read(read):
    assert read(GOOD).columns_of("products") == ["sku"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("file: sales", "fille: sales", "shop.yml:5: tables.products.fille: unknown key; allowed are file, columns,"),
        ("path: sales.csv", "path: sales.csv, sep: ;", "shop.yml:2: files.sales.sep: unknown key; allowed are path,"),
        ("products:", "produkts:", "shop.yml:4: tables.produkts: unknown table; allowed are customers, products,"),
        ("file: sales", "file: sails", "shop.yml:5: tables.products.file: unknown file; allowed are sales"),
        ("product_id: sku", "name: sku", "shop.yml:7: tables.products.columns: product_id is missing"),
        (
            "product_id: sku",
            "product_id: sku\n      colour: sku",
            "columns.colour: unknown column; allowed are",
        ),
        (
            "constant: true",
            "constant: yes",
            "shop.yml:9: tables.products.columns.is_merchandise.constant: ex",
        ),
        ("constant: true", "const: true", "is_merchandise.const: unknown key; allowed are from, constant,"),
        ("{constant: true}", "{}", "columns.is_merchandise: expected exactly one of from, constant,"),
        ("{constant: true}", "{constant: true, from: sku}", "is_merchandise: expected exactly one of"),
        ("sales.csv", "../sales.csv", "files.sales.path: expected a path within the shop's folder"),
        ("sales.csv}", "sales.csv, encoding: klingon}", "files.sales.encoding: expected an encoding such as"),
        ("sales.csv}", "sales.csv, delimiter: '-'}", "files.sales.delimiter: allowed are ',', ';'"),
        ("product_id: sku", "product_id: {from: sku, take: best}", "product_id.take: "),
        ("product_id: sku", "product_id: sku\n      name: {from: title}", "columns.name: take is missing"),
        ("product_id: sku", "product_id: sku\n      name: {from: t, take: sum}", "name.take: sum is only for a number"),
        ("product_id: sku", "product_id: {from: sku, factor: 100}", "product_id.factor: only for a number"),
        (
            "product_id: sku",
            "product_id: {from: sku, values: {a: b}, factor: 2}",
            "values: neither for a timestamp nor",
        ),
        ("product_id: sku", "product_id: {from: sku, zone: UTC}", "product_id.zone: only for a timestamp"),
        ("product_id: sku", "product_id: {template: plain}", "product_id.template: expected at least one column"),
        ("    columns:", "    keep: {x: {column: a, like: b}}\n    columns:", "keep.x.like: unknown key; allowed are"),
        ("    columns:", "    keep: {x: {column: a, matches: '('}}\n    columns:", "matches: not a regular expression"),
        ("    columns:", "    keep: {x: {column: a, above: many}}\n    columns:", "keep.x.above: expected a number"),
        ("file: sales", "file: sales\n    file: sales", "shop.yml:6: tables.products.file: given twice"),
        ("file: sales", "file: &a sales", "shop.yml:5: anchors (&) are not allowed"),
        ("file: sales", "<<: {file: sales}", "shop.yml:5: tables.products: merge keys (<<) are not allowed"),
        ("file: sales", "file: !!python/object/apply:os.system [ls]", "shop.yml:5: tags (!) are not allowed"),
        ("file: sales", "file: [sales", "shop.yml:"),
        ("file: sales", "file: true", "shop.yml:5: tables.products.file: expected text"),
        (GOOD, "", "shop.yml:1: the file: expected keys: files, tables"),
        (GOOD, "files: {}\n", "shop.yml:1: tables: is missing"),
    ],
)
def test_what_is_wrong_is_told_by_line_and_key(read, old, new, told):
    assert old in GOOD
    assert told in refusal(read, GOOD.replace(old, new, 1))


def test_all_problems_are_told_at_once(read):
    told = refusal(read, GOOD.replace("file: sales", "fille: sales").replace("path:", "pfad:"))
    assert "files.sales.pfad" in told
    assert "tables.products.fille" in told


def test_a_local_time_needs_a_zone(read):
    text = (
        GOOD.replace("products", "customers")
        .replace("product_id: sku", "customer_id: sku")
        .replace(COLUMNS, "      registered_at: {from: seen, take: first}\n")
    )
    assert "shop.yml:9: tables.customers.columns.registered_at: zone is missing" in refusal(read, text)
    assert "expected an IANA time zone" in refusal(read, text.replace("take:", "zone: Mars/Olympus, take:"))
    read(text.replace("take:", "zone: Europe/Berlin, take:"))
    read(text.replace("take:", "format: '%Y-%m-%dT%H:%M:%S%z', take:"))


def test_yaml_guesses_nothing(read):
    """YAML 1.1 takes NO for false, 12:30 for 750 and 007 for 7."""
    mapping = read(
        GOOD.replace(
            COLUMNS,
            "      is_merchandise: {constant: true}\n      brand: {from: sku, values: {NO: 12:30, 010: 007, 8: on}}\n",
        )
    )
    values = mapping.tables["products"].columns["brand"].values
    assert values == {"NO": "12:30", "010": "007", "8": "on"}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"shop\.yml: cannot be opened"):
        read_mapping(tmp_path / "shop.yml", "shop.yml")
