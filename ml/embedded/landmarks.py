"""How far a shop has come, asked of what is published, not of Airflow: what a restarted `up` need not do again."""

from dataclasses import dataclass
from datetime import date, timedelta

from ml.settings import Settings
from ml.stores.online_features import watermark
from ml.stores.operations import Operations, monitor_states, promotions
from ml.stores.registry import champion
from ml.stores.versions import VersionStore

PRODUCT = "recommender"


@dataclass(frozen=True)
class Landmarks:
    """
    Attributes:
        features_day: Newest shop day whose features are online; None before the first.
        published_day: Newest shop day whose recommendations are published; None before the first.
        monitored_day: Newest shop day that was monitored; None before the first.
        decided_days: Shop days on which a challenger was judged.
    """

    features_day: date | None
    has_champion: bool
    published_day: date | None
    monitored_day: date | None
    decided_days: frozenset[date]

    def has_features(self, day: date) -> bool:
        return self.features_day is not None and self.features_day >= day

    def is_done(self, day: date) -> bool:
        """Whether the whole chain of a day, or of a later one, has been through."""
        newest = (self.features_day, self.published_day, self.monitored_day)
        return all(reached is not None and reached >= day for reached in newest)


def read_landmarks(settings: Settings, operations: Operations) -> Landmarks:
    reached = watermark(settings)
    recommendations = VersionStore(settings.shop_dir / "recommendations").current()
    monitored = max((row["partition"] for row in operations.rows(monitor_states)), default=None)
    return Landmarks(
        date.fromisoformat(reached.day) if reached else None,
        champion(settings, PRODUCT) is not None,
        # A row as of the morning of D+1 is what is known at the end of shop day D.
        date.fromisoformat(recommendations.lineage["as_of_date"]) - timedelta(days=1) if recommendations else None,
        date.fromisoformat(monitored) if monitored else None,
        frozenset(date.fromisoformat(row["partition"]) for row in operations.rows(promotions, product=PRODUCT)),
    )
