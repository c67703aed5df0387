"""Ways to close a gap, on orders whose rates and money are counted by hand."""

import numpy as np
import pandas as pd
import pytest

from ml.fairness.mitigation import (
    Constrained,
    GroupFactors,
    Mitigated,
    fit_group_factors,
    measure,
    rate_gap,
    reweighing_weights,
)

GROUPS = pd.Series(["a"] * 4 + ["b"] * 4, name="age_band")


def test_weights_make_the_label_independent_of_the_group():
    """Of 8 orders 3 are fraud, 1 of a and 2 of b. Expected: half of 3 in each group; 1.5 / 1 and 1.5 / 2."""
    fraud = np.array([True, False, False, False, True, True, False, False])
    weights = reweighing_weights(GROUPS, fraud)
    assert weights == pytest.approx([1.5, *[2.5 / 3] * 3, 0.75, 0.75, 1.25, 1.25])
    assert weights[fraud & (GROUPS == "a")].sum() == pytest.approx(weights[fraud & (GROUPS == "b")].sum())


def test_weights_that_the_orders_had_are_kept_in_proportion():
    fraud = np.array([True, False, False, False, True, True, False, False])
    given = np.array([2.0, 1, 1, 1, 1, 1, 1, 1])
    weights = reweighing_weights(GROUPS, fraud, given)
    assert weights.sum() == pytest.approx(given.sum())
    shares = [weights[fraud & GROUPS.eq(name)].sum() / weights[GROUPS.eq(name)].sum() for name in "ab"]
    assert shares[0] == pytest.approx(shares[1])


def test_a_group_without_fraud_keeps_all_its_orders():
    weights = reweighing_weights(GROUPS, np.array([False] * 4 + [True] + [False] * 3))
    assert weights[:4] == pytest.approx([1.0] * 4)
    assert reweighing_weights(GROUPS, np.full(8, False)) == pytest.approx([1.0] * 8)


def test_the_group_with_the_lowest_rate_can_be_left_as_it_is():
    """A quarter of a and a half of b are fraud: b's frauds weigh half, its honest orders half as much again."""
    fraud = np.array([True, False, False, False, True, True, False, False])
    weights = reweighing_weights(GROUPS, fraud, to="lowest")
    assert weights == pytest.approx([1.0] * 4 + [0.5, 0.5, 1.5, 1.5])


def test_the_gap_is_taken_over_the_counted_orders():
    stopped = np.array([True, True, False, False, True, False, False, False])
    honest = np.array([False, True, True, True, True, True, True, True])
    assert rate_gap(stopped, GROUPS, honest) == pytest.approx(1 / 3 - 1 / 4)


def test_what_a_mitigation_closed_and_cost():
    before = np.array([True, True, True, False, True, False, False, False])
    after = np.array([True, True, False, False, True, True, False, False])
    gain = np.array([100.0, 50, 20, -10, 80, -30, -10, -10])
    mitigated = measure("shifts", before, after, GROUPS, np.full(8, True), gain)
    assert mitigated == Mitigated("shifts", 0.5, 0.0, 250.0, 200.0)
    assert (mitigated.closed_share, mitigated.cost_cents, mitigated.cost_share) == (1.0, 50.0, 0.2)


def test_no_gap_has_no_closed_share():
    none = Mitigated("shifts", 0.0, 0.0, 0.0, 0.0)
    assert (none.closed_share, none.cost_share) == (None, None)


def test_factors_by_group_close_the_gap_where_most_is_saved():
    """Group b's probabilities are twice as high for no reason: 3 of its 4 orders are stopped, 1 of a's."""
    probabilities = np.array([0.5, 0.3, 0.2, 0.1, 1.0, 0.6, 0.4, 0.2])
    gain = np.array([100.0, -10, -10, -10, 100, -10, -10, -10])
    everyone, from_here = np.full(8, True), np.full(8, 0.4)
    factors = fit_group_factors(probabilities, from_here, GROUPS, everyone, gain, close=1.0)
    stopped = factors.adjusted(probabilities, GROUPS) >= from_here
    assert stopped.tolist() == [True, False, False, False] * 2


def test_factors_stay_within_what_a_policy_takes():
    probabilities = np.array([1e-6, 1e-6, 1e-6, 1e-6, 0.9, 0.8, 0.7, 0.6])
    gain = np.array([100.0, 100, 100, 100, -10, -10, -10, -10])
    factors = fit_group_factors(probabilities, np.full(8, 0.4), GROUPS, np.full(8, True), gain, close=1.0).factors
    assert set(factors) == {"a", "b"}
    assert all(0.01 <= factor <= 10 for factor in factors.values())


def test_factors_multiply_their_group_only():
    factors = GroupFactors("age_band", {"b": 0.5, "c": 3.0})
    groups = pd.Series(["a", "b", "c", None])
    assert factors.adjusted(np.array([0.4, 0.4, 0.4, 0.4]), groups) == pytest.approx([0.4, 0.2, 1.0, 0.4])


def test_a_mixture_stops_with_the_chance_of_its_parts():
    mixture = Constrained((lambda _: [1, 0], lambda _: [1, 1]), (0.75, 0.25))
    assert mixture.chance_of_stop(pd.DataFrame()).tolist() == [1.0, 0.25]
