"""Daily recommendations: the champion scores every customer, and the result is published as a version."""

from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa

from ml.alerts.incidents import close_incident, open_incident
from ml.cli.recommender.inputs import (
    PRODUCT,
    as_recommender,
    changed_features,
    configuration,
    publish_over_current,
    recommendations_store,
)
from ml.outcomes import DataFailed
from ml.recommender.dataset import read_history
from ml.recommender.ranker import sample_rows
from ml.settings import Settings, get_settings
from ml.stores import registry
from ml.stores.bundles import ModelBundle
from ml.stores.operations import Operations
from ml.stores.versions import Version
from ml.stores.warehouse import Marts, open_marts

RECOMMENDATIONS = "recommendations"
SCORED_SAMPLE = "scored_sample"

_NAMED_AT_MOST = 5
_INCIDENT: dict[str, Any] = {"kind": "feature_changed", "object": PRODUCT, "rule": "feature_fingerprints"}


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
    _check_fingerprints(settings, marts, bundle, partition)
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


def _check_fingerprints(settings: Settings, marts: Marts, bundle: ModelBundle, partition: date) -> None:
    operations = Operations.from_settings(settings)
    changed = changed_features(settings, marts, bundle)
    if not changed:
        close_incident(operations, **_INCIDENT, partition=partition)
        return
    more = f" and {len(changed) - _NAMED_AT_MOST} more" if len(changed) > _NAMED_AT_MOST else ""
    names = ", ".join(changed[:_NAMED_AT_MOST]) + more
    open_incident(
        operations,
        **_INCIDENT,
        partition=partition,
        severity="alert",
        title=f"{PRODUCT}: {names} changed under the champion",
        body=f"{bundle.version} was trained on another definition of {names}, so it does not score. The last published "
        "recommendations stay. Train on the new definition, or revert it.",
    )
    raise DataFailed(f"{names} changed since {bundle.version} was trained; train again or revert the change")


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
    parts = [
        store.write_part(name, day, pa.Table.from_pandas(content, preserve_index=False).replace_schema_metadata(None))
        for name, content in tables.items()
    ]
    lineage = {
        "shop_id": settings.shop_id,
        "as_of_date": day,
        "model_version": bundle.version,
        "model_kind": bundle.kind,
        "model_name": bundle.manifest["name"],
        "marts_version": marts.version.id,
    }
    return publish_over_current(settings, store, parts, lineage)
