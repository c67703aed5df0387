"""Decisions: money, the reviewers' day, rules and lists over the model, exploration, the stand-in."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from ml.fraud.decide import decide
from ml.fraud.exploration import draw
from ml.fraud.lists import ListEntry
from ml.fraud.policy import GROUP_COLUMN
from ml.fraud.policy_file import default_policy
from ml.outcomes import DataFailed
from tests.unit.fraud.policies import orders, policy

DAY = dt.date(2026, 3, 2)
# By the costs of an order of 100.00: approve below 4.4%, challenge to 14%, review to 66%, then decline.
HONEST, DOUBTFUL, SUSPECT, FRAUD = 0.01, 0.08, 0.4, 0.95


def _decide(rows, probabilities, the_policy=None, lists=(), hits=None, reviews=None, seed=1, **more):
    given = None if probabilities is None else np.array(probabilities, dtype=float)
    return decide(rows, given, the_policy or policy(), list(lists), hits, reviews, seed, **more)


def test_the_model_takes_the_cheapest_action():
    decided = _decide(orders(4), [HONEST, DOUBTFUL, SUSPECT, FRAUD])
    assert decided["action"].tolist() == ["approve", "challenge", "review", "decline"]
    assert decided["source"].tolist() == ["model"] * 4
    assert decided["would_decline"].tolist() == [False, False, False, True]
    assert decided["propensity"].tolist() == [1.0, 1.0, 1.0, 0.0]  # no exploration: a declined label is never known
    # SUSPECT: decline 0.6 x 4,000; review 500 + 0.4 x 1,100 + 0.6 x 400; challenge 50 + 0.4 x 5,500 + 0.6 x 200.
    assert decided["expected_costs"][2]["decline"] == 2_400
    assert decided["expected_costs"][2]["review"] == 1_180
    assert decided["expected_cost_cents"][2] == 1_180
    assert decided["expected_saving_cents"][2] == 2_370 - 1_180


def test_only_actions_of_the_policy_are_taken():
    decided = _decide(orders(2), [DOUBTFUL, SUSPECT], policy("actions: [approve, decline]\n"))
    assert decided["action"].tolist() == ["approve", "decline"]


def test_the_reviewers_day_goes_to_what_saves_most_and_the_rest_takes_the_next_best():
    rows = orders(4)
    decided = _decide(rows, [0.2, 0.4, 0.3, 0.4], policy("reviews: {per_day: 3}\n"), reviews={DAY: 1})
    # Against a challenge a review saves 4,600 x P - 650: most at 0.4, least at 0.2. Two are left today.
    assert decided["action"].tolist() == ["challenge", "review", "challenge", "review"]
    assert _decide(rows, [0.2, 0.4, 0.3, 0.4], policy("reviews: {per_day: 3}\n"))["action"].tolist() == [
        "challenge", "review", "review", "review",
    ]  # fmt: skip


def test_each_shop_day_has_its_own_reviewers():
    rows = orders(2, attempt_date=pd.to_datetime(["2026-03-02", "2026-03-03"]))
    assert _decide(rows, [0.4, 0.4], policy("reviews: {per_day: 1}\n"))["action"].tolist() == ["review", "review"]


def test_a_review_that_saves_too_little_is_not_asked_for():
    decided = _decide(orders(1), [SUSPECT], policy("reviews: {per_day: 5, minimum_saving_cents: 1191}\n"))
    assert decided["action"].tolist() == ["challenge"]
    decided = _decide(orders(1), [SUSPECT], policy("reviews: {per_day: 5, minimum_saving_cents: 1189}\n"))
    assert decided["action"].tolist() == ["review"]


RULES = """
rules:
  - {name: large, when: amount_cents >= 50000, action: review, why: A large order}
  - {name: stolen, when: count_frauds_device_30d >= 1, action: decline, why: A device of frauds}
  - {name: sure, when: score >= 0.3, action: challenge, why: The model is nearly sure}
