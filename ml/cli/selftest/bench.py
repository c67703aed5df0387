"""The isolated shop of a self-test: a state folder of its own, put back to where it was before each proof."""

import json
import shutil
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from ml.settings import PREFIX, Settings
from ml.shop.breakages import rewrite, with_column
from ml.shop.generated import small_shop
from ml.stores import registry
from ml.stores.online_features import watermark
from ml.stores.operations import Operations
from ml.stores.versions import VersionStore

SHOP_ID = "selftest"
FIRST_DAY = date(2024, 1, 1)
"""A Monday, so that the shop's weeks are whole."""
HISTORY_DAYS = 42
HISTORY_END = FIRST_DAY + timedelta(days=HISTORY_DAYS - 1)
DAY = HISTORY_END + timedelta(days=1)
"""The day whose files are spoiled; the shop's history ends with the day before."""
CUSTOMERS = 200
"""Enough that a day's batch has room for one bad row of each kind within its quarantine budget."""
PRODUCTS = 60

_STATE, _FILES = "var", "shop"


def make_shop(folder: Path, seed: int) -> None:
    """Write the files of the small shop into a bench's folder, without promotions, which no proof needs.

    Most customers have no e-mail address: of a column that few rows fill, no share of nulls tells that it was renamed.
    """
    files = small_shop(folder / _FILES, FIRST_DAY, HISTORY_DAYS + 1, customers=CUSTOMERS, products=PRODUCTS, seed=seed)
    shutil.rmtree(files / "promotions")
    rewrite(files / "customers.parquet", lambda rows: with_column(rows, "email", _mostly_null(rows.column("email"))))


def _mostly_null(values: pa.ChunkedArray) -> list[object]:
    return [value if at % 3 == 0 else None for at, value in enumerate(values.to_pylist())]


def environment(folder: Path) -> dict[str, str]:
    """Every setting as an environment variable: nothing of the real shop's settings reaches a bench.

    Naming them all also keeps out a `.env` file, which holds the real shop's addresses and passwords.
    """
    own: dict[str, object] = {
        "shop_id": SHOP_ID,
        "state_dir": folder / _STATE,
        "source": "files",
        "files_dir": folder / _FILES,
        "first_day": FIRST_DAY,
        "bootstrap_day": HISTORY_END,
        "last_day": DAY,
    }
    fields = Settings.model_fields
    values = {name: own.get(name, field.get_default(call_default_factory=True)) for name, field in fields.items()}
    return {f"{PREFIX}{name.upper()}": _as_text(value) for name, value in values.items()}


def _as_text(value: object) -> str:
    if value is None:
        return "none"
    return json.dumps(value) if isinstance(value, tuple | list | dict) else str(value)


@dataclass(frozen=True)
class Bench:
    """
    Args:
        folder: Holds the shop's files and its state.
        kept: Where the state that proofs begin with is kept.
    """

    settings: Settings
    folder: Path
    kept: Path

    @property
    def files(self) -> Path:
        return self.folder / _FILES

    @property
    def operations(self) -> Operations:
        return Operations.from_settings(self.settings)

    def keep(self) -> None:
        """Make what is there now the state that proofs begin with."""
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.folder, self.kept)

    def reset(self) -> None:
        """Put the state back that proofs begin with, at the same paths: a feature registry holds absolute ones."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)

    def forget_state(self) -> None:
        """Begin anew: the shop's files, and nothing loaded."""
        shutil.rmtree(self.folder / _STATE)

    def published(self) -> dict[str, str | None]:
        """What readers see: each pointer."""
        held = watermark(self.settings)
        champion = registry.champion(self.settings, "recommender")
        stores = {"raw": "raw", "marts": "warehouse/marts", "recommendations": "recommendations"}
        versions = {name: VersionStore(self.settings.shop_dir / path).current() for name, path in stores.items()}
        return {
            **{name: version.id if version else None for name, version in versions.items()},
            "features": f"{held.day} of {held.marts_version}" if held else None,
            "champion": champion.version if champion else None,
        }
