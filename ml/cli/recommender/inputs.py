"""What the recommender's steps share: its feed of features, its model bundles as recommenders, its configuration."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from ml.outcomes import DataFailed
from ml.recommender.baselines import SCORERS, Baseline
from ml.recommender.config import RecommenderConfig
from ml.recommender.dataset import History
from ml.recommender.features import (
    CUSTOMER_FEATURES,
    CUSTOMER_SERVICE,
    FEATURES,
    PRODUCT_FEATURES,
    PRODUCT_SERVICE,
    FeatureTables,
)
from ml.recommender.protocols import Recommender
from ml.recommender.ranker import Ranker
from ml.settings import Settings
from ml.stores.bundles import ModelBundle, load_booster
from ml.stores.features import MOMENT, PAIR_FINGERPRINT, feature_fingerprints, historical_features, pair_sql
from ml.stores.published_rows import published_store
from ml.stores.versions import VersionStore
from ml.stores.warehouse import Marts

PRODUCT = "recommender"


def configuration(settings: Settings) -> RecommenderConfig:
    return RecommenderConfig(seed=settings.seed)


def recommendations_store(settings: Settings) -> VersionStore:
    return published_store(settings)


@dataclass(frozen=True)
class FeastFeed:
    """Features as of a history's day, by Feast's point-in-time join over one version of the marts."""

    settings: Settings
    marts: Marts

    def __call__(self, history: History, pairs: pd.DataFrame) -> FeatureTables:
        return FeatureTables(
            pair_sql(),
            self._as_of(history, pairs, "customer_id", CUSTOMER_SERVICE),
            self._as_of(history, pairs, "product_id", PRODUCT_SERVICE),
        )

    def _as_of(self, history: History, pairs: pd.DataFrame, key: str, service: str) -> pd.DataFrame:
        moment = pd.Timestamp(self.settings.day_start(history.as_of_date))
        asked = pd.DataFrame({key: sorted(pairs[key].unique()), MOMENT: moment})
        return historical_features(self.settings, asked, service, self.marts).drop(columns=MOMENT)


def used_fingerprints(settings: Settings, marts: Marts) -> dict[str, str]:
    """Fingerprints of the features that the ranker uses; a mart stands for a column that has none of its own."""
    known = feature_fingerprints(settings, marts)
    columns = {"feat_customer": CUSTOMER_FEATURES, "feat_product": PRODUCT_FEATURES}
    used = [(mart, column) for mart, features in columns.items() for column in features.values()]
    fingerprints = {f"{mart}.{column}": known.get(f"{mart}.{column}", known[mart]) for mart, column in used}
    return {**fingerprints, PAIR_FINGERPRINT: known[PAIR_FINGERPRINT]}


def as_recommender(
    settings: Settings, marts: Marts, bundle: ModelBundle, observe: Callable[[pd.DataFrame], None] | None = None
) -> Recommender:
    """A model bundle as a recommender.

    Raises:
        DataFailed: The code does not know the bundle's baseline, or computes other features than it was trained on.
    """
    config = configuration(settings)
    if bundle.kind == "baseline":
        return _as_baseline(bundle, config)
    if tuple(bundle.manifest["features"]) != FEATURES:
        raise DataFailed(f"{bundle.version} was trained on other features than this code computes; retrain")
    return Ranker(load_booster(bundle), config, FeastFeed(settings, marts), observe)


def _as_baseline(bundle: ModelBundle, config: RecommenderConfig) -> Baseline:
    name = str(bundle.manifest["name"])
    if name not in SCORERS:
        raise DataFailed(f"{bundle.version}: this code has no baseline {name}; it has {', '.join(SCORERS)}")
    return Baseline(name, SCORERS[name], config.baselines)


def customer_groups(marts: Marts) -> pd.DataFrame:
    """Customer groups, for judging only; an empty frame where the shop has none."""
    from ml.fairness.audit import group_customers

    connection = marts.connect()
    demographics = connection.execute("select * from audit_demographics").df()
    if demographics.empty:
        return pd.DataFrame({"customer_id": []})
    customers = connection.execute("select customer_id from dim_customers").df()["customer_id"]
    groups = group_customers(customers, demographics)
    return groups.assign(customer_id=customers.to_numpy())[["customer_id", *groups.columns]]
