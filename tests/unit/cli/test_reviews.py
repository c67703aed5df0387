"""The commands of the review queue and of decisions, over a record made by hand."""

import json
from datetime import UTC, datetime

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from ml.cli.decisions import decisions
from ml.cli.reviews import reviews
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores import decision_log
from ml.stores import reviews as queue
from ml.stores.fraud_tables import review_cases
from ml.stores.operations import Operations

AT = datetime(2017, 11, 19, 15, 30, tzinfo=UTC)


@pytest.fixture
def settings(configure) -> Settings:
    return configure()


@pytest.fixture
def operations(settings) -> Operations:
    operations = Operations.from_settings(settings)
    row = {
        "partition": "2017-11-19",
        "ordered_at": AT,
        "decided_at": AT,
        "amount_cents": 25_000,
        "source": "model",
        "score": 0.052,
        "would_decline": True,
        "propensity": 0.05,
        "model_version": "fraud-v1",
        "policy_version": "default-aaaa",
        "expected_costs": {"approve": 1325.0, "review": 300.0},
        "reasons": [
            {
                "code": "amount_against_normal_customer",
                "text": "The order is worth 250.00; orders of this customer are worth 40.00 on average",
                "feature": "amount_over_mean_customer",
                "contribution": 1.25,
                "value": 25_000,
                "usual": 4000,
            }
        ],
        "rule_trace": [
            {"rule": "many_cards", "matched": True, "action": "review", "capped": False, "why": "Many cards"},
            {"rule": "other", "matched": None, "action": "review", "capped": False, "why": "?"},
        ],
        "contributions": {"log_amount": 1.25, "bias": -4.0},
        "hint": "It would have been approved below a probability of 2%",
    }
    orders = [("o1", "review", 100.0), ("o2", "review", 900.0), ("o3", "approve", 0.0)]
    rows = [
        {**row, "order_id": name, "action": action, "expected_saving_cents": saves} for name, action, saves in orders
    ]
    decision_log.record_decisions(operations, pd.DataFrame(rows))
    queue.open_cases(operations)
    return operations


def run(group, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(group, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def test_a_decision_is_shown_with_what_explains_it(operations):
    shown = run(decisions, "show", "o3").output
    for told in (
        "[simulated payments: made-up data]",
        "decision: approve by model; probability of fraud 5.2%",
        "policy default-aaaa, model fraud-v1",
        "let through to approve (propensity 0.05)",
        "expected costs: approve 13.25, review 3.00",
        "Amount against what is normal for the customer  +1.25",
        "rules: 1 of 2 matched",
        "many_cards -> review: Many cards",
        "what would have changed it: It would have been approved below a probability of 2%",
    ):
        assert told in shown
    assert json.loads(run(decisions, "show", "o3", "--json").output)["score"] == 0.052


def test_an_order_without_a_decision_says_so(operations):
    with pytest.raises(DataFailed, match="no decision is recorded"):
        run(decisions, "show", "none")


def test_the_queue_is_listed_taken_decided_and_released(operations, settings):
    listed = run(reviews, "list").output
    assert "2 open, 0 claimed, 0 decided, 0 expired" in listed
    assert listed.index("o2") < listed.index("o1")
    taken = run(reviews, "take", "--by", "anna").output
    assert "order o2" in taken
    assert "case: claimed by anna until" in taken
    assert "o2" in run(reviews, "list", "--mine", "--by", "anna").output
    assert "held by anna" in run(reviews, "take", "o2", "--by", "bert", code=1).output
    assert "held by anna" in run(reviews, "decide", "o2", "fraud", "--by", "bert", code=1).output
    assert "held by anna" in run(reviews, "release", "o2", "--by", "bert", code=1).output
    run(reviews, "take", "o1", "--by", "bert")
    assert "back in the queue" in run(reviews, "release", "o1", "--by", "bert").output
    assert "o2: fraud, by anna" in run(reviews, "decide", "o2", "fraud", "--note", "Called", "--by", "anna").output
    (case,) = operations.rows(review_cases, order_id="o2")
    # Known at the end of the newest shop day, as the shop of the past lives it.
    assert (case["note"], case["decided_at"]) == ("Called", settings.shop_clock(settings.bootstrap_day))
    shown = run(reviews, "show", "o2").output
    assert "case: decided: fraud, anna" in shown
    assert "note: Called" in shown
    assert json.loads(run(reviews, "show", "o2", "--json").output)["case"]["note"] == "Called"


def test_when_nothing_waits_nothing_is_taken(settings):
    assert "nothing waits" in run(reviews, "take").output
