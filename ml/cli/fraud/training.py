"""The training set of fraud: orders with their features and what was known of them in time, as a version."""

from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pandas as pd

from ml.cli.fraud.inputs import (
    DECISIONS_MART,
    LABELS_MART,
    NO_PAYMENTS,
    PAYMENTS_MART,
    PRODUCT,
    configuration,
    has_payments,
    origin,
    read_features,
    used_fingerprints,
)
from ml.cli.training_sets import as_arrow, find_training_set, marts_up_to, publish_over_current, training_store
from ml.fraud.config import FraudConfig
from ml.fraud.dataset import CALIBRATION, TEST, TRAIN, training_rows
from ml.fraud.features import model_features, with_derived
from ml.fraud.labels import DelayCurve, estimate_delay
from ml.fraud.splits import FraudSplit, split_days
from ml.outcomes import DataFailed
from ml.settings import Settings, get_settings
from ml.stores.warehouse import Marts

TRAINING_ROWS = "training_rows"
REFERENCE_ROWS = "reference_rows"
REFERENCE_DAYS = 28
FEWEST_FRAUDS = 20
"""Known frauds before anything is learnt; until then lists, rules and the stand-in decide."""


def build_training_set(partition: date) -> dict[str, Any]:
    """Join features with the labels that were known in time, up to the end of a shop day, and publish them.

    Returns:
        With `skipped` where there is nothing to learn yet: no payments, too short a history, too few known frauds.

    Raises:
        DataFailed: The marts do not reach the day, or a column is missing.
    """
    settings = get_settings()
    marts = marts_up_to(settings, partition)
    if not has_payments(marts):
        return _skipped(partition, NO_PAYMENTS)
    config, moment = configuration(settings), settings.shop_clock(partition)
    connection = marts.connect()
    payments = _before(connection, PAYMENTS_MART, "attempted_at", moment)
    labels = _before(connection, LABELS_MART, "known_at", moment)
    delay = estimate_delay(payments, labels, moment, config.labels)
    try:
        split = split_days(_first_day(payments), moment, delay, config.split)
    except DataFailed as error:
        return _skipped(partition, str(error))
    features = read_features(connection, before=moment)
    decisions = _before(connection, DECISIONS_MART, "decided_at", moment)
    rows = training_rows(features, payments, labels, decisions, split, moment, config)
    frauds = int(rows["is_fraud"].sum())
    if frauds < FEWEST_FRAUDS:
        return _skipped(partition, f"{frauds} frauds are known of mature orders, {FEWEST_FRAUDS} are needed to learn")
    reference = _reference(features, partition, config)
    store = training_store(settings, PRODUCT)
    tables = {TRAINING_ROWS: rows, REFERENCE_ROWS: reference}
    parts = [store.write_part(name, partition.isoformat(), as_arrow(table)) for name, table in tables.items()]
    lineage = _lineage(settings, marts, partition, split, delay, model_features(features.columns), config)
    version = publish_over_current(settings, store, parts, lineage)
    return {
        "partition": partition.isoformat(),
        "version": version.id,
        "payments": origin(settings)["payments"],
        "rows": {name: int((rows["fold"] == name).sum()) for name in (TRAIN, CALIBRATION, TEST)},
        "frauds": {name: int(rows.loc[rows["fold"] == name, "is_fraud"].sum()) for name in (TRAIN, CALIBRATION, TEST)},
        "split": split.as_dict(),
        "maturity_days": delay.maturity_days,
    }


def _skipped(partition: date, why: str) -> dict[str, Any]:
    return {"partition": partition.isoformat(), "skipped": why}


def _before(connection: duckdb.DuckDBPyConnection, mart: str, column: str, moment: datetime) -> pd.DataFrame:
    query = f"select * from {mart} where {column} < $moment"  # noqa: S608 - our own names
    found: pd.DataFrame = connection.execute(query, {"moment": moment}).df()
    return found


def _first_day(payments: pd.DataFrame) -> date:
    first: date = pd.Timestamp(payments["attempt_date"].min()).date()
    return first


def _reference(features: pd.DataFrame, partition: date, config: FraudConfig) -> pd.DataFrame:
    """The newest orders as scoring would see them, whatever became known of them: what drift is judged by."""
    first = pd.Timestamp(partition - timedelta(days=REFERENCE_DAYS - 1))
    newest = features[pd.to_datetime(features["attempt_date"]) >= first]
    if len(newest) > config.sampled_rows:
        newest = newest.sample(config.sampled_rows, random_state=config.seed).sort_index()
    rows = with_derived(newest.reset_index(drop=True))
    return rows[["order_id", "attempted_at", *model_features(features.columns)]]


def _lineage(
    settings: Settings,
    marts: Marts,
    partition: date,
    split: FraudSplit,
    delay: DelayCurve,
    features: tuple[str, ...],
    config: FraudConfig,
) -> dict[str, Any]:
    return {
        "shop_id": settings.shop_id,
        "partition": partition.isoformat(),
        "marts_version": marts.version.id,
        "fingerprints": used_fingerprints(marts, features),
        "features": list(features),
        "split": split.as_dict(),
        "label_delay": {name: value for name, value in delay.as_dict().items() if name != "share"},
        "config": config.as_dict(),
        **origin(settings),
    }


def gate_training_set(partition: date) -> dict[str, Any]:
    """Judge the rows that are learnt from and judged by.

    Raises:
        DataFailed: They broke a rule; nothing is trained on them.
        ToolFailed: A rule could not be judged, or there is no training set of this day.
    """
    from expectations import gates  # Great Expectations takes seconds to import
    from expectations.suites.model_inputs.fraud import FraudInputConfig

    settings = get_settings()
    version = find_training_set(settings, PRODUCT, partition)
    rows = training_store(settings, PRODUCT).read(version, TRAINING_ROWS).to_pandas()
    config = FraudInputConfig(
        tuple(version.lineage["features"]),
        end=settings.shop_clock(partition).isoformat(),
        fewest_frauds=FEWEST_FRAUDS,
    )
    return gates.judge_model_inputs(settings, rows, config, partition=partition, version=version.id)
