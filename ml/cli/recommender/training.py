"""The training set: features and labels of past weeks by point-in-time join, as a version."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import duckdb

from ml.cli.recommender.inputs import PRODUCT, FeastFeed, configuration, used_fingerprints
from ml.cli.training_sets import as_arrow, find_training_set, marts_up_to, publish_over_current, training_store
from ml.evaluation.time_splits import Split, monday_cuts, split_cuts
from ml.outcomes import DataFailed
from ml.recommender.config import RecommenderConfig
from ml.recommender.evaluate import open_cut
from ml.recommender.features import ATTRIBUTE_OF, FEATURES
from ml.recommender.train import rows_of_cut, sample_negatives
from ml.settings import Settings, get_settings
from ml.stores.versions import Part, Version
from ml.stores.warehouse import Marts, open_marts

TRAINING_ROWS = "training_rows"
PROMOTION_ROWS = "promotion_rows"
REFERENCE_ROWS = "reference_rows"


def build_training_set(partition: date) -> dict[str, Any]:
    """Join features and labels of every label week up to a shop day, and publish them as a version.

    Raises:
        DataFailed: The marts do not reach the day, or there are too few label weeks.
    """
    settings = get_settings()
    marts = marts_up_to(settings, partition)
    config = configuration(settings)
    connection = marts.connect()
    split = _split(connection, partition, config)
    feed = FeastFeed(settings, marts)
    store = training_store(settings, PRODUCT)
    parts: list[Part] = []
    counts = {TRAINING_ROWS: 0, PROMOTION_ROWS: 0, REFERENCE_ROWS: 0}
    for cut_date in (*split.training, *split.promotion):
        cut = open_cut(connection, cut_date, config)
        rows, reference = rows_of_cut(cut, feed, config)
        tables = {PROMOTION_ROWS: rows}
        if cut_date in split.training:
            sampled = sample_negatives(rows, config.ranker.negatives_per_customer, config.seed)
            tables = {TRAINING_ROWS: sampled, REFERENCE_ROWS: reference}
        for table, content in tables.items():
            if content.empty:
                continue  # a cut so early that nobody has shopped often enough yet
            parts.append(store.write_part(table, cut_date.isoformat(), as_arrow(content)))
            counts[table] += len(content)
    if not counts[TRAINING_ROWS] or not counts[PROMOTION_ROWS]:
        raise DataFailed(
            f"training set: {counts[TRAINING_ROWS]} rows to learn from and {counts[PROMOTION_ROWS]} to decide by; "
            f"expected customers with {config.split.min_trips} shopping days before a label week"
        )
    version = publish_over_current(settings, store, parts, _lineage(settings, marts, split, partition, config))
    return {
        "partition": partition.isoformat(),
        "version": version.id,
        "cuts": {"training": _texts(split.training), "promotion": _texts(split.promotion)},
        "rows": counts,
    }


def _split(connection: duckdb.DuckDBPyConnection, partition: date, config: RecommenderConfig) -> Split:
    first_day = connection.execute("select min(order_date) from fct_order_lines where is_merchandise").fetchall()[0][0]
    if first_day is None:
        raise DataFailed("fct_order_lines: no purchase of merchandise to learn from")
    cuts = monday_cuts(first_day, partition, config.split.min_history_days)
    return split_cuts(cuts, config.split.training_cuts, config.split.promotion_cuts)


def _lineage(
    settings: Settings, marts: Marts, split: Split, partition: date, config: RecommenderConfig
) -> dict[str, Any]:
    return {
        "shop_id": settings.shop_id,
        "partition": partition.isoformat(),
        "marts_version": marts.version.id,
        "fingerprints": used_fingerprints(settings, marts),
        "training_cuts": _texts(split.training),
        "promotion_cuts": _texts(split.promotion),
        "config": config.as_dict(),
    }


def _texts(days: Iterable[date]) -> list[str]:
    return [day.isoformat() for day in days]


def gate_training_set(partition: date) -> dict[str, Any]:
    """Judge the rows that are learnt from.

    Raises:
        DataFailed: They broke a rule; nothing is trained on them.
        ToolFailed: A rule could not be judged, or there is no training set of this day.
    """
    from expectations import gates  # Great Expectations takes seconds to import
    from expectations.suites.model_inputs.recommender import ModelInputConfig

    settings = get_settings()
    version = find_training_set(settings, PRODUCT, partition)
    rows = training_store(settings, PRODUCT).read(version, TRAINING_ROWS).to_pandas()
    config = ModelInputConfig(FEATURES, cut="cut", not_supplied=_not_supplied(settings, version))
    return gates.judge_model_inputs(settings, rows, config, partition=partition, version=version.id)


def _not_supplied(settings: Settings, version: Version) -> frozenset[str]:
    """Features of product attributes that no product of the shop has."""
    attributes = sorted(set(ATTRIBUTE_OF.values()))
    counts = ", ".join(f"count({attribute})" for attribute in attributes)
    connection = open_marts(settings, version.lineage["marts_version"]).connect()
    [row] = connection.execute(f"select {counts} from dim_products").fetchall()  # noqa: S608 - our own names
    absent = {attribute for attribute, count in zip(attributes, row, strict=True) if not count}
    return frozenset(feature for feature, attribute in ATTRIBUTE_OF.items() if attribute in absent)
