"""Expected costs, against sums done by hand."""

import numpy as np
import pandas as pd
import pytest

from ml.fraud.policy import expected_costs, segment_of
from ml.outcomes import DataFailed
from tests.unit.fraud.policies import orders, policy


def _costs(probability, rows, more=""):
    return expected_costs(np.array(probability), rows["amount_cents"].to_numpy(), rows, policy(more))


def test_costs_of_a_certain_fraud_and_of_an_honest_order():
    costs = _costs([1.0, 0.0], orders(2))
    # A fraud of 100.00 loses 10,000 + 1,000. A reviewer costs 500 and overlooks a tenth; a challenge 50, half pass.
    assert costs.iloc[0].to_dict() == pytest.approx(
        {"approve": 11_000, "challenge": 50 + 5_500, "review": 500 + 1_100, "decline": 0}
    )
    # Declined in error: 2,000 of margin and half of 4,000. A reviewer does so to a tenth; a tenth give up a challenge.
    assert costs.iloc[1].to_dict() == {"approve": 0, "challenge": 50 + 200, "review": 500 + 400, "decline": 4_000}


def test_costs_lie_between_by_the_probability():
    costs = _costs([0.25], orders(1))
    assert costs.iloc[0].to_dict() == pytest.approx(
        {"approve": 2_750, "challenge": 50 + 1_375 + 150, "review": 500 + 275 + 300, "decline": 3_000}
    )


def test_a_known_customers_later_margins_are_their_own():
    # Ten more orders of 50.00 at 0.2 margin are 10,000; half of that is lost with a wrong decline, beside 2,000 now.
    rows = orders(3, mean_amount_cents_customer_ever=[5_000.0, None, np.inf])
    assert _costs([0.0, 0.0, 0.0], rows)["decline"].tolist() == [7_000.0, 4_000.0, 4_000.0]


def test_a_segment_has_costs_of_its_own_and_the_first_that_is_true_counts():
    more = """
segments:
  - {name: pos, when: channel == 'pos', costs: {chargeback_fee_cents: 0}}
  - {name: all, when: amount_cents >= 0, costs: {chargeback_fee_cents: 7000}}
"""
    rows = orders(3, channel=["pos", "web", None])
    assert _costs([1.0, 1.0, 1.0], rows, more)["approve"].tolist() == [10_000, 17_000, 17_000]
    assert segment_of(rows, policy(more)).tolist() == [0, 1, 1]


@pytest.mark.parametrize(("probability", "amount"), [(-0.1, 1), (1.1, 1), (np.nan, 1), (0.5, -1), (0.5, np.inf)])
def test_numbers_that_are_none_are_refused(probability, amount):
    rows = orders(1, amount_cents=[amount])
    with pytest.raises(DataFailed, match="expected"):
        _costs([probability], rows)


def test_frames_are_not_changed():
    rows = orders(2)
    before = rows.copy()
    _costs([0.1, 0.2], rows)
    pd.testing.assert_frame_equal(rows, before)