"""


def test_rules_only_make_it_stricter_and_the_trace_says_what_each_said():
    rows = orders(4, amount_cents=[10_000, 60_000, 10_000, 10_000], count_frauds_device_30d=[0, 0, 1, np.nan])
    decided = _decide(rows, [HONEST, 0.001, HONEST, FRAUD], policy(RULES))
    assert decided["action"].tolist() == ["approve", "review", "decline", "decline"]
    assert decided["source"].tolist() == ["model", "rule", "rule", "model"]
    assert [(one["rule"], one["matched"]) for one in decided["rule_trace"][3]] == [
        ("large", False),
        ("stolen", None),  # a missing value leaves it open, and no rule
        ("sure", True),
    ]
    assert decided["rule_trace"][2][1] == {
        "rule": "stolen", "kind": "rule", "matched": True, "action": "decline", "capped": False,
        "why": "A device of frauds",
    }  # fmt: skip


def test_lists_come_first_block_before_allow():
    rows = orders(5, device_hash=["bad", "good", "both", "odd", None], instrument_hash=["x", "x", "y", "x", "y"])
    lists = [
        ListEntry("block", "device", "bad"),
        ListEntry("allow", "device", "good"),
        ListEntry("block", "device", "both"),
        ListEntry("allow", "instrument", "y"),
        ListEntry("watch", "device", "odd"),
    ]
    decided = _decide(rows, [HONEST, FRAUD, HONEST, HONEST, FRAUD], policy(), lists)
    assert decided["action"].tolist() == ["decline", "approve", "decline", "review", "approve"]
    assert decided["source"].tolist() == ["list"] * 5
    assert [one["rule"] for one in decided["rule_trace"][2]] == ["block:device", "allow:instrument"]


def test_a_list_entry_means_orders_before_it_expires():
    rows = orders(3, device_hash=["bad"] * 3)
    until = rows["attempted_at"][1].to_pydatetime()
    decided = _decide(rows, [HONEST] * 3, lists=[ListEntry("block", "device", "bad", until)])
    assert decided["action"].tolist() == ["decline", "approve", "approve"]


def test_a_list_about_a_column_that_the_shop_has_not_means_nobody():
    decided = _decide(orders(1), [HONEST], lists=[ListEntry("block", "device", "bad")])
    assert decided["action"].tolist() == ["approve"]


EXPLORING = "exploration: {share: 0.25, per_day: 1000}\n"


def test_a_share_of_would_be_declines_is_let_through_to_review_with_its_propensity():
    rows = orders(400)
    decided = _decide(rows, [FRAUD] * 400, policy(EXPLORING))
    explored = decided["action"] == "review"
    assert decided["would_decline"].all()
    assert (decided["propensity"] == 0.25).all()
    assert explored.tolist() == [draw(1, order) < 0.25 for order in rows["order_id"]]
    assert 70 <= explored.sum() <= 130  # 100 expected; five standard deviations are 43
    assert (decided.loc[~explored, "action"] == "decline").all()


def test_exploration_draws_alike_again_and_otherwise_with_another_seed():
    rows, the_policy = orders(50), policy(EXPLORING)
    first = _decide(rows, [FRAUD] * 50, the_policy)
    again = _decide(rows.iloc[::-1], [FRAUD] * 50, the_policy).sort_index()
    assert first["action"].tolist() == again["action"].tolist()
    assert first["action"].tolist() != _decide(rows, [FRAUD] * 50, the_policy, seed=2)["action"].tolist()


def test_exploration_ends_with_the_days_cap_and_the_rest_has_no_chance():
    rows = orders(200)
    decided = _decide(rows, [FRAUD] * 200, policy("exploration: {share: 0.25, per_day: 5}\n"), explored_today={DAY: 2})
    explored = np.flatnonzero(decided["action"] == "review")
    assert len(explored) == 3
    assert (decided["propensity"][: explored[-1] + 1] == 0.25).all()
    assert (decided["propensity"][explored[-1] + 1 :] == 0.0).all()


def test_what_a_block_list_declines_is_never_explored():
    decided = _decide(
        orders(100, device_hash=["bad"] * 100), [HONEST] * 100, policy("exploration: {share: 0.5, per_day: 1000}\n"),
        lists=[ListEntry("block", "device", "bad")],
    )  # fmt: skip
    assert (decided["action"] == "decline").all()
    assert (decided["propensity"] == 0.0).all()


STANDIN = """
standin: {amount_cents: 10000, orders_per_day: 2, account_age_days: 30, cents_per_day: 25000, over_limits: review}
"""


def test_without_a_model_the_stand_in_lets_through_within_its_limits_only():
    rows = orders(
        6,
        amount_cents=[10_000, 10_001, 5_000, 5_000, 5_000, 5_000],
        account_age_days=[30.0, 99, 29, np.nan, 99, 99],
        count_orders_customer_1d=[0.0, 0, 0, 0, 2, np.nan],
        count_orders_device_1d=[1.0, 0, 0, 0, 0, np.nan],
    )
    decided = _decide(rows, None, policy(STANDIN))
    assert decided["action"].tolist() == ["approve", "review", "review", "review", "review", "review"]
    assert set(decided["source"]) == {"standin"}
    assert decided["expected_costs"][0]["approve"] == 0.01 * 11_000  # stated with the assumed probability


def test_the_stand_in_tightens_once_the_days_value_is_spent():
    rows = orders(4, account_age_days=[99.0] * 4, count_orders_customer_1d=[0] * 4)
    assert _decide(rows, None, policy(STANDIN))["action"].tolist() == ["approve", "approve", "review", "review"]
    spent = _decide(rows, None, policy(STANDIN), standin_cents_today={DAY: 20_000})
    assert spent["action"].tolist() == ["review"] * 4


def test_where_ages_are_not_asked_for_they_may_be_missing():
    rows = orders(1, count_orders_customer_1d=[0])
    assert _decide(rows, None, policy(STANDIN))["action"].tolist() == ["review"]
    no_age = policy(STANDIN.replace("account_age_days: 30", "account_age_days: 0"))
    assert _decide(rows, None, no_age)["action"].tolist() == ["approve"]


def test_an_order_that_the_model_could_not_score_has_the_stand_in_and_rules_still_hold():
    rows = orders(3, count_frauds_device_30d=[0, 0, 1], account_age_days=[99.0] * 3, count_orders_customer_1d=[0] * 3)
    decided = _decide(rows, [FRAUD, np.nan, np.nan], policy(STANDIN + RULES))
    assert decided["action"].tolist() == ["decline", "approve", "decline"]
    assert decided["source"].tolist() == ["model", "standin", "rule"]


def test_a_blocked_order_is_never_let_through_without_a_model():
    rows = orders(1, device_hash=["bad"], account_age_days=[99.0], count_orders_customer_1d=[0])
    assert _decide(rows, None, policy(STANDIN), [ListEntry("block", "device", "bad")])["action"][0] == "decline"


AWARE = """
fairness:
  group_aware: true
  legal_basis: Counsel's note
  grouping: age
  probability_factors: [{group: young, factor: 0.2}]
