"""The champion pointer: what readers follow, with no server behind it.

The one file that moves is `models/<product>/champion.json`; it is durable before MLflow's alias is moved, and the
alias decides nothing.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores import mlflow_tracking
from ml.stores.bundles import MANIFEST, ModelBundle, load_bundle, product_dir
from ml.stores.durable import exclusive_lock, write_durably


@dataclass(frozen=True)
class Champion:
    """What `champion.json` says.

    Attributes:
        since_partition: Shop day of the promotion, YYYY-MM-DD.
        previous: The champion before this one, with its own `previous`: where a rollback goes.
        withdrawn: Versions that an operator rolled back from; they are not promoted again.
    """

    version: str
    manifest_sha256: str
    since_partition: str
    previous: "Champion | None" = None
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChampionChange:
    """A move of the pointer.

    Attributes:
        before: Version that was champion, None for the first.
        alias_problem: Why MLflow's alias does not show the move; None when it does.
    """

    champion: Champion
    before: str | None
    alias_problem: str | None


def products(settings: Settings) -> list[str]:
    """Products that have a champion."""
    return sorted(path.parent.name for path in settings.shop_dir.glob("models/*/champion.json"))


def load_champion(settings: Settings, product: str) -> ModelBundle | None:
    """The champion's bundle, held against the sha256 in the pointer; None before the first promotion."""
    current = champion(settings, product)
    if current is None:
        return None
    bundle = load_bundle(settings, product, current.version)
    _hold_against(bundle, current)
    return bundle


def champion(settings: Settings, product: str) -> Champion | None:
    """What readers follow, or None before the first promotion."""
    path = _champion_path(settings, product)
    if not path.exists():
        return None
    try:
        return _champion_from(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError):
        raise DataFailed(f"{path}: the champion pointer cannot be read; restore it or promote again") from None


def promote(settings: Settings, product: str, version: str, partition: date) -> ChampionChange:
    """Make a version the champion. Promoting the champion again changes nothing.

    The pointer is durable before MLflow hears of it; that MLflow is down is reported, not raised.

    Raises:
        DataFailed: The bundle is missing or damaged, or an operator rolled back from this version.
    """
    with exclusive_lock(product_dir(settings, product) / ".lock"):
        bundle = load_bundle(settings, product, version)
        current = champion(settings, product)
        before = current.version if current else None
        if current is None or current.version != version:
            withdrawn = current.withdrawn if current else ()
            if version in withdrawn:
                raise DataFailed(f"{version} was rolled back; it is not promoted again, train a new one")
            previous = _shorten(current, settings.keep_versions)
            current = Champion(version, bundle.manifest_sha256, partition.isoformat(), previous, withdrawn)
            _point_at(settings, product, current)
    return ChampionChange(current, before, mlflow_tracking.move_alias(settings, product, version))


def rollback(settings: Settings, product: str) -> ChampionChange:
    """Go back to the champion before this one; a second call goes back one more.

    Raises:
        DataFailed: There is no earlier champion, or its bundle is missing or damaged.
    """
    with exclusive_lock(product_dir(settings, product) / ".lock"):
        current = champion(settings, product)
        if current is None or current.previous is None:
            raise DataFailed(f"{product} has no earlier champion to go back to")
        _hold_against(load_bundle(settings, product, current.previous.version), current.previous)
        withdrawn = (*current.withdrawn, current.version)
        restored = replace(current.previous, withdrawn=withdrawn)
        _point_at(settings, product, restored)
    # Somebody waits for a rollback, so it does not wait long for MLflow.
    problem = mlflow_tracking.move_alias(settings, product, restored.version, mlflow_tracking.QUICK)
    return ChampionChange(restored, current.version, problem)


def reconcile(settings: Settings, product: str) -> list[str]:
    """Make MLflow say what the champion pointer says.

    Returns:
        One sentence per difference that was found, telling whether it was repaired. Empty with no server
        configured and before the first promotion.

    Raises:
        ToolFailed: The server cannot be reached, so whether they differ is unknown.
    """
    bundle = load_champion(settings, product)
    if bundle is None or not settings.mlflow_tracking_uri:
        return []
    found = mlflow_tracking.alias_version(settings, product)
    if found == bundle.version:
        return []
    if not mlflow_tracking.is_registered(settings, product, bundle.version):
        mlflow_tracking.log_bundle(settings, bundle)
    problem = mlflow_tracking.move_alias(settings, product, bundle.version)
    outcome = f"not repaired: {problem}" if problem else "repaired"
    return [f"MLflow's champion was {found or 'not set'}, the pointer says {bundle.version}; {outcome}"]


def prune_bundles(settings: Settings, product: str) -> list[str]:
    """Remove bundles that are neither among the newest `keep_versions` nor champions to roll back to."""
    root = product_dir(settings, product)
    with exclusive_lock(root / ".lock"):
        kept = set()
        current = champion(settings, product)
        while current:
            kept.add(current.version)
            current = current.previous
        versions = sorted(path.parent.name for path in root.glob(f"*/{MANIFEST}"))
        removed = [version for version in versions[: -settings.keep_versions] if version not in kept]
        for version in removed:
            shutil.rmtree(root / version)
        return removed


def _champion_path(settings: Settings, product: str) -> Path:
    return product_dir(settings, product) / "champion.json"


def _hold_against(bundle: ModelBundle, pointer: Champion) -> None:
    if bundle.manifest_sha256 != pointer.manifest_sha256:
        raise DataFailed(f"{bundle.folder / MANIFEST}: the bytes do not match the champion pointer's sha256")


def _point_at(settings: Settings, product: str, current: Champion) -> None:
    write_durably(_champion_path(settings, product), json.dumps(asdict(current), indent=1).encode())


def _champion_from(raw: Mapping[str, Any]) -> Champion:
    previous = _champion_from(raw["previous"]) if raw["previous"] else None
    withdrawn = tuple(raw.get("withdrawn", ()))
    return Champion(raw["version"], raw["manifest_sha256"], raw["since_partition"], previous, withdrawn)


def _shorten(current: Champion | None, length: int) -> Champion | None:
    if current is None or length == 0:
        return None
    return replace(current, previous=_shorten(current.previous, length - 1), withdrawn=())
