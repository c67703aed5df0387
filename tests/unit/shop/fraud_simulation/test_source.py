"""Simulated payments beside what a shop has."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pytest

from ml.shop.contract import CONTRACT
from ml.shop.delivery import Delivery
from ml.shop.fraud_simulation import SimulationConfig, simulate
from ml.shop.fraud_simulation.source import SimulatedPaymentsSource, readable_orders

FIRST = date(2017, 3, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(5)]
TABLES = ("payments", "chargebacks", "refunds")


class Shop:
    """Four orders a day, in a zone whose day begins at five in the morning UTC."""

    name = "files"

    def __init__(self, *, tables=("orders", "order_lines"), text=False, total=2_000):
        self._tables = tables
        self._text = text
        self._total = total

    def tables(self):
        return self._tables

    def read(self, table, first_day, end_day):
        days = [day for day in DAYS if first_day <= day < end_day]
        if table == "order_lines":
            lines = [
                {"order_id": row["order_id"], "amount_cents": 700} for day in days for row in self._orders(day)
            ] * 2
            return Delivery(table, pa.Table.from_pylist(lines), "typed")
        assert table == "orders", f"nobody should read {table}"
        rows = [row for day in days for row in self._orders(day)]
        if not self._text:
            return Delivery(table, pa.Table.from_pylist(rows, CONTRACT["orders"].schema), "typed")
        texts = [{name: None if value is None else str(value) for name, value in row.items()} for row in rows]
        return Delivery(table, pa.Table.from_pylist(texts), "text")

    def _orders(self, day):
        start = datetime(day.year, day.month, day.day, 5, tzinfo=UTC)
        return [
            {
                "order_id": f"{day}-{number}",
                "customer_id": f"c{number}",
                "ordered_at": start + timedelta(hours=6 * number, seconds=20),
                "store_id": "s1",
                "total_amount_cents": self._total,
                "currency": "USD",
            }
            for number in range(4)
        ]


@pytest.fixture
def settings(configure):
    return configure(first_day=FIRST, seed=42, simulated_fraud_rate=0.19)


def read(source, table, first, end):
    return source.read(table, first, end).rows


def test_what_the_shop_has_stays_and_payments_come_in_contract_order(settings):
    source = SimulatedPaymentsSource(Shop(), settings)
    assert source.tables() == ("orders", "order_lines", *TABLES)
    assert source.read("orders", FIRST, FIRST + timedelta(days=1)).count_rows == 4
    assert [source.name_of(table) for table in ("orders", "payments")] == ["files", "simulation"]


def test_a_shop_with_payments_is_left_alone(settings):
    source = SimulatedPaymentsSource(Shop(tables=("orders", "payments")), settings)
    assert source.tables() == ("orders", "payments")
    assert source.name_of("payments") == "files"
    with pytest.raises(AssertionError, match="nobody should read payments"):
        source.read("payments", FIRST, FIRST + timedelta(days=1))


def test_refunds_of_the_shops_own_stay_the_shops(settings):
    source = SimulatedPaymentsSource(Shop(tables=("orders", "refunds")), settings)
    assert source.tables() == ("orders", *TABLES)
    assert [source.name_of(table) for table in TABLES] == ["simulation", "simulation", "files"]


@pytest.mark.parametrize("table", TABLES)
def test_days_in_any_order_equal_one_load(settings, table):
    end = FIRST + timedelta(days=200)
    whole = read(SimulatedPaymentsSource(Shop(), settings), table, FIRST, end)
    assert whole.num_rows > 0
    cuts = [FIRST, *(FIRST + timedelta(days=number) for number in (1, 2, 4, 30, 60)), end]
    pieces = list(pairwise(cuts))
    single = SimulatedPaymentsSource(Shop(), settings)
    backwards = {piece: read(single, table, *piece) for piece in reversed(pieces)}
    assert pa.concat_tables([backwards[piece] for piece in pieces]).equals(whole)


def test_rows_lie_in_the_days_asked_for(settings):
    source = SimulatedPaymentsSource(Shop(), settings)
    payments = read(source, "payments", DAYS[1], DAYS[2]).to_pandas()
    assert sorted(set(payments["order_id"])) == [f"{DAYS[1]}-{number}" for number in range(4)]
    reported = read(source, "chargebacks", DAYS[0], FIRST + timedelta(days=200)).to_pandas()
    assert len(reported) > 0
    assert (reported["reported_at"].dt.date > FIRST).all()


def test_a_column_of_text_is_read_as_well(settings):
    asked = ("payments", FIRST, FIRST + timedelta(days=5))
    assert read(SimulatedPaymentsSource(Shop(text=True), settings), *asked).equals(
        read(SimulatedPaymentsSource(Shop(), settings), *asked)
    )


def test_without_totals_the_lines_are_paid(settings):
    source = SimulatedPaymentsSource(Shop(total=None), settings)
    assert set(read(source, "payments", FIRST, DAYS[4]).column("amount_cents").to_pylist()) == {1_400}


def test_orders_that_cannot_be_paid_are_left_out():
    rows = [
        {"order_id": "a", "ordered_at": "2024-03-01T10:00:00Z", "total_amount_cents": "5"},
        {"order_id": "a", "ordered_at": "2024-03-01T10:00:00Z", "total_amount_cents": "7"},
        {"order_id": None, "ordered_at": "2024-03-01T10:00:00Z", "total_amount_cents": "5"},
        {"order_id": "b", "ordered_at": "soon", "total_amount_cents": "5"},
        {"order_id": "c", "ordered_at": "2024-03-01T10:00:00+01:00", "total_amount_cents": "-5"},
    ]
    found = readable_orders(Delivery("orders", pa.Table.from_pylist(rows), "text"))
    assert found["order_id"].tolist() == ["a", "c"]
    assert found["total_amount_cents"].fillna(-1).tolist() == [7, -1]


def test_what_was_declined_is_not_reported(settings):
    free = SimulatedPaymentsSource(Shop(), settings)
    orders = readable_orders(Shop().read("orders", FIRST, DAYS[4] + timedelta(days=1)))
    declined = orders[["order_id"]].assign(action="decline", decided_at=orders["ordered_at"])
    strict = SimulatedPaymentsSource(Shop(), settings, lambda: declined)
    days = (FIRST, FIRST + timedelta(days=200))
    assert read(free, "chargebacks", *days).num_rows > 0
    assert read(strict, "chargebacks", *days).num_rows == 0
    assert read(strict, "payments", *days).equals(read(free, "payments", *days))


def test_the_truth_has_no_way_into_a_table(settings):
    """No table of the contract has a column of the truth, and no delivered text or number tells a scenario."""
    orders = readable_orders(Shop().read("orders", FIRST, DAYS[4] + timedelta(days=1)))
    truth = simulate(orders, SimulationConfig(seed=42, fraud_rate=0.19)).truth
    hidden = set(truth.columns) - {"order_id", "is_fraud"}  # `chargebacks.is_fraud` is the claim of who disputes
    columns = {column.name for table in CONTRACT.values() for column in table.columns}
    assert hidden & columns == set()
    source = SimulatedPaymentsSource(Shop(), settings)
    delivered = {table: read(source, table, FIRST, FIRST + timedelta(days=200)) for table in TABLES}
    secrets = set(truth["scenario"]) | set(truth["ring"].dropna()) | {"marked"}
    for table, rows in delivered.items():
        assert rows.num_rows > 0
        assert rows.schema == CONTRACT[table].schema
        assert rows.schema.metadata is None
        values = {str(value) for name in rows.column_names for value in rows.column(name).to_pylist()}
        assert values & secrets == set()
