"""What the platform knows itself is delivered as the shop's tables are."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from ml.cli import ingest
from ml.cli.sources import OwnRecordsSource, decided_so_far, open_shop
from ml.settings import wall_clock
from ml.shop.delivery import Delivery
from ml.shop.generated import small_shop
from ml.stores.fraud_tables import decisions, review_cases
from ml.stores.landing import Landing
from ml.stores.operations import Operations

DAY, NEXT = date(2024, 3, 1), date(2024, 3, 2)


class Shop:
    name = "files"

    def __init__(self, *tables):
        self._tables = tables

    def tables(self):
        return self._tables

    def read(self, table, first_day, end_day):
        return Delivery(table, pa.table({"from": ["the shop"]}), "typed")


@pytest.fixture
def settings(configure):
    return configure(timezone="America/New_York")


@pytest.fixture
def operations(settings):
    return Operations.from_settings(settings)


def decide(operations, order, action, at):
    row = {
        "decision_id": f"d-{order}",
        "order_id": order,
        "partition": "2024-03-01",
        "ordered_at": at,
        "decided_at": at,
        "amount_cents": 100,
        "action": action,
        "source": "model",
        "score": 0.25,
        "would_decline": False,
        "propensity": 1.0,
        "model_version": "m1",
        "policy_version": "p1",
        "expected_costs": {},
        "reasons": [],
        "rule_trace": [],
        "contributions": {},
        "recorded_at": wall_clock(),
    }
    with operations.transaction() as connection:
        connection.execute(decisions.insert().values(**row))


def review(operations, order, verdict, at):
    row = {
        "order_id": order,
        "decision_id": f"d-{order}",
        "partition": "2024-03-01",
        "expected_saving_cents": 10.0,
        "state": "decided" if verdict else "open",
        "verdict": verdict,
        "decided_by": "ann" if verdict else None,
        "decided_at": at if verdict else None,
        "opened_at": wall_clock(),
    }
    with operations.transaction() as connection:
        connection.execute(review_cases.insert().values(**row))


def at(hour, day=1):
    return datetime(2024, 3, day, hour, tzinfo=UTC)


def test_decisions_come_with_the_shop_day_of_their_time(settings, operations):
    decide(operations, "late on the day before", "approve", at(4))  # 23:00 in New York
    decide(operations, "first", "decline", at(5))
    decide(operations, "last", "approve", at(4, day=2))
    decide(operations, "next", "approve", at(5, day=2))
    source = OwnRecordsSource(Shop("orders", "payments"), settings, operations)
    assert source.tables() == ("orders", "payments", "fraud_decisions", "fraud_reviews")
    rows = source.read("fraud_decisions", DAY, NEXT).rows.to_pylist()
    assert [(row["order_id"], row["action"], row["score"]) for row in rows] == [
        ("first", "decline", 0.25),
        ("last", "approve", 0.25),
    ]
    assert source.name_of("fraud_decisions") == "shopwright"


def test_verdicts_come_as_reviews_and_open_cases_do_not(settings, operations):
    review(operations, "a", "fraud", at(12))
    review(operations, "b", None, at(12))
    rows = OwnRecordsSource(Shop("payments"), settings, operations).read("fraud_reviews", DAY, NEXT).rows.to_pylist()
    assert rows == [
        {"review_id": "review-a", "order_id": "a", "decided_at": at(12), "verdict": "fraud", "analyst": "ann"}
    ]


def test_decisions_of_the_shops_own_stay_the_shops(settings, operations):
    source = OwnRecordsSource(Shop("payments", "fraud_decisions"), settings, operations)
    assert source.read("fraud_decisions", DAY, NEXT).rows.to_pylist() == [{"from": "the shop"}]
    assert source.read("fraud_reviews", DAY, NEXT).count_rows == 0


def test_a_shop_without_payments_has_no_decisions(settings, operations):
    assert OwnRecordsSource(Shop("orders"), settings, operations).tables() == ("orders",)


def test_what_an_analyst_found_to_be_fraud_counts_as_declined(settings, operations):
    decide(operations, "a", "review", at(6))
    decide(operations, "b", "review", at(6))
    decide(operations, "c", "decline", at(6))
    review(operations, "a", "fraud", at(9))
    review(operations, "b", "legitimate", at(9))
    found = decided_so_far(operations).set_index("order_id")
    assert found["action"].to_dict() == {"a": "decline", "b": "review", "c": "decline"}
    assert found.loc["a", "decided_at"] == at(9)


def test_the_default_shop_is_simulated_over_and_says_so(settings, operations):
    shop = open_shop(settings, operations)
    assert "payments" in shop.tables()
    assert shop.name_of("payments") == "simulation"


def test_simulation_can_be_left_out(configure):
    settings = configure(simulate_payments="false")
    assert "payments" not in open_shop(settings, Operations.from_settings(settings)).tables()


def test_what_is_landed_names_the_simulation(configure, tmp_path):
    first = date(2017, 3, 1)
    folder = small_shop(tmp_path / "shop", first, 3)
    settings = configure(source="files", files_dir=folder, first_day=first, simulate_payments="true")
    ingest.land_days(first, first + timedelta(days=2))
    landing = Landing(settings.shop_dir / "landing")
    sources = {table: landing.batches(table)[-1].source for table in ("orders", "payments", "refunds", "fraud_reviews")}
    assert sources == {
        "orders": "files",
        "payments": "simulation",
        "refunds": "simulation",
        "fraud_reviews": "shopwright",
    }
