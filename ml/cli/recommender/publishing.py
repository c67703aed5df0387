"""Daily recommendations: the champion scores every customer, and the result is published as a version."""

from datetime import date
from typing import Any

import pandas as pd

from ml.cli.feature_changes import refuse_changed_features
from ml.cli.recommender.inputs import (
    PRODUCT,
    as_recommender,
    configuration,
    recommendations_store,
    used_fingerprints,
)
from ml.cli.training_sets import as_arrow, publish_over_current
from ml.recommender.dataset import read_history
from ml.recommender.ranker import sample_rows
from ml.settings import Settings, get_settings
from ml.stores import registry
from ml.stores.bundles import ModelBundle
from ml.stores.versions import Version
from ml.stores.warehouse import Marts, open_marts

RECOMMENDATIONS = "recommendations"
SCORED_SAMPLE = "scored_sample"


def publish_recommendations(partition: date) -> dict[str, Any]:
    """Recommend to every customer as of the published marts. Doing it again changes nothing.

    Raises:
        DataFailed: A feature is no longer what the champion was trained on; the last version stays published.
    """
    settings = get_settings()
    bundle = registry.load_champion(settings, PRODUCT)
    if bundle is None:
        return {"partition": partition.isoformat(), "skipped": "there is no champion yet"}
    marts = open_marts(settings)
    now = used_fingerprints(settings, marts)
    refuse_changed_features(settings, bundle, now, partition, "The last published recommendations stay.")
    rows, sample = _recommend(settings, marts, bundle)
    version = _publish(settings, marts, bundle, rows, sample)
    return {
        "partition": partition.isoformat(),
        "version": version.id,
        "as_of_date": marts.as_of_date.isoformat(),
        "model_version": bundle.version,
        "customers": int(rows["customer_id"].nunique()),
        "rows": len(rows),
        "sources": {str(name): int(count) for name, count in rows["source"].value_counts().items()},
    }


def _recommend(settings: Settings, marts: Marts, bundle: ModelBundle) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Recommendations, and a sample of what was scored for them; a baseline scores no rows."""
    config = configuration(settings)
    scored: list[pd.DataFrame] = []

    def keep_sample(rows: pd.DataFrame) -> None:
        scored.append(sample_rows(rows, config.sampled_rows, config.seed))

    recommender = as_recommender(settings, marts, bundle, keep_sample)
    connection = marts.connect()
    history = read_history(connection, marts.as_of_date, config.history)
    customers = connection.execute("select customer_id from dim_customers order by customer_id").df()["customer_id"]
    rows = recommender.recommend(history, list(customers), marts.as_of_date, config.shown)
    rows = rows.assign(as_of_date=marts.as_of_date, model_version=bundle.version)
    if not scored:
        return rows, None
    return rows, sample_rows(pd.concat(scored, ignore_index=True), config.sampled_rows, config.seed)


def _publish(
    settings: Settings, marts: Marts, bundle: ModelBundle, rows: pd.DataFrame, sample: pd.DataFrame | None
) -> Version:
    store = recommendations_store(settings)
    day = marts.as_of_date.isoformat()
    tables = {RECOMMENDATIONS: rows} if sample is None else {RECOMMENDATIONS: rows, SCORED_SAMPLE: sample}
    parts = [store.write_part(name, day, as_arrow(content)) for name, content in tables.items()]
    lineage = {
        "shop_id": settings.shop_id,
        "as_of_date": day,
        "model_version": bundle.version,
        "model_kind": bundle.kind,
        "model_name": bundle.manifest["name"],
        "marts_version": marts.version.id,
    }
    return publish_over_current(settings, store, parts, lineage)
