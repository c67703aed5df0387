"""Policies and orders made by hand, for tests of decisions."""

import pandas as pd

from ml.fraud.policy import Policy
from ml.fraud.policy_file import read_policy

# A fraud costs 100 + 0 cents per 100 of value; an honest decline 20 of margin and 0.5 x 100 of a lost customer.
ROUND_COSTS = """\
costs:
  fraud_loss_share: 1
  chargeback_fee_cents: 1000
  margin_share: 0.2
  lost_customer_share: 0.5
  lifetime_value_cents: 4000
  lifetime_orders: 10
  review_cents: 500
  review_catch_share: 0.9
  review_wrong_share: 0.1
  challenge_cents: 50
  challenge_stop_share: 0.5
  challenge_abandon_share: 0.1
"""


def policy(more: str = "") -> Policy:
    return read_policy(f"name: round\n{ROUND_COSTS}{more}", "round.yml")


def orders(n: int, **columns: object) -> pd.DataFrame:
    """Orders o1..on, an hour apart on 2026-03-02 UTC, of 100.00 each."""
    return pd.DataFrame(
        {
            "order_id": [f"o{number}" for number in range(1, n + 1)],
            "attempted_at": pd.date_range("2026-03-02", periods=n, freq="h", tz="UTC"),
            "attempt_date": pd.to_datetime(["2026-03-02"] * n),
            "amount_cents": [10_000] * n,
            **columns,
        }
    )
