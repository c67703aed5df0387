"""What the fraud product's steps share: its configuration, its model bundles as scorers, its orders from the marts."""

from collections.abc import Collection
from datetime import date, datetime
from typing import Any

import duckdb
import pandas as pd

from ml.fraud.config import FraudConfig
from ml.fraud.declaration import declaration
from ml.fraud.derived import derived_from
from ml.fraud.events import TEXT_COLUMNS
from ml.settings import Settings
from ml.stores.operations import Operations, incidents
from ml.stores.shown import PUBLISHED
from ml.stores.versions import VersionStore
from ml.stores.warehouse import Marts

PRODUCT = "fraud"
FEATURE_MART, PAYMENTS_MART = "feat_order_risk", "fct_order_payments"
LABELS_MART, DECISIONS_MART = "fct_fraud_labels", "fct_fraud_decisions"
NO_PAYMENTS = "the shop has no payments"

# The features have the channel already.
_ENTITY_COLUMNS = (
    *(column for column in TEXT_COLUMNS if column != "channel"),
    "account_created_at",
    "currency",
    "is_approved",
    "first_outcome",
)


def configuration(settings: Settings) -> FraudConfig:
    return FraudConfig(seed=settings.seed)


def scores_store(settings: Settings) -> VersionStore:
    return VersionStore(settings.shop_dir / PUBLISHED[PRODUCT])


def has_payments(marts: Marts) -> bool:
    """Whether any order of the marts was paid for, as far as they know."""
    return sum(part.rows for part in marts.version.parts_of(PAYMENTS_MART)) > 0


def origin(settings: Settings) -> dict[str, Any]:
    """Where payments come from, for manifests and lineage: made-up ones are named so wherever they show."""
    return {"payments": "simulated" if settings.simulates_payments else "the shop's own"}


def read_features(
    connection: duckdb.DuckDBPyConnection,
    *,
    first_day: date | None = None,
    before: datetime | None = None,
    last_day: date | None = None,
) -> pd.DataFrame:
    """Rows of `feat_order_risk`, counted features as float32: what the model is fed, in half of the memory."""
    counted = ", ".join(f'"{name}"::float as "{name}"' for name in declaration().counted_features())
    query = f"""
        select * replace ({counted}) from {FEATURE_MART}
        where
            ($first_day is null or attempt_date >= $first_day)
            and ($last_day is null or attempt_date <= $last_day)
            and ($before is null or attempted_at < $before)
        order by attempted_at, order_id
    """  # noqa: S608 - names of our own columns
    found: pd.DataFrame = connection.execute(
        query, {"first_day": first_day, "last_day": last_day, "before": before}
    ).df()
    return found


def read_orders(connection: duckdb.DuckDBPyConnection, first_day: date, last_day: date) -> pd.DataFrame:
    """Orders of some shop days with their features and with whom and what they are about."""
    features = read_features(connection, first_day=first_day, last_day=last_day)
    columns = ", ".join(_ENTITY_COLUMNS)
    payments = connection.execute(
        f"select order_id, {columns} from {PAYMENTS_MART} "  # noqa: S608 - names of our own columns
        "where attempt_date between $first and $last",
        {"first": first_day, "last": last_day},
    ).df()
    return features.merge(payments, on="order_id", how="left", validate="one_to_one")


def used_columns(features: Collection[str]) -> list[str]:
    """ "<mart>.<column>" of each column that a model's inputs are computed from."""
    derived = {one.name: one.inputs for one in derived_from(declaration())}
    columns = {column for name in features for column in derived.get(name, (name,))}
    return sorted(f"{FEATURE_MART}.{column}" for column in columns)


def used_fingerprints(marts: Marts, features: Collection[str]) -> dict[str, str]:
    """Fingerprints of the columns that a model's inputs come from; the mart stands for one that has none of its own."""
    lineage = marts.version.lineage
    known: dict[str, str] = {**lineage["fingerprints"], **lineage.get("column_fingerprints", {})}
    return {name: known.get(name, known[FEATURE_MART]) for name in used_columns(features)}


def labels_are_suspect(operations: Operations) -> bool:
    """Whether the newest labels look wrong and nobody has settled it."""
    return bool(operations.rows(incidents, kind="labels_suspect", object=PRODUCT, state="open"))
