"""What a product gave on past days, and a sample of what was scored for it, for as long as it is watched.

Published versions are pruned after a few; a day of recommendations can only be judged a week later. The rows hold
pseudonymous customer ids and stay inside the state folder.
"""

from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd
import pyarrow as pa

from ml.settings import Settings
from ml.stores.versions import StaleWriter, Version, VersionStore

SHOWN = "recommendations"
SCORED = "scored_sample"
PUBLISHED = {"recommender": "recommendations", "fraud": "fraud_scores"}
"""Product -> folder under the shop's state folder of what it publishes day by day."""
_DAYS = "days"
_KEPT = {SHOWN: ["customer_id", "rank", "product_id"], SCORED: None}
_KEEP_DAYS = 35
_KEEP_VERSIONS = 2
_WRITE_ATTEMPTS = 5


@dataclass(frozen=True)
class ShownDay:
    """What was published for one day.

    Attributes:
        as_of_date: Start of the day that it was made for.
        version: Version of what was published.
        model_version: Version of the model that made it.
    """

    as_of_date: date
    version: str
    model_version: str


class ShownStore:
    """A window of days of what one product published."""

    def __init__(self, settings: Settings, product: str) -> None:
        self._published = VersionStore(settings.shop_dir / PUBLISHED[product])
        self._kept = VersionStore(settings.shop_dir / "shown" / product)

    def keep(self, as_of_date: date) -> ShownDay | None:
        """Keep what was published for a day. Keeping it twice changes nothing.

        Returns:
            The day, also if it was kept before and is no longer published; None when nothing is known of it.
        """
        published = self._find(as_of_date)
        if published is None:
            return self.day(as_of_date)
        day = ShownDay(as_of_date, published.id, str(published.lineage["model_version"]))
        if self.day(as_of_date) != day:
            self._store(day, published)
        return day

    def _find(self, as_of_date: date) -> Version | None:
        """The newest published version for a day."""
        found = [v for v in self._published.versions() if v.lineage.get("as_of_date") == as_of_date.isoformat()]
        return found[-1] if found else None

    def newest_published(self) -> date | None:
        """The newest day that something is published for."""
        days = [v.lineage["as_of_date"] for v in self._published.versions() if "as_of_date" in v.lineage]
        return date.fromisoformat(max(days)) if days else None

    def _store(self, day: ShownDay, published: Version) -> None:
        name = day.as_of_date.isoformat()
        rows = {
            table: self._published.read(published, table, columns)
            for table, columns in _KEPT.items()
            if table in published.tables()
        }
        rows[_DAYS] = pa.Table.from_pylist(
            [{"as_of_date": name, "version": day.version, "model_version": day.model_version}]
        )
        parts = [self._kept.write_part(table, name, content) for table, content in rows.items()]
        for _attempt in range(_WRITE_ATTEMPTS):
            current = self._kept.current()
            others = [part for part in (current.parts if current else ()) if part.partition != name]
            newest = max([date.fromisoformat(part.partition) for part in others] + [day.as_of_date])
            oldest = (newest - timedelta(days=_KEEP_DAYS)).isoformat()
            kept = [part for part in [*others, *parts] if part.partition >= oldest]
            try:
                self._kept.publish(kept, {}, current.id if current else None)
            except StaleWriter:
                continue
            self._kept.prune(_KEEP_VERSIONS)
            return
        raise StaleWriter(f"shown: {_WRITE_ATTEMPTS} attempts to keep {name} met another writer")

    def day(self, as_of_date: date) -> ShownDay | None:
        """What is kept of a day."""
        return next((day for day in self.days() if day.as_of_date == as_of_date), None)

    def days(self) -> list[ShownDay]:
        """The kept days, oldest first."""
        current = self._kept.current()
        if current is None:
            return []
        rows = self._kept.read(current, _DAYS).to_pylist()
        days = [ShownDay(date.fromisoformat(row["as_of_date"]), row["version"], row["model_version"]) for row in rows]
        return sorted(days, key=lambda day: day.as_of_date)

    def count(self, day: ShownDay, table: str) -> int:
        """Rows of a kept table of a day."""
        current, name = self._kept.current(), day.as_of_date.isoformat()
        return sum(part.rows for part in (current.parts_of(table) if current else ()) if part.partition == name)

    def read(self, day: ShownDay, table: str) -> pd.DataFrame | None:
        """A kept table of a day; None when the day was published without it."""
        current = self._kept.current()
        name = day.as_of_date.isoformat()
        parts = [part for part in (current.parts_of(table) if current else ()) if part.partition == name]
        if not parts:
            return None
        return pd.concat([pd.read_parquet(self._kept.open_part(part)) for part in parts], ignore_index=True)
