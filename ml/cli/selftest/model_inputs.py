"""The gate before a model: a training set from which nothing may be learnt."""

from collections.abc import Callable
from math import inf

import pandas as pd
import pyarrow as pa

from ml.cli.recommender.inputs import PRODUCT
from ml.cli.recommender.training import TRAINING_ROWS
from ml.cli.selftest.bench import HISTORY_END, Bench
from ml.cli.selftest.judging import BlockingGate
from ml.cli.selftest.proofs import BadInput, Walk
from ml.cli.selftest.stages import must_pass
from ml.cli.selftest.switches import verdicts_pass
from ml.cli.training_sets import find_training_set, training_store
from ml.recommender.features import FEATURES
from ml.shop.partition_keys import newest_full_week

BUILD, GATE = "recommender_train.build_training_set", "recommender_train.gate_training_set"
WEEK = newest_full_week(HISTORY_END)


def prepare(_bench: Bench, walk: Walk) -> None:
    must_pass(walk, BUILD, BUILD, WEEK)


def changed_rows(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Bench], None]:
    """Change the rows of the training set that waits to be judged."""

    def plant(bench: Bench) -> None:
        store = training_store(bench.settings, PRODUCT)
        version = find_training_set(bench.settings, PRODUCT, HISTORY_END)
        rows = change(store.read(version, TRAINING_ROWS).to_pandas())
        others = [part for part in version.parts if part.table != TRAINING_ROWS]
        table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
        part = store.write_part(TRAINING_ROWS, "spoiled", table)
        store.publish([*others, part], version.lineage, version.id)

    return plant


def _first(column: str, value: object) -> Callable[[Bench], None]:
    return changed_rows(lambda rows: rows.assign(**{column: [value, *rows[column].tolist()[1:]]}))


def _all(**values: str | int | None) -> Callable[[Bench], None]:
    return changed_rows(lambda rows: rows.assign(**values))


def _feature(word: str) -> str:
    """A feature whose name has a word; names say what values may be."""
    return next(name for name in FEATURES if word in name.split("_"))


COUNT, SHARE = _feature("count"), _feature("share")

MODEL_INPUTS = BlockingGate(
    gate="model_inputs",
    task=GATE,
    stage="published",
    start=GATE,
    bad_inputs=(
        BadInput("every row twice", "no_duplicates", changed_rows(lambda rows: pd.concat([rows, rows]))),
        BadInput("a feature is missing", "columns_present", changed_rows(lambda rows: rows.drop(columns=COUNT))),
        BadInput("an audit-only column", "no_audit_columns", _all(age_band="25-34")),
        BadInput("hardly any rows", "row_count", changed_rows(lambda rows: rows.head(20))),
        BadInput("one customer", "customer_count", _all(customer_id="c0001")),
        BadInput("no label week", "label_weeks", _all(cut=None)),
        BadInput("a label of two", "label_values", _first("label", 2)),
        BadInput("nobody who did not buy", "label_classes", _all(label=1)),
        BadInput(
            "nearly everything was bought",
            "label_share",
            changed_rows(lambda rows: rows.assign(label=[0, *[1] * (len(rows) - 1)])),
        ),
        BadInput("an empty feature", "feature_null_share", _all(**{COUNT: None})),
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
