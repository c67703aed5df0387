"""How far a shop has come, asked of what is published, not of Airflow: what a restarted `up` need not do again."""

from dataclasses import dataclass
from datetime import date, timedelta

from ml.settings import Settings
from ml.stores.online_features import watermark
from ml.stores.operations import Operations, monitor_states, promotions
from ml.stores.registry import champion
from ml.stores.versions import VersionStore

PRODUCT, FRAUD = "recommender", "fraud"


@dataclass(frozen=True)
class Landmarks:
    """
    Attributes:
        features_day: Newest shop day whose features are online; None before the first.
        published_day: Newest shop day whose recommendations are published; None before the first.
        monitored_day: Newest shop day that was monitored; None before the first.
        decided_days: Shop days on which a challenger was judged.
        has_payments: Whether the shop knows of payments, so that there is fraud to look for.
        fraud_day: Newest shop day whose orders were decided and checked and whose labels were settled.
        fraud_decided_days: Shop days on which a challenger of fraud was judged.
    """

    features_day: date | None
    has_champion: bool
    published_day: date | None
    monitored_day: date | None
    decided_days: frozenset[date]
    has_payments: bool = False
    has_fraud_champion: bool = False
    fraud_day: date | None = None
    fraud_decided_days: frozenset[date] = frozenset()

    def has_features(self, day: date) -> bool:
        return self.features_day is not None and self.features_day >= day

    def is_done(self, day: date) -> bool:
        """Whether the whole chain of a day, or of a later one, has been through."""
        newest = (self.features_day, self.published_day, self.monitored_day)
        return all(reached is not None and reached >= day for reached in newest)

    def is_fraud_done(self, day: date) -> bool:
        """Whether a day's orders are decided; a shop without payments has none to decide."""
        return not self.has_payments or (self.fraud_day is not None and self.fraud_day >= day)


def read_landmarks(settings: Settings, operations: Operations) -> Landmarks:
    reached = watermark(settings)
    recommendations = VersionStore(settings.shop_dir / "recommendations").current()
    monitored = _newest(operations, "performance", PRODUCT)
    fraud_days = [_newest(operations, monitor, FRAUD) for monitor in ("data_drift", "performance", "label_delay")]
    known = [day for day in fraud_days if day is not None]
    return Landmarks(
        date.fromisoformat(reached.day) if reached else None,
        champion(settings, PRODUCT) is not None,
        # A row as of the morning of D+1 is what is known at the end of shop day D.
        date.fromisoformat(recommendations.lineage["as_of_date"]) - timedelta(days=1) if recommendations else None,
        monitored,
        _decided(operations, PRODUCT),
        _has_payments(settings),
        champion(settings, FRAUD) is not None,
        min(known) if len(known) == len(fraud_days) else None,
        _decided(operations, FRAUD),
    )


def _newest(operations: Operations, monitor: str, judged: str) -> date | None:
    newest = max(
        (row["partition"] for row in operations.rows(monitor_states, monitor=monitor, object=judged)), default=None
    )
    return date.fromisoformat(newest) if newest else None


def _decided(operations: Operations, product: str) -> frozenset[date]:
    return frozenset(date.fromisoformat(row["partition"]) for row in operations.rows(promotions, product=product))


def _has_payments(settings: Settings) -> bool:
    marts = VersionStore(settings.shop_dir / "warehouse" / "marts").current()
    return marts is not None and any(part.rows for part in marts.parts_of("fct_order_payments"))
