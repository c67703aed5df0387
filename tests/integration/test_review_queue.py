"""The review queue on SQLite and on PostgreSQL: a case has one analyst, whoever else asks at the same moment."""

import contextlib
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from ml.cli.sources import OwnRecordsSource
from ml.outcomes import DataFailed
from ml.settings import Settings, wall_clock
from ml.stores import decision_log, reviews
from ml.stores.fraud_tables import review_cases, review_events
from ml.stores.operations import Operations, metadata
from ml.stores.reviews import CaseTaken, UnknownCase

AT = datetime(2017, 11, 20, 15, 30, tzinfo=UTC)
LATER = datetime(2017, 11, 21, 5, tzinfo=UTC)
ANALYSTS = 3
CASES = 12


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, configure: Callable[..., Settings]) -> Settings:
    if request.param == "sqlite":
        return configure()
    return configure(operations_url=request.getfixturevalue("server_url"))


@pytest.fixture
def operations(settings: Settings) -> Iterator[Operations]:
    operations = Operations.from_settings(settings)
    yield operations
    if operations.engine.dialect.name == "postgresql":
        metadata.drop_all(operations.engine)
    operations.engine.dispose()


def decide_orders(
    operations: Operations, *orders: tuple[str, str, float | None], partition: str = "2017-11-20"
) -> None:
    """Record decisions: order, action, what it is expected to save."""
    rows = [
        {
            "order_id": order,
            "partition": partition,
            "ordered_at": AT,
            "decided_at": AT,
            "amount_cents": 5000,
            "action": action,
            "source": "model",
            "would_decline": False,
            "propensity": 1.0,
            "policy_version": "default-aaaa",
            "expected_costs": {"approve": 900.0, "challenge": 700.0, "review": 300.0, "decline": 950.0},
            "expected_saving_cents": saving,
        }
        for order, action, saving in orders
    ]
    decision_log.record_decisions(operations, pd.DataFrame(rows))


@pytest.fixture
def queued(operations: Operations) -> Operations:
    """Cases a, b and c, of which b saves most."""
    decide_orders(operations, ("a", "review", 100.0), ("b", "review", 900.0), ("c", "review", 500.0))
    reviews.open_cases(operations)
    return operations


def orders_of(cases: list[dict]) -> list[str]:
    return [case["order_id"] for case in cases]


def test_a_case_is_opened_for_each_decision_to_review_and_once(operations):
    decide_orders(operations, ("a", "review", None), ("b", "approve", None), ("c", "review", 10.0))
    assert reviews.open_cases(operations) == ["a", "c"]
    assert reviews.open_cases(operations) == []
    # Without a stated saving: the cheapest other action (a challenge for 700) less the review (300).
    savings = {case["order_id"]: case["expected_saving_cents"] for case in reviews.queue(operations)}
    assert savings == {"a": 400.0, "c": 10.0}
    assert reviews.counts(operations) == {"open": 2, "claimed": 0, "decided": 0, "expired": 0}


def test_cases_can_be_opened_of_some_orders_only(operations):
    decide_orders(operations, ("a", "review", None), ("b", "approve", None), ("c", "review", 10.0))
    assert reviews.open_cases(operations, ["b", "c", "unknown"]) == ["c"]
    assert reviews.open_cases(operations, []) == []
    assert reviews.open_cases(operations) == ["a"]


def test_the_largest_saving_comes_first(queued):
    assert orders_of(reviews.queue(queued)) == ["b", "c", "a"]
    assert orders_of(reviews.queue(queued, limit=1)) == ["b"]


def test_a_claimed_case_leaves_the_queue_and_is_nobody_else_s(queued):
    assert reviews.claim(queued, "b", "anna")["claimed_by"] == "anna"
    assert orders_of(reviews.queue(queued)) == ["c", "a"]
    assert orders_of(reviews.queue(queued, claimed_by="anna")) == ["b"]
    with pytest.raises(CaseTaken, match="held by anna until"):
        reviews.claim(queued, "b", "bert")
    with pytest.raises(CaseTaken, match="held by anna"):
        reviews.decide(queued, "b", by="bert", verdict="fraud", decided_at=LATER)
    with pytest.raises(CaseTaken, match="held by anna"):
        reviews.release(queued, "b", "bert")


