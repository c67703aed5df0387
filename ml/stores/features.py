"""Feature values as of a moment, by Feast's point-in-time join over published feature marts."""

import hashlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.feast_repo import FEATURE_REPO, declared_features, features_dir, open_feature_store
from ml.stores.fingerprints import normalized_sql
from ml.stores.mart_parts import WHOLE
from ml.stores.versions import Part
from ml.stores.warehouse import Marts, open_marts

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

MOMENT = "event_timestamp"
PAIR_SQL = FEATURE_REPO / "pairs" / "customer_product.sql"
PAIR_FINGERPRINT = "customer_product"


def historical_features(
    settings: Settings, entity_rows: pd.DataFrame, service: str, marts: Marts | None = None
) -> pd.DataFrame:
    """Features of entities as they stood at given moments.

    Feast joins cut by cut, against the parts that can matter for the cut: its join first multiplies every entity row
    with all rows of the entity (90,000 product rows against 47 Mondays: 4 million), and drops entity rows whose
    values are all out of date, which are put back here as missing.

    Args:
        entity_rows: `event_timestamp` (aware) and the entity's id column, each pair once. Other columns are kept.
        service: Name of a FeatureService over one entity.
        marts: Version to read; the published one when not given.

    Returns:
        The rows in their order with a column per feature: float64 for numbers and flags, object for text; missing
        when the entity has no row within the view's ttl before the moment.

    Raises:
        DataFailed: No marts are published, the service is unknown, or a part does not match its sha256.
    """
    marts = marts or open_marts(settings)
    store = open_feature_store(settings, features_dir(settings))
    types = declared_features(store, service)
    key = _join_key(store, service)
    asked = entity_rows[[key, MOMENT]].reset_index(drop=True)
    asked = asked.assign(**{MOMENT: pd.to_datetime(asked[MOMENT], utc=True)})
    if asked.duplicated().any():
        raise ValueError(f"entity_rows names {int(asked.duplicated().sum())} pairs of {key} and {MOMENT} twice")
    pieces = []
    for moment in asked[MOMENT].drop_duplicates():
        cut = asked[asked[MOMENT] == moment]
        found = _as_of(settings, marts, service, cut[[key]], moment)
        values = cut[[key]].merge(found.reindex(columns=[key, *types]), on=key, how="left", validate="one_to_one")
        pieces.append(as_declared(values, types).set_axis(cut.index))
    features = pd.concat(pieces).sort_index() if pieces else as_declared(asked.reindex(columns=list(types)), types)
    return pd.concat([entity_rows, features.set_axis(entity_rows.index)], axis=1)


def product_snapshot(settings: Settings, marts: Marts) -> pd.DataFrame:
    """Current features of every product that has any, indexed by `product_id`, to be held in memory."""
    clock = settings.day_start(marts.as_of_date)
    rows = current_rows(settings, marts, "feat_product", clock)
    entities = pd.DataFrame({"product_id": pd.unique(rows["product_id"].to_pandas()), MOMENT: clock})
    features = historical_features(settings, entities, "recommender_product", marts)
    return features.drop(columns=MOMENT).set_index("product_id").sort_index()


def pair_sql() -> str:
    """The one declared SQL of customer-product features as of `$as_of_date`, for training and scoring alike."""
    return PAIR_SQL.read_text()


def feature_fingerprints(settings: Settings, marts: Marts) -> dict[str, str]:
    """What each group of features was computed by: a change means that a model was fed something else.

    Returns:
        The fingerprints of the marts (compiled SQL and schema), of their columns ("<mart>.<column>"), and of the pair
        SQL without comments and layout.

    Raises:
        DataFailed: The marts are another shop's.
    """
    if marts.version.lineage["shop_id"] != settings.shop_id:
        raise DataFailed(f"marts {marts.version.id} belong to another shop than {settings.shop_id}")
    lineage = marts.version.lineage
    recorded: dict[str, str] = {**lineage["fingerprints"], **lineage.get("column_fingerprints", {})}
    return {**recorded, PAIR_FINGERPRINT: hashlib.sha256(normalized_sql(pair_sql()).encode()).hexdigest()}


