"""The gate before the fraud model: a training set from which nothing may be learnt. Its rows are made up.

A small shop has too few frauds to learn from, so a training set is laid where the step before the gate would put it.
"""

from collections.abc import Callable
from datetime import timedelta
from math import inf

import numpy as np
import pandas as pd

from ml.cli.fraud.inputs import PRODUCT
from ml.cli.fraud.training import TRAINING_ROWS
from ml.cli.selftest.bench import HISTORY_END, Bench
from ml.cli.selftest.judging import BlockingGate
from ml.cli.selftest.model_inputs import WEEK
from ml.cli.selftest.proofs import BadInput, Walk
from ml.cli.selftest.switches import verdicts_pass
from ml.cli.training_sets import as_arrow, training_store

GATE = "fraud_train.gate_training_set"
COUNT, SHARE = "count_orders_device_1h", "failed_share_device_1h"
_ROWS = 900


def prepare(bench: Bench, _walk: Walk) -> None:
    _publish(bench, _good(bench))


def _good(bench: Bench) -> pd.DataFrame:
    """Orders by the hour up to the training moment; one in ten is fraud, in every fold."""
    number = np.arange(_ROWS)
    end = pd.Timestamp(bench.settings.shop_clock(HISTORY_END))
    return pd.DataFrame(
        {
            "order_id": [f"o{one:04d}" for one in number],
            "attempted_at": [end - timedelta(hours=int(_ROWS - one)) for one in number],
            "fold": np.repeat(["train", "calibration", "test"], _ROWS // 3),
            "is_fraud": number % 10 == 0,
            "weight": 1.0,
            COUNT: (number % 5).astype(np.float32),
            SHARE: np.float32(0.5),
        }
    )


def _publish(bench: Bench, rows: pd.DataFrame) -> None:
    store = training_store(bench.settings, PRODUCT)
    part = store.write_part(TRAINING_ROWS, HISTORY_END.isoformat(), as_arrow(rows))
    current = store.current()
    lineage = {"partition": HISTORY_END.isoformat(), "features": [COUNT, SHARE]}
    store.publish([part], lineage, current.id if current else None)


def _changed(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Bench], None]:
    return lambda bench: _publish(bench, change(_good(bench)))


def _first(column: str, value: object) -> Callable[[Bench], None]:
    return _changed(lambda rows: rows.assign(**{column: [value, *rows[column].tolist()[1:]]}))


def _late(bench: Bench) -> None:
    """An order of the moment at which is trained: it knows what came after."""
    _first("attempted_at", pd.Timestamp(bench.settings.shop_clock(HISTORY_END)))(bench)


FRAUD_INPUTS = BlockingGate(
    gate="fraud_inputs",
    task=GATE,
    stage="published",
    start=GATE,
    bad_inputs=(
        BadInput("every order twice", "no_duplicates", _changed(lambda rows: pd.concat([rows, rows]))),
        BadInput("a feature is missing", "columns_present", _changed(lambda rows: rows.drop(columns=COUNT))),
        BadInput("an audit-only column", "no_audit_columns", _changed(lambda rows: rows.assign(age_band="25-34"))),
        BadInput("hardly any orders", "row_count", _changed(lambda rows: rows.iloc[::20])),
        BadInput("an order of the future", "no_later_rows", _late),
        BadInput("a negative weight", "weights", _first("weight", -1.0)),
        BadInput(
            "hardly any frauds",
            "fraud_count",
            _changed(lambda rows: rows.assign(is_fraud=rows.index.to_numpy() % 100 == 0)),
        ),
        BadInput(
            "no fraud to judge by",
            "folds",
            _changed(lambda rows: rows.assign(is_fraud=rows["is_fraud"] & (rows["fold"] != "test"))),
        ),
        BadInput("a label of two", "label_values", _changed(lambda rows: rows.assign(is_fraud=2))),
        BadInput("a flood of labels", "label_classes", _changed(lambda rows: rows.assign(is_fraud=True))),
        BadInput(
            "half of the orders fraud",
            "label_share",
            _changed(lambda rows: rows.assign(is_fraud=rows.index.to_numpy() % 2 == 0)),
        ),
        BadInput("an infinite feature", "finite", _first(SHARE, inf)),
        BadInput("a negative count", "not_too_small", _first(COUNT, -1)),
        BadInput("a share of 200 %", "not_too_large", _first(SHARE, 2.0)),
    ),
    switched_off=lambda _bench: verdicts_pass("model_inputs"),
    verdicts="model_inputs",
    incident_kinds=("gate_failed",),
    key=WEEK,
    prepare=prepare,
)
