"""Labelled orders drawn from a process that is known: what a model of fraud can and cannot learn is known too."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from ml.fraud.features import with_derived

START = datetime(2024, 1, 1, tzinfo=UTC)


def labelled_rows(count: int, seed: int, *, folds: tuple[float, float] = (0.5, 0.75)) -> pd.DataFrame:
    """Rows as `ml.fraud.dataset.training_rows` gives them, in order of time.

    The log-odds of fraud are a sum: a new device adds 2, each failed attempt on the device within the hour adds 1, each
    known fraud of the card 1.5, an amount e times the customer's mean adds 1.

    Args:
        folds: Shares of the rows after which the calibration and the test days begin.
    """
    draw = np.random.default_rng(seed)
    place = np.arange(count) / count
    orders_before = draw.integers(1, 40, count).astype(float)
    is_new = draw.random(count) < 0.1
    failed = draw.poisson(0.15, count).astype(float)
    frauds = (draw.random(count) < 0.05).astype(float)
    over_mean = draw.normal(0, 0.7, count)
    mean = draw.uniform(2_000, 8_000, count)
    log_odds = -5.5 + 2 * is_new + failed + 1.5 * frauds + over_mean
    probability = 1 / (1 + np.exp(-log_odds))
    rows = pd.DataFrame(
        {
            "order_id": [f"o{seed}-{number}" for number in range(count)],
            "customer_id": [f"c{number % 997}" for number in range(count)],
            "attempted_at": [START + timedelta(minutes=float(30 * number)) for number in range(count)],
            "amount_cents": np.round(mean * np.exp(over_mean)),
            "hour_of_day": draw.integers(0, 24, count),
            "mean_amount_cents_customer_ever": mean,
            "count_orders_customer_ever": orders_before,
            "count_orders_customer_device_ever": np.where(is_new, 0.0, orders_before),
            "count_orders_device_1h": failed + draw.poisson(0.2, count),
            "count_orders_device_30d": failed + draw.poisson(3.0, count),
            "count_failed_device_1h": failed,
            "count_frauds_instrument_ever": frauds,
            "fraud_rate_instrument_ever": (frauds + 0.14) / 21.0,
            "fraud_rate_shop_ever": 0.007,
            "probability": probability,
            "is_fraud": draw.random(count) < probability,
            "known_share": 1.0,
            "propensity": 1.0,
            "weight": 1.0,
            "fold": np.select([place < folds[0], place < folds[1]], ["train", "calibration"], "test"),
        }
    )
    return with_derived(rows)
