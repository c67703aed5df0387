"""The fraud marts on a small shop: every counted feature against its definition, and what a shop may leave out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ml.fraud.declaration import declaration
from ml.settings import Settings
from ml.shop.files import FilesSource
from ml.shop.generated import small_shop
from ml.stores.dbt_run import build_scratch
from ml.stores.raw import RawStore
from tests.fraud_reference import counted
from tests.shop_payments import Rows, first_frauds, labels_of, payments_of
from tests.raw_shop import TABLES, batch_of, shop_settings

FIRST_DAY = date(2024, 1, 29)
DAYS = 40
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)


@dataclass(frozen=True)
class Built:
    settings: Settings
    database: Path
    tables: Mapping[str, Rows]

    def rows(self, table: str) -> Rows:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            connection.execute("set TimeZone = 'UTC'")
            found = connection.table(table).to_arrow_table()
        rows: Rows = found.to_pylist()
        return rows


def shop_tables(settings: Settings) -> dict[str, Rows]:
    source = FilesSource(settings)
    return {table: source.read(table, FIRST_DAY, LAST_DAY + timedelta(days=1)).rows.to_pylist() for table in TABLES}


def built(settings: Settings, tables: Mapping[str, Rows]) -> Built:
    batches = [batch_of(settings, table, rows, FIRST_DAY, LAST_DAY) for table, rows in tables.items()]
    version = RawStore(settings).append(batches)
    return Built(settings, build_scratch(settings, version.id, LAST_DAY).database, tables)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_shop(tmp_path_factory.mktemp("shop"), FIRST_DAY, DAYS, customers=24, products=20)


@pytest.fixture(scope="module")
def with_payments(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    settings = shop_settings(tmp_path_factory.mktemp("state"), shop)
    tables = shop_tables(settings)
    for order in tables["orders"][::9]:
        order["customer_id"] = None
    payments = payments_of(tables["orders"][5:])
    until = settings.day_start(LAST_DAY + timedelta(days=1))
    return built(settings, {**tables, "payments": payments, **labels_of(payments, until)})


def judged(built: Built) -> list[dict[str, Any]]:
    """The orders as the reference wants them: each by its first attempt."""
    first: dict[str, dict[str, Any]] = {}
    for row in sorted(built.tables["payments"], key=lambda row: (row["attempted_at"], row["payment_id"])):
        first.setdefault(row["order_id"], row)
    customers = {order["order_id"]: order["customer_id"] for order in built.tables["orders"]}
    return [
        {**row, "customer_id": customers[order_id], "is_failed": row["outcome"] != "approved"}
        for order_id, row in first.items()
    ]


def is_same(found: float | None, expected: float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return found == pytest.approx(expected, rel=1e-9, abs=1e-6)  # a deviation of 0 is one of 1e-12 in floats


def test_every_counted_feature_is_what_its_definition_says(with_payments: Built) -> None:
    declared = declaration()
    orders, frauds = judged(with_payments), first_frauds(dict(with_payments.tables))
    assert len(orders) > 200
    assert len(frauds) > 20
    expected = counted(declared, orders, frauds)
    found = {row["order_id"]: row for row in with_payments.rows("features.feat_order_risk")}
    assert set(found) == set(expected)
    differing: dict[str, int] = {}
    compared = filled = 0
    for order_id, values in expected.items():
        for name, value in values.items():
            compared += 1
            filled += value not in (None, 0)
            if not is_same(found[order_id][name], value):
                differing[name] = differing.get(name, 0) + 1
    assert differing == {}
    assert compared > 40_000
    assert filled > 15_000


def test_the_marts_columns_are_the_declared_features_in_their_order(with_payments: Built) -> None:
    columns = list(with_payments.rows("features.feat_order_risk")[0])
    fixed = ["order_id", "attempted_at", "attempt_date", "amount_cents", "hour_of_day", "day_of_week"]
    fixed += ["account_age_days", "is_billing_shipping_same", "channel"]
    assert columns == [*fixed, *declaration().counted_features()]


def test_an_order_is_judged_by_its_first_attempt_at_the_shops_hour(with_payments: Built) -> None:
    risk = {row["order_id"]: row for row in with_payments.rows("features.feat_order_risk")}
    paid = {row["order_id"]: row for row in with_payments.rows("core.fct_order_payments")}
    assert set(risk) == set(paid)
    for order in judged(with_payments):
        row, payment = risk[order["order_id"]], paid[order["order_id"]]
        local: datetime = order["attempted_at"].astimezone(with_payments.settings.zone)
        assert (row["attempt_date"], row["hour_of_day"]) == (local.date(), local.hour)
        assert row["day_of_week"] == local.isoweekday()
        assert row["amount_cents"] == payment["amount_cents"] == order["amount_cents"]
        assert payment["customer_id"] == order["customer_id"]
        assert payment["first_outcome"] == order["outcome"]
    attempts = [payment for payment in paid.values() if payment["count_attempts"] == 2]
    assert len(attempts) > 20
    assert any(payment["is_approved"] and payment["first_outcome"] != "approved" for payment in attempts)
