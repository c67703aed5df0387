"""A training set against its suite."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from expectations.model_inputs import audit_only_columns, judge_training_set
from expectations.suites.model_inputs.recommender import ModelInputConfig
from expectations.verdicts import Status

CONFIG = ModelInputConfig(("count_orders", "trip_share"), fewest_rows=10, fewest_customers=2, fewest_label_weeks=2)
CUTS = [date(2024, 1, 1), date(2024, 1, 8)]


def training_set(**other):
    """Ten rows: two cuts of five customers with one product each, half of it bought."""
    columns = {
        "customer_id": [f"c{number % 5}" for number in range(10)],
        "product_id": ["p1"] * 10,
        "as_of_date": [CUTS[number // 5] for number in range(10)],
        "label": np.array([0, 1] * 5, dtype=np.int8),
        "count_orders": range(10),
        "trip_share": [0.5] * 10,
    }
    return pd.DataFrame(columns | other)


def failures(rows, config=CONFIG):
    return {rule.rule: rule.observed for rule in judge_training_set(rows, config, CUTS[1], "v1").bad_rules}


def first(value, otherwise):
    return [value, *[otherwise] * 9]


def test_a_good_training_set_passes():
    verdict = judge_training_set(training_set(), CONFIG, CUTS[1], "v1")
    assert verdict.status is Status.PASSED
    assert (verdict.rows_in, verdict.rows_published, verdict.batch_id) == (10, 10, "v1")


@pytest.mark.parametrize(
    ("columns", "failed"),
    [
        ({"label": 0}, {"label_classes": "1", "label_share": "0"}),
        ({"label": 1}, {"label_classes": "1", "label_share": "1"}),
        ({"label": [0, 2] * 5}, {"label_values": "5", "label_classes": "1", "label_share": "1"}),
        ({"label": first(None, 1.0)}, {"label_values": "1", "label_classes": "1", "label_share": "1"}),
        ({"trip_share": first(np.inf, 0.5)}, {"finite": "trip_share"}),
        ({"trip_share": first(1.01, 0.5)}, {"not_too_large": "trip_share"}),
        ({"count_orders": first(-1, 1)}, {"not_too_small": "count_orders"}),
        ({"trip_share": np.nan}, {"feature_null_share": "1"}),
        ({"as_of_date": CUTS[0]}, {"no_duplicates": "5", "label_weeks": "1"}),
        ({"customer_id": "c0", "product_id": [f"p{n}" for n in range(10)]}, {"customer_count": "1"}),
        ({"gender": "f"}, {"no_audit_columns": "gender"}),
    ],
)
def test_a_bad_training_set_fails_by_its_rules(columns, failed):
    assert failures(training_set(**columns)) == failed


def test_missing_values_are_not_infinite():
    assert failures(training_set(trip_share=first(np.nan, 0.5))) == {}


def test_too_few_rows_fail():
    assert "row_count" in failures(training_set().head(9))
    assert failures(training_set().head(0))["row_count"] == "0"


def test_a_missing_feature_is_named():
    assert failures(training_set().drop(columns="trip_share")) == {"columns_present": "trip_share missing"}


def test_a_feature_that_is_audit_only_is_refused_whatever_else_is_wrong():
    config = ModelInputConfig(("count_orders", "age_band"))
    assert "age_band" in audit_only_columns()
    assert failures(training_set(age_band="65+"), config)["no_audit_columns"] == "age_band"
    assert failures(training_set(age_band="65+").drop(columns="label"), config)["no_audit_columns"] == "age_band"


def test_a_parquet_file_is_judged_like_the_frame(tmp_path):
    training_set().to_parquet(tmp_path / "rows.parquet")
    assert failures(tmp_path / "rows.parquet") == failures(tmp_path) == {}
    training_set(label=0).to_parquet(tmp_path / "rows.parquet")
    assert failures(tmp_path / "rows.parquet") == {"label_classes": "1", "label_share": "0"}
