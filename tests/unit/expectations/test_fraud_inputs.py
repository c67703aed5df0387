"""A training set of fraud against its suite."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from expectations.model_inputs import judge_training_set
from expectations.suites.model_inputs.fraud import FraudInputConfig
from expectations.verdicts import Status

END = datetime(2024, 1, 8, tzinfo=UTC)
CONFIG = FraudInputConfig(
    ("count_orders_device_1h", "failed_share_device_1h"),
    fewest_rows=12,
    fewest_frauds=3,
    label_share=(0.01, 0.5),
    end=END.isoformat(),
)


def training_set(**other):
    """Twelve orders, four in each fold, one fraud among each four."""
    columns = {
        "order_id": [f"o{number:02d}" for number in range(12)],
        "attempted_at": [END - timedelta(hours=12 - number) for number in range(12)],
        "fold": [fold for fold in ("train", "calibration", "test") for _ in range(4)],
        "is_fraud": [number % 4 == 0 for number in range(12)],
        "weight": 1.0,
        "count_orders_device_1h": np.arange(12, dtype=np.float32),
        "failed_share_device_1h": np.float32(0.5),
    }
    return pd.DataFrame(columns | other)


def failures(rows):
    return {rule.rule: rule.observed for rule in judge_training_set(rows, CONFIG, END.date(), "v1").bad_rules}


def first(value, otherwise):
    return [value, *[otherwise] * 11]


def test_a_good_training_set_passes_and_names_the_product():
    verdict = judge_training_set(training_set(), CONFIG, END.date(), "v1")
    assert (verdict.status, verdict.object, verdict.rows_in) == (Status.PASSED, "fraud", 12)


@pytest.mark.parametrize(
    ("columns", "failed"),
    [
        ({"order_id": first("o01", "o01")[:1] + [f"o{n:02d}" for n in range(1, 12)]}, {"no_duplicates": "1"}),
        ({"is_fraud": False}, {"fraud_count": "0", "folds": "0", "label_classes": "1", "label_share": "0"}),
        ({"is_fraud": True}, {"label_classes": "1", "label_share": "1"}),
        ({"is_fraud": [n % 4 != 0 for n in range(12)]}, {"label_share": "0.75"}),
        ({"is_fraud": [n in (0, 1, 4) for n in range(12)]}, {"folds": "2"}),
        ({"attempted_at": first(END, END - timedelta(days=1))}, {"no_later_rows": "1"}),
        ({"weight": first(-1.0, 1.0)}, {"weights": "1"}),
        ({"weight": first(None, 1.0)}, {"weights": "1"}),
        ({"count_orders_device_1h": first(np.float32(np.inf), np.float32(1))}, {"finite": "count_orders_device_1h"}),
        ({"count_orders_device_1h": first(-1.0, 1.0)}, {"not_too_small": "count_orders_device_1h"}),
        ({"failed_share_device_1h": first(2.0, 0.5)}, {"not_too_large": "failed_share_device_1h"}),
        ({"age_band": "65+"}, {"no_audit_columns": "age_band"}),
    ],
)
def test_a_bad_training_set_fails_by_its_rules(columns, failed):
    assert failures(training_set(**columns)) == failed


def test_a_shop_without_devices_passes():
    assert failures(training_set(count_orders_device_1h=np.nan, failed_share_device_1h=np.nan)) == {}


def test_a_missing_feature_is_named():
    rows = training_set().drop(columns="count_orders_device_1h")
    assert failures(rows) == {"columns_present": "count_orders_device_1h missing"}


def test_too_few_rows_fail():
    assert failures(training_set().head(11)) == {"row_count": "11"}
