"""Daily recommendations: the champion scores every customer, and the result is published as a version.

With it goes what requests are answered from: each customer's candidates with their features, and what is popular. The
online store is filled before the pointer moves.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa

from ml.cli.feature_changes import refuse_changed_features
from ml.cli.recommender.inputs import (
    PRODUCT,
    as_recommender,
    configuration,
    recommendations_store,
    used_fingerprints,
)
from ml.cli.training_sets import as_arrow, publish_over_current
from ml.recommender.config import RecommenderConfig
from ml.recommender.customer_row import ROW_LAYOUT, encode_rows
from ml.recommender.dataset import History, read_history
from ml.recommender.features import PRODUCT_FEATURES
from ml.recommender.published import catalogue, known_customers, store_products
from ml.recommender.ranker import sample_rows
from ml.settings import Settings, get_settings
from ml.stores import registry
from ml.stores.bundles import ModelBundle
from ml.stores.published_rows import (
    CATALOGUE,
    CUSTOMER_ROWS,
    KNOWN_CUSTOMERS,
    RECOMMENDATIONS,
    STORE_PRODUCTS,
    fill_online,
    make_current,
    rows_part,
)
from ml.stores.versions import Version
from ml.stores.warehouse import Marts, open_marts

SCORED_SAMPLE = "scored_sample"
_ROW_TABLE = pa.schema([("customer_id", pa.string()), ("row", pa.binary())])


@dataclass
class _Seen:
    """What is kept of the candidates while they are scored.

    Attributes:
        rows: Of each customer.
        products: Product features, of each chunk.
    """

    history: History
    config: RecommenderConfig
    samples: list[pd.DataFrame] = field(default_factory=list)
    rows: list[tuple[str, bytes]] = field(default_factory=list)
    products: list[pd.DataFrame] = field(default_factory=list)

    def keep(self, scored: pd.DataFrame) -> None:
        self.samples.append(sample_rows(scored, self.config.sampled_rows, self.config.seed))
        self.rows += encode_rows(scored, self.history.products)
        self.products.append(scored[["product_id", *PRODUCT_FEATURES]].drop_duplicates("product_id"))

    def tables(self) -> dict[str, pa.Table]:
        """The sample and the rows; none where a baseline scored no candidates."""
        if not self.samples:
            return {}
        sample = pd.concat(self.samples, ignore_index=True)
        ids, rows = zip(*sorted(self.rows), strict=True) if self.rows else ((), ())
        return {
            SCORED_SAMPLE: as_arrow(sample_rows(sample, self.config.sampled_rows, self.config.seed)),
            CUSTOMER_ROWS: pa.table([pa.array(ids, pa.string()), pa.array(rows, pa.binary())], schema=_ROW_TABLE),
        }

    def candidate_products(self) -> pd.DataFrame | None:
        return pd.concat(self.products).drop_duplicates("product_id") if self.products else None


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
    rows, tables = _recommend(settings, marts, bundle)
    version = _publish(settings, marts, bundle, tables, now)
    return {
        "partition": partition.isoformat(),
        "version": version.id,
        "as_of_date": marts.as_of_date.isoformat(),
        "model_version": bundle.version,
        "customers": int(rows["customer_id"].nunique()),
        "rows": len(rows),
        "sources": {str(name): int(count) for name, count in rows["source"].value_counts().items()},
    }


def _recommend(settings: Settings, marts: Marts, bundle: ModelBundle) -> tuple[pd.DataFrame, dict[str, pa.Table]]:
    """Recommendations, and all tables that are published."""
    config = configuration(settings)
    connection = marts.connect()
    history = read_history(connection, marts.as_of_date, config.history)
    seen = _Seen(history, config)
    recommender = as_recommender(settings, marts, bundle, seen.keep)
    customers = connection.execute("select customer_id from dim_customers order by customer_id").df()["customer_id"]
    rows = recommender.recommend(history, list(customers), marts.as_of_date, config.shown)
    rows = rows.assign(as_of_date=marts.as_of_date, model_version=bundle.version)
    categories = dict(connection.execute("select product_id, category from dim_products").fetchall())
    return rows, {
        RECOMMENDATIONS: as_arrow(rows),
        CATALOGUE: as_arrow(catalogue(history, categories, seen.candidate_products())),
        STORE_PRODUCTS: as_arrow(store_products(history)),
        KNOWN_CUSTOMERS: as_arrow(known_customers(history)),
        **seen.tables(),
    }


def _publish(
    settings: Settings, marts: Marts, bundle: ModelBundle, tables: dict[str, pa.Table], fingerprints: dict[str, str]
) -> Version:
    store = recommendations_store(settings)
    day = marts.as_of_date.isoformat()
    parts = {name: store.write_part(name, day, content) for name, content in tables.items()}
    if CUSTOMER_ROWS in parts:
        fill_online(settings, store, parts[CUSTOMER_ROWS])
    lineage = {
        "shop_id": settings.shop_id,
        "as_of_date": day,
        "model_version": bundle.version,
        "model_kind": bundle.kind,
        "model_name": bundle.manifest["name"],
        "marts_version": marts.version.id,
        "row_layout": ROW_LAYOUT,
        "fingerprints": fingerprints,
    }
    version = publish_over_current(settings, store, list(parts.values()), lineage)
    part = rows_part(version)
    if part is not None:
        make_current(settings, part)
    return version