"""


def test_a_group_is_only_looked_at_while_the_switch_is_on():
    rows = orders(2, **{GROUP_COLUMN: ["young", "old"]})
    assert _decide(rows, [SUSPECT, SUSPECT], policy())["action"].tolist() == ["review", "review"]
    assert _decide(rows, [SUSPECT, SUSPECT], policy(AWARE))["action"].tolist() == ["challenge", "review"]
    with pytest.raises(DataFailed, match=GROUP_COLUMN):
        _decide(orders(1), [SUSPECT], policy(AWARE))


def test_the_rows_come_back_as_given_and_the_frame_is_not_changed():
    rows = orders(3).set_index(pd.Index([7, 3, 5]))
    before = rows.copy()
    decided = _decide(rows, [HONEST, FRAUD, HONEST])
    pd.testing.assert_frame_equal(rows, before)
    assert decided.index.tolist() == [7, 3, 5]
    assert decided["order_id"].tolist() == ["o1", "o2", "o3"]
    assert len(_decide(orders(0), None)) == 0


@pytest.mark.parametrize(
    ("rows", "probabilities", "problem"),
    [
        (pd.concat([orders(1), orders(1)], ignore_index=True), [0.1, 0.1], "1 of 2 stand in it twice"),
        (orders(1).drop(columns="amount_cents"), [0.1], "columns amount_cents"),
        (orders(1, amount_cents=[None]), [0.1], "amount_cents is missing in 1 rows"),
        (orders(2), [0.1], "1 probabilities for 2 orders"),
        (orders(1), [1.5], "between 0 and 1"),
    ],
)
def test_input_that_is_not_orders_is_refused(rows, probabilities, problem):
    with pytest.raises(DataFailed, match=problem):
        _decide(rows, probabilities)


def test_the_default_policy_decides_where_all_optional_columns_are_missing():
    rows = orders(3)[["order_id", "attempted_at", "amount_cents"]]
    decided = _decide(rows, [0.001, 0.4, 0.99], default_policy())
    assert decided["action"].tolist() == ["approve", "review", "decline"]
    assert set(decided["source"]) == {"model"}
    assert all(one["matched"] is not True for trace in decided["rule_trace"] for one in trace)
    assert _decide(rows, None, default_policy())["action"].tolist() == ["review"] * 3
