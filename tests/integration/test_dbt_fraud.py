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
from ml.stores.dbt_run import DBT_PROJECT_DIR, build_scratch
from ml.stores.raw import RawStore
from tests.dbt_projects import copy_project
from tests.fraud_reference import counted
from tests.raw_shop import TABLES, batch_of, shop_settings
from tests.shop_payments import Rows, first_frauds, labels_of, payments_of

FIRST_DAY = date(2024, 1, 29)
DAYS = 40
LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
BOT = "c0005"


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


def built(settings: Settings, tables: Mapping[str, Rows], project: Path = DBT_PROJECT_DIR) -> Built:
    batches = [batch_of(settings, table, rows, FIRST_DAY, LAST_DAY) for table, rows in tables.items()]
    version = RawStore(settings).append(batches)
    return Built(settings, build_scratch(settings, version.id, LAST_DAY, project).database, tables)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_shop(tmp_path_factory.mktemp("shop"), FIRST_DAY, DAYS, customers=24, products=20)


@pytest.fixture(scope="module")
def paid_tables(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows]:
    """The shop's rows with guests, payments, labels, and a customer who browses like a program."""
    settings = shop_settings(tmp_path_factory.mktemp("read"), shop)
    tables = shop_tables(settings)
    for order in tables["orders"][::9]:
        order["customer_id"] = None
    payments = payments_of(tables["orders"][5:])
    until = settings.day_start(LAST_DAY + timedelta(days=1))
    moment = settings.day_start(FIRST_DAY)  # before anybody's first order of the day after
    busy = [
        {"interaction_id": f"i{number}", "customer_id": BOT, "occurred_at": moment, "interaction_type": "view"}
        for number in range(601)
    ]
    tables["orders"] = [
        order
        for order in tables["orders"]
        if order["customer_id"] != BOT or order["ordered_at"] >= moment + timedelta(days=1)
    ]
    return {**tables, "payments": payments, "interactions": busy, **labels_of(payments, until)}


@pytest.fixture(scope="module")
def with_payments(shop: Path, paid_tables: dict[str, Rows], tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built(shop_settings(tmp_path_factory.mktemp("state"), shop), paid_tables)


@pytest.fixture(scope="module")
def without_payments(shop: Path, paid_tables: dict[str, Rows], tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The same shop, had it never reported a payment, a label or an interaction."""
    tables = {table: paid_tables[table] for table in TABLES}
    return built(shop_settings(tmp_path_factory.mktemp("state"), shop), tables)


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
    expected = counted(declared, judged(with_payments), first_frauds(with_payments.tables))
    assert len(expected) > 200
    assert sum(value not in (None, 0) for values in expected.values() for value in values.values()) > 15_000
    assert differing_features(with_payments, expected) == set()


def test_the_comparison_notices_a_label_that_is_known_too_early_and_a_window_that_is_off_by_a_minute(
    shop: Path, paid_tables: dict[str, Rows], tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = copy_project(tmp_path_factory.mktemp("leaking"))
    events = project / "models" / "intermediate" / "int_order_events__numbered.sql"
    known = "epoch_us(greatest(frauds.known_at, payments.attempted_at))"
    assert events.read_text().count(known) == 1
    events.write_text(events.read_text().replace(known, "epoch_us(payments.attempted_at)"))
    declared = project / "dbt_project.yml"
    assert declared.read_text().count("1h: 3600,") == 1
    declared.write_text(declared.read_text().replace("1h: 3600,", "1h: 3540,"))
    leaking = built(shop_settings(tmp_path_factory.mktemp("state"), shop), paid_tables, project)
    expected = counted(declaration(), judged(leaking), first_frauds(leaking.tables))
    differing = differing_features(leaking, expected)
    assert {"count_frauds_ip_country_ever", "fraud_rate_shop_ever"} <= differing
    assert any(name.startswith("count_orders_") and name.endswith("_1h") for name in differing)
    assert not any("_10m" in name or name.startswith("amount_cents_customer_30d") for name in differing)


def differing_features(built: Built, expected: Mapping[str, Mapping[str, float | None]]) -> set[str]:
    found = {row["order_id"]: row for row in built.rows("features.feat_order_risk")}
    assert set(found) == set(expected)
    return {
        name
        for order_id, values in expected.items()
        for name, value in values.items()
        if not is_same(found[order_id][name], value)
    }


def test_features_of_an_order_do_not_change_with_its_future(
    shop: Path, with_payments: Built, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = shop_settings(tmp_path_factory.mktemp("state"), shop)
    cut = settings.day_start(FIRST_DAY + timedelta(days=DAYS // 2))
    moments = {"payments": "attempted_at", "chargebacks": "reported_at", "refunds": "refunded_at"}
    tables = dict(with_payments.tables)
    for table, column in moments.items():
        tables[table] = [row for row in tables[table] if row[column] < cut]
    tables["fraud_reviews"] = [
        {**row, "verdict": "fraud"} if row["decided_at"] >= cut else row for row in tables["fraud_reviews"]
    ]
    other = built(settings, tables)
    past, future = (each.rows("features.feat_order_risk") for each in (with_payments, other))
    assert len(future) < len(past)
    first_future = min(row["attempted_at"] for row in with_payments.tables["payments"] if row["attempted_at"] >= cut)
    before = sorted((row for row in past if row["attempted_at"] < first_future), key=lambda row: row["order_id"])
    assert before == sorted(future, key=lambda row: row["order_id"])
    assert len(before) > 80


def test_a_shop_without_payments_has_the_marts_empty(without_payments: Built) -> None:
    for mart in (
        "core.fct_order_payments",
        "features.feat_order_risk",
        "core.fct_fraud_labels",
        "core.fct_fraud_decisions",
        "core.fct_exposures",
    ):
        assert without_payments.rows(mart) == []
    assert not any(order["is_suspect"] for order in without_payments.rows("core.fct_orders"))


def test_nothing_is_learnt_of_what_is_popular_from_frauds_and_programs(
    with_payments: Built, without_payments: Built
) -> None:
    suspect = {order["order_id"] for order in with_payments.rows("core.fct_orders") if order["is_suspect"]}
    orders = {order["order_id"]: order["customer_id"] for order in with_payments.tables["orders"]}
    of_bot = {order_id for order_id, customer_id in orders.items() if customer_id == BOT}
    assert of_bot <= suspect
    assert len(suspect) > len(of_bot) > 0
    sold, honest = {}, {}
    for line in with_payments.rows("core.fct_order_lines"):
        assert line["is_suspect"] == (line["order_id"] in suspect)
        if line["is_merchandise"] and line["order_date"] > LAST_DAY - timedelta(days=28):
            sold[line["product_id"]] = sold.get(line["product_id"], 0) + 1
            honest[line["product_id"]] = honest.get(line["product_id"], 0) + (not line["is_suspect"])
    assert sum(honest.values()) < sum(sold.values())
    for built_shop, expected in ((with_payments, honest), (without_payments, sold)):
        newest = LAST_DAY + timedelta(days=1)
        popular = {
            row["product_id"]: row["count_orders_28d"]
            for row in built_shop.rows("features.feat_product")
            if row["as_of_date"] == newest
        }
        assert {product: popular.get(product, 0) for product in expected} == expected
    customers = {row["customer_id"] for row in with_payments.rows("features.feat_customer")}
    assert BOT not in customers
    marked = {row["customer_id"] for row in with_payments.rows("core.dim_customers") if row["is_suspect"]}
    assert BOT in marked
    assert not marked & customers, "one fraud in a customer's name does not make the customer a suspect"


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
