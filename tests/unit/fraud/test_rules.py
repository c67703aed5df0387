"""The circuit breaker, the hits to record, and ranks by rules alone."""

import numpy as np
import pandas as pd
import pytest

from ml.fraud import rules
from ml.fraud.decide import decide
from tests.unit.fraud.policies import orders, policy

RULES = """
breaker: {declines: 2, share: 0, window_hours: 3}
rules:
  - {name: stolen, when: count_frauds_device_30d >= 1, action: decline, why: A device of frauds}
  - {name: large, when: amount_cents >= 50000, action: review, why: A large order}
"""


def _hits(decided, rows, the_policy):
    return rules.hits(decided, rows, the_policy)


def _decide(rows, the_policy, hits=None, past_orders=None):
    return decide(rows, np.zeros(len(rows)), the_policy, [], hits, None, 1, past_orders=past_orders)


def test_one_rule_may_decline_so_many_in_a_window_and_then_sends_to_review():
    rows = orders(7, count_frauds_device_30d=[1] * 7)  # an hour apart; a window of 3 hours holds its older end
    decided = _decide(rows, policy(RULES))
    assert decided["action"].tolist() == ["decline", "decline", "review", "review", "decline", "decline", "review"]
    assert [trace[0]["capped"] for trace in decided["rule_trace"]] == [False, False, True, True, False, False, True]
    assert decided["source"].tolist() == ["rule"] * 7


def test_without_its_breaker_it_would_decline_all():
    rows = orders(7, count_frauds_device_30d=[1] * 7)
    decided = _decide(rows, policy(RULES.replace("declines: 2", "declines: 7")))
    assert decided["action"].tolist() == ["decline"] * 7


def test_the_limit_grows_with_the_orders_of_the_window():
    rows = orders(6, count_frauds_device_30d=[0, 0, 0, 1, 1, 1])
    share = RULES.replace("declines: 2, share: 0,", "declines: 1, share: 0.7,")
    # Three orders lie in [t - 3 h, t): 0.7 of them are 2 declines.
    assert _decide(rows, policy(share))["action"].tolist()[3:] == ["decline", "decline", "review"]
    alone = rows.iloc[3:]
    assert _decide(alone, policy(share))["action"].tolist() == ["decline", "review", "review"]
    past = rows["attempted_at"][:3]
    assert _decide(alone, policy(share), past_orders=past)["action"].tolist() == ["decline", "decline", "review"]


def test_in_parts_or_again_it_caps_as_in_one_go():
    rows, the_policy = orders(7, count_frauds_device_30d=[1] * 7), policy(RULES)
    whole = _decide(rows, the_policy)
    first = _decide(rows[:3], the_policy)
    hits = _hits(first, rows[:3], the_policy)
    second = _decide(rows[3:], the_policy, hits)
    assert [*first["action"], *second["action"]] == whole["action"].tolist()
    again = _decide(rows[:3], the_policy, hits)
    assert again["action"].tolist() == first["action"].tolist()


def test_hits_name_rule_order_and_whether_it_was_capped():
    rows, the_policy = orders(3, count_frauds_device_30d=[1, 1, 1], amount_cents=[60_000, 1, 1]), policy(RULES)
    hits = _hits(_decide(rows, the_policy), rows, the_policy)
    assert hits.to_dict("records") == [
        {
            "rule": rule,
            "policy_version": the_policy.version,
            "order_id": order,
            "ordered_at": pd.Timestamp(f"2026-03-02 0{hour}:00", tz="UTC"),
            "action": action,
            "is_capped": capped,
        }
        for rule, order, hour, action, capped in [
            ("stolen", "o1", 0, "decline", False),
            ("large", "o1", 0, "review", False),
            ("stolen", "o2", 1, "decline", False),
            ("stolen", "o3", 2, "decline", True),
        ]
    ]
    assert _hits(_decide(rows[:0], the_policy), rows[:0], the_policy).empty


def test_rules_alone_rank_by_action_then_by_number():
    rows = orders(4, count_frauds_device_30d=[0, 1, 0, 1], amount_cents=[1, 1, 60_000, 60_000])
    assert rules.rule_score(rows, policy(RULES)) == pytest.approx([0, 3 + 1 / 3, 2 + 1 / 3, 3 + 2 / 3])
