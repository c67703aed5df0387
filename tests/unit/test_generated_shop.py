"""The shop that other tests build on is what they take it for, and each breakage spoils what it says."""

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ml.shop.breakages import BREAKAGES, break_shop
from ml.shop.contract import CONTRACT, REQUIRED_TABLES
from ml.shop.generated import day_file, small_shop
from ml.stores.durable import sha256_file

MONDAY = date(2024, 1, 1)
DAY = date(2024, 1, 5)
ABOUT_ROWS = {
    "duplicated_rows": 1,
    "late_lines": 1,
    "csv_ragged_row": 1,
    "future_timestamps": 1,
    "unknown_product": 1,
    "zero_quantity": 1,
    "negative_quantity": 1,
}


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return small_shop(tmp_path_factory.mktemp("shop"), MONDAY, 7, customers=6, products=8)


def test_it_fulfils_the_contract(shop):
    for table in REQUIRED_TABLES:
        path = shop / f"{table}.parquet"
        path = path if path.exists() else day_file(shop, table, DAY)
        assert pq.read_schema(path).equals(CONTRACT[table].schema)
    lines = pq.read_table(day_file(shop, "order_lines", DAY)).to_pylist()
    orders = {order["order_id"]: order for order in pq.read_table(day_file(shop, "orders", DAY)).to_pylist()}
    assert lines
    assert {line["order_id"] for line in lines} == set(orders)
    assert sum(line["amount_cents"] for line in lines) == sum(order["total_amount_cents"] for order in orders.values())
    assert len({line["order_line_id"] for line in lines}) == len(lines)


def test_a_longer_shop_begins_with_the_shorter_one(shop, tmp_path):
    longer = content(small_shop(tmp_path, MONDAY, 9, customers=6, products=8))
    assert content(shop).items() < longer.items()


def test_another_seed_is_another_shop(shop, tmp_path):
    assert content(small_shop(tmp_path, MONDAY, 7, customers=6, products=8, seed=1)) != content(shop)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_breakage_spoils_files_of_its_day_and_says_how_many_rows(tmp_path, breakage):
    shop = small_shop(tmp_path, MONDAY, 5, customers=6, products=8)
    before = content(shop)
    planted = break_shop(shop, breakage, DAY)
    after = content(shop)
    touched = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    own_day = {name for name in touched if Path(name).stem == str(DAY)}
    assert own_day
    assert touched - own_day == ({"order_lines/2024-01-02.parquet"} if breakage == "late_lines" else set())
    if breakage in ABOUT_ROWS:
        assert planted == ABOUT_ROWS[breakage]