def as_declared(values: pd.DataFrame, types: dict[str, str]) -> pd.DataFrame:
    """Feature columns in one form wherever they come from: float64 for numbers and flags, object for text."""
    columns = {}
    for name, feast_type in types.items():
        if feast_type == "String":
            columns[name] = values[name].astype(object).where(values[name].notna(), None)
        else:
            columns[name] = values[name].astype("float64")
    return pd.DataFrame(columns, index=values.index)


def current_rows(settings: Settings, marts: Marts, table: str, clock: datetime) -> pa.Table:
    """Rows of a feature mart whose time lies within a view's ttl before the clock, or wrongly after it."""
    store = open_feature_store(settings, features_dir(settings))
    parts = parts_in_reach(settings, marts, store.get_feature_view(table), clock)
    opened = [marts.store.open_part(part) for part in parts]
    if not opened:
        raise DataFailed(f"marts {marts.version.id}: {table} has no rows for {marts.as_of_date} or the week before it")
    return pa.concat_tables([pq.read_table(path) for path in opened])


def parts_in_reach(settings: Settings, marts: Marts, view: "FeatureView", moment: datetime) -> list[Part]:
    """Parts of a view's mart that can hold a value for the moment: its ttl before it, and all that must not be seen
    on the day after it, so that the join has a future to refuse.
    """
    ttl = view.ttl or timedelta(days=36500)
    first, last = moment - ttl, moment + timedelta(days=1)
    parts = [part for part in marts.version.parts_of(view.name) if part.partition != WHOLE]
    days = {part: date.fromisoformat(part.partition) for part in parts}
    return [part for part, day in sorted(days.items()) if first <= settings.day_start(day) <= last]


@contextmanager
def offline_folder(settings: Settings, marts: Marts, views: "list[FeatureView]", moment: datetime) -> Iterator[Path]:
    """A folder of links to verified parts, laid out as feature_repo/sources.py names them."""
    features_dir(settings).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=features_dir(settings), prefix=".offline-"))
    try:
        for view in views:
            (folder / view.name).mkdir()
            for part in parts_in_reach(settings, marts, view, moment):
                # Hard links: the part stays readable when its version is pruned meanwhile.
                (folder / view.name / f"{part.partition}.parquet").hardlink_to(marts.store.open_part(part))
        yield folder
    finally:
        shutil.rmtree(folder)


def _views(store: "FeatureStore", service: str) -> "list[FeatureView]":
    projections = store.get_feature_service(service).feature_view_projections
    return [store.get_feature_view(projection.name) for projection in projections]


def _join_key(store: "FeatureStore", service: str) -> str:
    keys = {column.name for view in _views(store, service) for column in view.entity_columns}
    if len(keys) != 1:
        raise DataFailed(f"feature service {service} describes {', '.join(sorted(keys))}; expected one entity")
    return str(keys.pop())


def _as_of(settings: Settings, marts: Marts, service: str, entities: pd.DataFrame, moment: datetime) -> pd.DataFrame:
    """Feast's point-in-time join for one moment; entities without a value may be left out.

    Entities without any row near the moment are not shown to Feast, which raises when it finds nothing at all.
    """
    views = _views(open_feature_store(settings, features_dir(settings)), service)
    known = [_ids(marts, parts_in_reach(settings, marts, view, moment), entities.columns[0]) for view in views]
    rows = entities[entities.iloc[:, 0].isin(set.union(*known))].assign(**{MOMENT: moment})
    if rows.empty:
        return entities
    with offline_folder(settings, marts, views, moment) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Dask's, about pandas 3
        store = open_feature_store(settings, folder)
        found: pd.DataFrame = store.get_historical_features(rows, store.get_feature_service(service)).to_df()
    return found.drop(columns=MOMENT)


def _ids(marts: Marts, parts: list[Part], key: str) -> set[str]:
    return {
        name for part in parts for name in pq.read_table(marts.store.open_part(part), columns=[key])[key].to_pylist()
    }
