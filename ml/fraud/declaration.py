"""The one declaration of what is counted of earlier orders, which dbt's SQL and the online state both follow.

It stands in `dbt_project/dbt_project.yml` (`vars.fraud_features`), where dbt reads it natively.

An order is one event, placed by its first attempt to pay; events are ordered by (attempted_at, order_id). A window w
at an order holds the events before it that are not older than w: [t - w, t). A window of at least
`tiled_from_seconds` begins at the start of the UTC day of t - w. A null entity counts nothing: its features are null.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from ml.settings import PROJECT_DIR

EVER = "ever"


@dataclass(frozen=True)
class Sharing:
    """How many different `of` an `entity` was seen with in a window."""

    entity: str
    of: str
    window: str

    @property
    def feature(self) -> str:
        return f"count_{self.of}s_{self.entity}_{self.window}".replace("countrys", "countries")


@dataclass(frozen=True)
class Declaration:
    """What is counted.

    Attributes:
        window_seconds: Window -> its length.
        entities: Entity -> the column of an order's first payment (or of the order) that names it.
        entity_windows: Entity -> the windows it is counted over.
        fraud_windows: Windows over which frauds are counted by the moment at which they became known, beside `ever`.
        pairs: Pairs of entities whose earlier orders are counted without end.
    """

    window_seconds: Mapping[str, int]
    tiled_from_seconds: int
    entities: Mapping[str, str]
    entity_windows: Mapping[str, tuple[str, ...]]
    fraud_windows: tuple[str, ...]
    smoothing_orders: float
    sharing: tuple[Sharing, ...]
    sharing_cap: int
    pairs: tuple[tuple[str, str], ...]

    def is_tiled(self, window: str) -> bool:
        return self.window_seconds[window] >= self.tiled_from_seconds

    def counted_features(self) -> tuple[str, ...]:
        """All features of the declaration, in the order of their columns in `feat_order_risk`."""
        names = []
        for entity, windows in self.entity_windows.items():
            for window in windows:
                names += [f"count_orders_{entity}_{window}", f"amount_cents_{entity}_{window}"]
                names += [f"count_failed_{entity}_{window}"]
            names += [f"count_orders_{entity}_{EVER}", f"seconds_since_first_{entity}", f"seconds_since_last_{entity}"]
            names += [f"mean_amount_cents_{entity}_{EVER}", f"deviation_amount_cents_{entity}_{EVER}"]
            for window in (*self.fraud_windows, EVER):
                names += [f"count_frauds_{entity}_{window}"]
            names += [f"fraud_rate_{entity}_{window}" for window in (*self._rated(entity), EVER)]
        names += [f"fraud_rate_shop_{EVER}"]
        names += [sharing.feature for sharing in self.sharing]
        names += [f"count_orders_{first}_{second}_{EVER}" for first, second in self.pairs]
        return tuple(names)

    def _rated(self, entity: str) -> list[str]:
        """A rate needs the orders of the same window beside the frauds."""
        return [window for window in self.fraud_windows if window in self.entity_windows[entity]]


@lru_cache(maxsize=1)
def declaration() -> Declaration:
    """The declaration of this project."""
    text = (PROJECT_DIR / "dbt_project" / "dbt_project.yml").read_text()
    return parse(yaml.safe_load(text)["vars"]["fraud_features"])


def parse(raw: Mapping[str, Any]) -> Declaration:
    """A declaration from its YAML."""
    return Declaration(
        window_seconds=dict(raw["window_seconds"]),
        tiled_from_seconds=int(raw["tiled_from_seconds"]),
        entities={name: entity["column"] for name, entity in raw["entities"].items()},
        entity_windows={name: tuple(entity["windows"]) for name, entity in raw["entities"].items()},
        fraud_windows=tuple(raw["fraud_windows"]),
        smoothing_orders=float(raw["smoothing_orders"]),
        sharing=tuple(Sharing(**one) for one in raw["sharing"]),
        sharing_cap=int(raw["sharing_cap"]),
        pairs=tuple((first, second) for first, second in raw["pairs"]),
    )