def test_claiming_one_s_own_case_begins_the_lease_anew(queued):
    first = reviews.claim(queued, "b", "anna", lease=timedelta(minutes=1))["claim_expires_at"]
    assert reviews.claim(queued, "b", "anna")["claim_expires_at"] > first


def test_a_lease_that_ran_out_frees_the_case(queued, monkeypatch):
    reviews.claim(queued, "b", "anna")
    monkeypatch.setattr(reviews, "wall_clock", lambda: wall_clock() + reviews.LEASE + timedelta(seconds=1))
    assert orders_of(reviews.queue(queued)) == ["b", "c", "a"]
    assert orders_of(reviews.queue(queued, claimed_by="anna")) == []
    assert reviews.claim(queued, "b", "bert")["claimed_by"] == "bert"
    with pytest.raises(CaseTaken, match="held by bert"):
        reviews.decide(queued, "b", by="anna", verdict="fraud", decided_at=LATER)


def test_a_released_case_is_free_again(queued):
    reviews.claim(queued, "b", "anna")
    assert reviews.release(queued, "b", "anna")["state"] == "open"
    assert reviews.claim(queued, "b", "bert")["claimed_by"] == "bert"


def test_a_verdict_says_who_and_when_and_settles_the_case(queued):
    reviews.claim(queued, "b", "anna")
    case = reviews.decide(queued, "b", by="anna", verdict="fraud", decided_at=LATER, note="Called; number unknown")
    assert (case["state"], case["verdict"], case["decided_by"], case["decided_at"]) == (
        "decided",
        "fraud",
        "anna",
        LATER,
    )
    assert case["note"] == "Called; number unknown"
    assert case["claimed_by"] is None
    assert orders_of(reviews.queue(queued)) == ["c", "a"]
    with pytest.raises(CaseTaken, match="decided by anna"):
        reviews.claim(queued, "b", "bert")
    with pytest.raises(CaseTaken, match="decided by anna"):
        reviews.decide(queued, "b", by="anna", verdict="legitimate", decided_at=LATER)


def test_a_verdict_comes_back_as_a_row_of_the_contract_on_the_day_it_is_known(queued, settings):
    class Shop:
        name = "till"

        def tables(self) -> tuple[str, ...]:
            return ("orders", "payments")

    reviews.decide(queued, "b", by="anna", verdict="fraud", decided_at=settings.shop_clock(date(2017, 11, 20)))
    source = OwnRecordsSource(Shop(), settings, queued)
    assert "fraud_reviews" in source.tables()
    assert source.read("fraud_reviews", date(2017, 11, 20), date(2017, 11, 21)).rows.num_rows == 0
    (row,) = source.read("fraud_reviews", date(2017, 11, 21), date(2017, 11, 22)).rows.to_pylist()
    assert (row["order_id"], row["verdict"], row["analyst"]) == ("b", "fraud", "anna")
    assert row["decided_at"] == datetime(2017, 11, 21, 5, tzinfo=UTC)


def test_the_same_verdict_again_changes_nothing(queued):
    first = reviews.decide(queued, "b", by="anna", verdict="fraud", decided_at=LATER)
    assert reviews.decide(queued, "b", by="anna", verdict="fraud", decided_at=LATER + timedelta(days=3)) == first
    assert [event["event"] for event in reviews.events(queued, "b")] == ["opened", "decided"]


def test_a_verdict_is_never_known_before_the_decision_that_asked_for_it(queued):
    case = reviews.decide(queued, "b", by="anna", verdict="fraud", decided_at=AT - timedelta(days=1))
    assert case["decided_at"] == AT


