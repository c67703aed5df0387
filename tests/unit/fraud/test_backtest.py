"""Past orders judged anew: shares, money, weights and intervals against sums done by hand; cost against threshold."""

import numpy as np
import pandas as pd
import pytest

from ml.fraud.backtest import PastOrders, difference, figures, replay, rule_figures
from ml.fraud.cost_curve import cost_curve
from ml.fraud.expression import read_expression
from ml.fraud.fields import known_fields
from ml.outcomes import DataFailed
from tests.unit.fraud.policies import orders, policy

PLAIN = "actions: [approve, decline]\n"
# Declined are the first three: two frauds and an honest order. One fraud is let through.
PROBABILITY = np.array([0.9, 0.8, 0.7, 0.02, 0.01, 0.01])
FRAUD = np.array([True, True, False, True, False, False])


def _past(weight=None, probability=PROBABILITY, **columns):
    weights = np.ones(6) if weight is None else np.array(weight, dtype=float)
    return PastOrders(orders(6, **columns), probability, FRAUD, weights)


def _values(found):
    return {figure.name: figure.value for figure in found}


def test_figures_are_those_of_the_outcomes():
    past = _past()
    found = _values(figures(past, replay(past, policy(PLAIN)), draws=20))
    assert found["frauds stopped"] == pytest.approx(2 / 3)
    assert found["frauds declined"] == pytest.approx(2 / 3)
    assert found["honest orders declined"] == pytest.approx(1 / 3)
    # A fraud let through costs 11,000, an honest order declined 4,000; approving all would cost 33,000.
    assert found["cost, per 1,000 orders"] == pytest.approx(15_000 / 6 * 1000)
    assert found["saved against approving all, per 1,000 orders"] == pytest.approx(18_000 / 6 * 1000)
    assert found["value of frauds stopped, per 1,000 orders"] == pytest.approx(20_000 / 6 * 1000)


def test_an_order_let_through_by_chance_stands_for_those_declined():
    past = _past(weight=[4, 1, 1, 1, 1, 1])
    found = _values(figures(past, replay(past, policy(PLAIN)), draws=20))
    assert found["frauds stopped"] == pytest.approx(5 / 6)
    assert found["cost, per 1,000 orders"] == pytest.approx(15_000 / 9 * 1000)


def test_a_review_stops_as_many_frauds_as_reviewers_recognize():
    probability = np.array([0.4, 0.01, 0.01, 0.01, 0.01, 0.01])
    past = _past(probability=probability)
    found = _values(figures(past, replay(past, policy()), draws=20))
    assert found["frauds sent to review"] == pytest.approx(1 / 3)
    assert found["frauds stopped"] == pytest.approx(0.9 / 3)
    assert found["cost, per 1,000 orders"] == pytest.approx((1_600 + 2 * 11_000) / 6 * 1000)


def test_a_replay_explores_nothing():
    past = _past()
    exploring = policy("exploration: {share: 0.5, per_day: 1000}\n")
    assert (replay(past, exploring).action == replay(past, policy()).action).all()


def test_two_policies_are_compared_by_the_same_prices():
    past, plain = _past(), policy(PLAIN)
    none = policy("actions: [approve]\n")
    (saved,) = difference(past, replay(past, plain), replay(past, none, prices=plain), draws=200)
    assert saved.value == pytest.approx(18_000 / 6 * 1000)
    assert saved.low < saved.value < saved.high
    dearer = policy("actions: [approve]\nsegments: [{name: all, when: amount_cents >= 0, costs: {margin_share: 1}}]\n")
    with pytest.raises(AssertionError, match="different prices"):
        difference(past, replay(past, plain), replay(past, dearer))


def test_intervals_draw_whole_customers():
    alone = _past()
    spread = figures(alone, replay(alone, policy(PLAIN)), draws=100)[8]
    assert spread.low < spread.value < spread.high
    assert figures(alone, replay(alone, policy(PLAIN)), draws=100)[8] == spread
    # Orders of one customer come together or not at all: nothing is left to vary.
    one = _past(customer_id=["c1"] * 6)
    same = figures(one, replay(one, policy(PLAIN)), draws=100)[8]
    assert same.low == pytest.approx(same.value) == pytest.approx(same.high)


def test_a_rule_by_itself():
    past = _past(amount_cents=[10_000, 10_000, 50_000, 10_000, 50_000, 10_000])
    when = read_expression("amount_cents >= 50000 or score >= 0.85", known_fields())
    found = _values(rule_figures(past, when, policy(), draws=20))
    assert found["orders met"] == pytest.approx(3 / 6)
    assert found["frauds among the orders met"] == pytest.approx(1 / 3)
    assert found["frauds met, of all frauds"] == pytest.approx(1 / 3)
    # Declining saves one fraud of 11,000 and costs two honest orders of 50,000 x 0.2 + 2,000.
    assert found["saved by declining them all, per 1,000 orders"] == pytest.approx((11_000 - 24_000) / 6 * 1000)


def test_what_nothing_is_known_of_is_unknown():
    past = PastOrders(orders(2), np.array([0.1, 0.1]), np.array([False, False]), np.ones(2))
    found = _values(figures(past, replay(past, policy()), draws=20))
    assert np.isnan(found["frauds stopped"])


def test_cost_against_threshold():
    curve = cost_curve(_past(), policy(PLAIN))
    # Declining from 0.9 on, then from 0.8, 0.7, 0.02 and 0.01 on; last, nobody.
    assert curve.threshold.tolist() == [0.01, 0.02, 0.7, 0.8, 0.9, 1.0]
    thousandths = [12_000, 4_000, 15_000, 11_000, 22_000, 33_000]
    assert curve.actual == pytest.approx(np.array(thousandths) / 6 * 1000)
    assert curve.declined == pytest.approx(np.array([6, 4, 3, 2, 1, 0]) / 6)
    assert curve.threshold[curve.best] == 0.02
    assert curve.policy == pytest.approx(15_000 / 6 * 1000)
    assert curve.approve_all == pytest.approx(33_000 / 6 * 1000)
    # Expected of the first: 0.1 x 4,000 declined; 11,000 x (0.8 + 0.7 + 0.02 + 0.01 + 0.01) approved.
    assert curve.expected[4] == pytest.approx((400 + 11_000 * 1.54) / 6 * 1000)


def test_no_curve_without_probabilities():
    with pytest.raises(DataFailed, match="found none"):
        cost_curve(_past(probability=None), policy())


def test_orders_of_no_weight_are_no_past():
    with pytest.raises(AssertionError, match="left out"):
        PastOrders(orders(1), None, np.array([True]), np.zeros(1))


def test_the_frames_stay_as_they_are():
    past = _past()
    before = past.orders.copy()
    figures(past, replay(past, policy()), draws=2)
    pd.testing.assert_frame_equal(past.orders, before)
