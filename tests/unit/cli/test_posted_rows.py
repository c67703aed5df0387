"""What was posted comes back as rows of the contract's tables, with the day of its event, late or not, each once."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from ml.cli.joined_delivery import joined
from ml.cli.posted_rows import POSTED_TABLES, PostedRows
from ml.cli.sources import OwnRecordsSource
from ml.serving.events import posted_entry, read_event
from ml.shop.contract import CONTRACT
from ml.shop.delivery import Delivery
from ml.stores.fraud_tables import review_cases
from ml.stores.landing import Landing
from ml.stores.operations import Operations
from ml.stores.serving_log import Entry, ServingLog

DAY, NEXT, AFTER = date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 3)
NIGHT = datetime(2024, 3, 2, 6, tzinfo=UTC)  # 01:00 in New York, when DAY lands


@pytest.fixture
def settings(configure):
    return configure(timezone="America/New_York", shop_id="tiny", first_day=DAY, bootstrap_day=DAY, last_day="none")


@pytest.fixture
def log(settings):
    return ServingLog.from_settings(settings)


def at(hour: int, day: int = 1) -> str:
    return datetime(2024, 3, day, hour, tzinfo=UTC).isoformat()


def take(log: ServingLog, *events: dict[str, Any], taken: datetime | None = None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml.stores.serving_log.wall_clock", lambda: taken or datetime(2024, 3, 1, 20, tzinfo=UTC))
        log.append([event if isinstance(event, Entry) else read_event(event, None, "USD") for event in events])


def view(key: str, hour: int = 15, day: int = 1, **changed: Any) -> dict[str, Any]:
    event = {
        "type": "view",
        "interaction_id": key,
        "customer_id": "c1",
        "product_id": "p1",
        "occurred_at": at(hour, day),
    }
    return event | changed


def payment(key: str, outcome: str = "approved", **changed: Any) -> dict[str, Any]:
    event = {"type": "payment", "payment_id": key, "order_id": "o1", "customer_id": "c1", "attempted_at": at(15)}
    return event | {"amount_cents": 500, "currency": "USD", "outcome": outcome} | changed


def decision(key: str, outcome: str | None = None) -> Entry:
    attempt = {name: value for name, value in payment(key).items() if name != "outcome"}
    body = json.dumps({"answer": {}, "attempt": attempt | ({"outcome": outcome} if outcome else {})})
    return Entry("decision", key, body, "d", datetime.fromisoformat(at(15)))


def label(key: str, source: str, is_fraud: bool = True) -> dict[str, Any]:
    event = {"type": "label", "label_id": key, "order_id": f"order of {key}", "is_fraud": is_fraud}
    return event | {"known_at": at(15), "label_source": source}


def read(settings, table: str, first: date = DAY, end: date = NEXT) -> list[dict[str, Any]]:
    return PostedRows(settings).read(table, first, end).to_pylist()


def land(settings, table: str, first: date, last: date, landed: datetime) -> None:
    rows = PostedRows(settings).read(table, first, last + timedelta(days=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ml.stores.landing.wall_clock", lambda: landed)
        Landing(settings.shop_dir / "landing").land(Delivery(table, rows, "typed"), first, last, "shopwright")


def test_every_kind_becomes_rows_of_its_tables(settings, log):
    line = {"order_line_id": "l1", "product_id": "p1", "quantity": 2, "amount_cents": 500}
    order = {"type": "order", "order_id": "o1", "ordered_at": at(15), "total_amount_cents": 700, "currency": "USD"}
    consent = {
        "type": "consent",
        "customer_id": "c1",
        "purpose": "profiling",
        "is_granted": False,
        "changed_at": at(15),
    }
    shown = {
        "exposure_id": "e1",
        "customer_id": "c1",
        "shown_at": at(15),
        "placement": "home",
        "step": "personal",
        "model_version": "m1",
        "policy_version": "explore-0.02",
        "is_explored": False,
        "k": 2,
        "items": [{"rank": 1, "product_id": "p2", "propensity": 0.98}, {"rank": 2, "product_id": "p1"}],
    }
    exposure = Entry("exposure", "e1", json.dumps(shown), "d", datetime.fromisoformat(at(15)))
    lines = [line, line | {"order_line_id": "l2", "quantity": 1.5}]
    take(log, order | {"lines": lines}, view("i1", exposure_id="e1"), consent, exposure, payment("pay1"))
    moment, taken = datetime(2024, 3, 1, 15, tzinfo=UTC), datetime(2024, 3, 1, 20, tzinfo=UTC)
    take(log, *(label(source, source) for source in ("chargeback", "refund", "review")))
    rows = {table: read(settings, table) for table in POSTED_TABLES}
    assert [(row["order_id"], row["customer_id"], row["total_amount_cents"]) for row in rows["orders"]] == [
        ("o1", None, 700)
    ]
    assert [
        (row["order_line_id"], row["order_id"], row["quantity"], row["ordered_at"]) for row in rows["order_lines"]
    ] == [
        ("l1", "o1", 2.0, moment),
        ("l2", "o1", 1.5, moment),
    ]
    assert [(row["interaction_type"], row["exposure_id"]) for row in rows["interactions"]] == [("view", "e1")]
    assert [(row["purpose"], row["is_granted"]) for row in rows["consents"]] == [("profiling", False)]
    assert [(row["rank"], row["product_id"], row["propensity"], row["step"]) for row in rows["exposures"]] == [
        (1, "p2", 0.98, "personal"),
        (2, "p1", None, "personal"),
    ]
    assert [(row["payment_id"], row["outcome"], row["terminal_id"]) for row in rows["payments"]] == [
        ("pay1", "approved", None)
    ]
    assert [(row["chargeback_id"], row["order_id"], row["reported_at"]) for row in rows["chargebacks"]] == [
        ("chargeback", "order of chargeback", moment)
    ]
    assert [(row["amount_cents"], row["currency"]) for row in rows["chargebacks"]] == [(None, "USD")]
    assert [(row["refund_id"], row["refunded_at"], row["reason"]) for row in rows["refunds"]] == [
        ("refund", moment, "fraud")
    ]
    assert [(row["review_id"], row["decided_at"], row["verdict"]) for row in rows["fraud_reviews"]] == [
        ("review", moment, "fraud")
    ]
    for table, found in rows.items():
        assert list(found[0]) == [*CONTRACT[table].schema.names, "updated_at"]
        assert {row["updated_at"] for row in found} == {taken}


def test_a_label_that_clears_an_order_is_no_fraud_in_its_table(settings, log):
    take(log, *(label(source, source, is_fraud=False) for source in ("chargeback", "refund", "review")))
    assert [row["is_fraud"] for row in read(settings, "chargebacks")] == [False]
    assert [row["reason"] for row in read(settings, "refunds")] == [None]
    assert [row["verdict"] for row in read(settings, "fraud_reviews")] == ["legitimate"]


def test_a_row_belongs_to_the_shop_day_of_its_event(settings, log):
    take(log, view("last night", 4), view("first", 5), view("last", 4, day=2), view("next", 5, day=2))
    before = DAY - timedelta(days=1)
    assert [row["interaction_id"] for row in read(settings, "interactions", before, DAY)] == ["last night"]
    land(settings, "interactions", before, before, NIGHT)
    assert [row["interaction_id"] for row in read(settings, "interactions")] == ["first", "last"]
    assert [row["interaction_id"] for row in read(settings, "interactions", DAY, AFTER)] == ["first", "last", "next"]


def test_an_attempt_counts_as_failed_until_its_payment_tells_otherwise(settings, log):
    take(log, decision("silent"), decision("told", "declined"), decision("later"))
    outcomes = {row["payment_id"]: row["outcome"] for row in read(settings, "payments")}
    assert outcomes == {"silent": "failed", "told": "declined", "later": "failed"}
    take(log, payment("later", "approved"))
    rows = [(row["payment_id"], row["outcome"]) for row in read(settings, "payments")]
    assert sorted(rows) == [("later", "approved"), ("silent", "failed"), ("told", "declined")]


def test_a_payment_told_before_its_decision_stays(settings, log):
    take(log, payment("pay1", "approved"))
    take(log, decision("pay1"))
    assert [row["outcome"] for row in read(settings, "payments")] == ["approved"]


def test_what_was_read_from_the_raw_tables_does_not_come_back(settings, log):
    take(log, posted_entry(payment("landed"), flows_back=False))
    assert not PostedRows(settings).has("payments")
    assert read(settings, "payments") == []


def test_what_comes_after_its_day_has_landed_comes_with_the_next_day(settings, log):
    take(log, view("in time"))
    land(settings, "interactions", DAY, DAY, NIGHT)
    take(log, view("late"), view("next", day=2), taken=NIGHT + timedelta(hours=2))
    assert [row["interaction_id"] for row in read(settings, "interactions", NEXT, AFTER)] == ["next", "late"]


def test_what_came_while_its_day_was_being_read_comes_again_and_no_landing_brings_it_for_ever(settings, log):
    take(log, view("meanwhile"), taken=NIGHT - timedelta(minutes=1))
    land(settings, "interactions", DAY, DAY, NIGHT)
    assert [row["interaction_id"] for row in read(settings, "interactions", NEXT, AFTER)] == ["meanwhile"]
    land(settings, "interactions", NEXT, NEXT, NIGHT + timedelta(days=1))
    assert read(settings, "interactions", AFTER, date(2024, 3, 4)) == []


def test_the_same_days_read_again_give_the_same_whatever_came_late(settings, log):
    take(log, view("old", day=1))
    land(settings, "interactions", DAY, DAY, NIGHT)
    take(log, view("late"), view("new", day=2), taken=NIGHT + timedelta(hours=2))
    land(settings, "interactions", NEXT, NEXT, NIGHT + timedelta(days=1))
    before = read(settings, "interactions", NEXT, AFTER)
    take(log, view("later still"), taken=NIGHT + timedelta(days=1, hours=2))
    assert read(settings, "interactions", NEXT, AFTER) == before
    assert [row["interaction_id"] for row in read(settings, "interactions", AFTER, date(2024, 3, 4))] == ["later still"]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_the_order_in_which_days_land_does_not_matter(settings, log, order):
    take(log, view("a", day=1), view("b", day=2))
    for number, day in enumerate(order):
        land(
            settings,
            "interactions",
            date(2024, 3, day),
            date(2024, 3, day),
            NIGHT + timedelta(days=5, hours=number * 3),
        )
    take(log, view("late", day=1), taken=NIGHT + timedelta(days=6))
    land(settings, "interactions", AFTER, AFTER, NIGHT + timedelta(days=7))
    landing = Landing(settings.shop_dir / "landing")
    rows = [row for batch in landing.batches("interactions") for row in landing.read(batch).to_pylist()]
    assert {row["interaction_id"] for row in rows} == {"a", "b", "late"}


class Shop:
    name = "files"

    def __init__(self, format_: str, **tables: pa.Table) -> None:
        self._format, self._tables = format_, tables

    def tables(self):
        return tuple(self._tables)

    def read(self, table, first_day, end_day):
        return Delivery(table, self._tables[table], self._format)


def source_of(settings, format_: str, **tables: pa.Table) -> OwnRecordsSource:
    return OwnRecordsSource(Shop(format_, **tables), settings, Operations.from_settings(settings))


def test_tables_that_only_the_log_has_are_delivered_by_the_platform(settings, log):
    source = source_of(settings, "typed", orders=pa.table({"order_id": ["o1"]}))
    assert source.tables() == ("orders",)
    take(log, view("i1"), payment("pay1"))
    assert source.tables() == ("orders", "interactions", "payments", "fraud_decisions", "fraud_reviews")
    assert [source.name_of(table) for table in ("orders", "interactions", "payments")] == [
        "files",
        "shopwright",
        "shopwright",
    ]
    assert source.read("interactions", DAY, NEXT).count_rows == 1
    assert (
        source.read("interactions", NEXT, AFTER).rows.schema.names
        == source.read("interactions", DAY, NEXT).rows.schema.names
    )


def test_posted_reviews_stand_beside_the_platforms_own(settings, log):
    case = {"order_id": "own", "decided_at": NIGHT - timedelta(hours=12), "verdict": "fraud", "decided_by": "anna"}
    operations = Operations.from_settings(settings)
    with operations.transaction() as connection:
        opened = {"decision_id": "d", "partition": "2024-03-01", "expected_saving_cents": 1.0, "opened_at": NIGHT}
        connection.execute(review_cases.insert().values(case | opened | {"state": "decided"}))
    take(log, payment("pay1"), label("theirs", "review", is_fraud=False))
    rows = source_of(settings, "typed").read("fraud_reviews", DAY, NEXT).rows.to_pylist()
    assert [(row["review_id"], row["verdict"], row["analyst"]) for row in rows] == [
        ("review-own", "fraud", "anna"),
        ("theirs", "legitimate", None),
    ]


def test_posted_rows_stand_beside_those_of_the_source(settings, log):
    take(log, view("posted"))
    theirs = pa.table({"interaction_id": ["theirs"], "customer_id": ["c2"], "note": ["kept"]})
    delivery = source_of(settings, "typed", interactions=theirs).read("interactions", DAY, NEXT)
    assert [(row["interaction_id"], row["note"]) for row in delivery.rows.to_pylist()] == [
        ("theirs", "kept"),
        ("posted", None),
    ]
    assert delivery.format == "typed"


def test_a_source_of_text_gets_text(settings, log):
    take(log, view("posted"))
    theirs = pa.table({"_line": pa.array([2]), "interaction_id": ["theirs"], "occurred_at": ["2024-03-01 15:00"]})
    delivery = source_of(settings, "text", interactions=theirs).read("interactions", DAY, NEXT)
    posted = delivery.rows.to_pylist()[1]
    assert (posted["occurred_at"], posted["_line"]) == ("2024-03-01 15:00:00.000000Z", None)
    assert {str(field.type) for field in delivery.rows.schema if field.name != "_line"} == {"string"}


def test_columns_stay_the_same_on_days_on_which_nothing_was_posted(settings, log):
    take(log, view("posted"))
    source = source_of(settings, "typed", interactions=pa.table({"interaction_id": ["theirs"]}))
    assert source.read("interactions", NEXT, AFTER).rows.schema == source.read("interactions", DAY, NEXT).rows.schema


def test_without_posts_a_source_is_delivered_as_it_is(settings):
    theirs = pa.table({"interaction_id": ["theirs"]})
    assert source_of(settings, "typed", interactions=theirs).read("interactions", DAY, NEXT).rows.equals(theirs)
    assert not (settings.shop_dir / "serving").exists()


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        (pa.array([5], pa.int32()), pa.int32()),
        (pa.array([5.0], pa.float64()), pa.float64()),
        (pa.array(["5"]), pa.string()),
        (pa.nulls(1), pa.int64()),
    ],
)
def test_the_sources_type_stays_where_own_values_fit_into_it(theirs, expected):
    own = pa.table({"amount_cents": pa.array([7], pa.int64())})
    rows = joined(Delivery("orders", pa.table({"amount_cents": theirs}), "typed"), own).rows
    assert rows.schema.field("amount_cents").type == expected
    assert rows.num_rows == 2


def test_values_that_do_not_fit_into_the_sources_type_widen_it():
    own = pa.table({"amount_cents": pa.array([3_000_000_000], pa.int64())})
    theirs = pa.table({"amount_cents": pa.array([5], pa.int32())})
    rows = joined(Delivery("orders", theirs, "typed"), own).rows
    assert rows.column("amount_cents").to_pylist() == [5, 3_000_000_000]