def test_the_trail_says_who_did_what(queued):
    reviews.claim(queued, "c", "anna")
    reviews.release(queued, "c", "anna")
    reviews.claim(queued, "c", "bert")
    reviews.decide(queued, "c", by="bert", verdict="legitimate", decided_at=LATER)
    trail = [(event["event"], event["by"], event["note"]) for event in reviews.events(queued, "c")]
    assert trail == [
        ("opened", None, None),
        ("claimed", "anna", None),
        ("released", "anna", None),
        ("claimed", "bert", None),
        ("decided", "bert", "legitimate"),
    ]


def test_old_cases_and_those_whose_label_is_known_are_closed_unless_somebody_holds_them(queued):
    decide_orders(queued, ("old", "review", 1.0), ("held", "review", 1.0), partition="2017-10-01")
    reviews.open_cases(queued)
    reviews.claim(queued, "held", "anna")
    assert reviews.expire(queued, before=date(2017, 11, 1), why="older than 30 days") == 1
    assert reviews.expire(queued, orders=["c", "unknown"], why="its label is known") == 1
    assert reviews.expire(queued, before=date(2017, 11, 1), orders=["c"], why="again") == 0
    assert reviews.counts(queued) == {"open": 2, "claimed": 1, "decided": 0, "expired": 2}
    assert reviews.events(queued, "old")[-1]["note"] == "older than 30 days"
    with pytest.raises(CaseTaken, match="closed without a verdict"):
        reviews.claim(queued, "old", "bert")


def test_an_order_without_a_case_is_unknown(queued):
    for ask in (
        lambda: reviews.case_of(queued, "x"),
        lambda: reviews.claim(queued, "x", "anna"),
        lambda: reviews.release(queued, "x", "anna"),
        lambda: reviews.decide(queued, "x", by="anna", verdict="fraud", decided_at=LATER),
    ):
        with pytest.raises(UnknownCase):
            ask()


def test_what_is_no_verdict_is_refused(queued):
    with pytest.raises(DataFailed, match="expected one of fraud, legitimate"):
        reviews.decide(queued, "b", by="anna", verdict="guilty", decided_at=LATER)
    with pytest.raises(DataFailed, match="at most 2000 characters"):
        reviews.decide(queued, "b", by="anna", verdict="fraud", decided_at=LATER, note="x" * 2001)
    assert reviews.case_of(queued, "b")["state"] == "open"


def _take_cases(settings: Settings, analyst: str, barrier, taken) -> None:
    """Take the case that all want, then what comes next until nothing is left; start with the others each time."""
    operations = Operations.from_settings(settings)
    barrier.wait(120)
    with contextlib.suppress(CaseTaken):
        taken.put((reviews.claim(operations, "wanted", analyst)["order_id"], analyst))
    barrier.wait(120)
    while (case := reviews.claim_next(operations, analyst)) is not None:
        taken.put((case["order_id"], analyst))


def in_processes(settings: Settings) -> list[tuple[str, str]]:
    """What several processes that start together took: order and analyst."""
    spawn = multiprocessing.get_context("spawn")
    barrier, taken = spawn.Barrier(ANALYSTS), spawn.Queue()
    names = [f"analyst{number}" for number in range(ANALYSTS)]
    processes = [spawn.Process(target=_take_cases, args=(settings, name, barrier, taken)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
        assert process.exitcode == 0
    found = []
    while not taken.empty():
        found.append(taken.get())
    return found


def test_two_analysts_never_take_the_same_case(operations, settings):
    orders = [f"o{number}" for number in range(CASES)]
    decide_orders(operations, *((order, "review", 1.0) for order in orders), ("wanted", "review", -1.0))
    reviews.open_cases(operations)
    taken = in_processes(settings)
    # One of them got what all wanted, and each other case was taken once, by whom the record says.
    assert Counter(order for order, _ in taken) == Counter([*orders, "wanted"])
    held = {row["order_id"]: row["claimed_by"] for row in operations.rows(review_cases)}
    assert held == dict(taken)
    claims = [event["order_id"] for event in operations.rows(review_events, event="claimed")]
    assert Counter(claims) == Counter([*orders, "wanted"])
