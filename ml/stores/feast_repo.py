"""Feast, opened on this shop's state: declarations in `feature_repo/`, registry and online values in `features/`.

Feast takes seconds to import, so it is imported where it is used.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from ml.outcomes import DataFailed
from ml.settings import PROJECT_DIR, Settings
from ml.stores.durable import write_durably

if TYPE_CHECKING:
    from feast import FeatureStore
    from feast.repo_contents import RepoContents

FEATURE_REPO = PROJECT_DIR / "feature_repo"


def features_dir(settings: Settings) -> Path:
    """Folder of the registry, the online values and the watermark."""
    return settings.shop_dir / "features"


def definitions_hash(settings: Settings) -> str:
    """Changes whenever `feast apply` would have something to do: declarations, shop, Feast's version."""
    digest = hashlib.sha256(f"{settings.shop_id} {installed_version('feast')}".encode())
    for path in [*sorted(FEATURE_REPO.rglob("*.py")), FEATURE_REPO / "feature_store.yaml"]:
        digest.update(f"\n{path.relative_to(FEATURE_REPO)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def apply_if_changed(settings: Settings) -> bool:
    """Write the declarations into the registry when they changed, or when the registry is missing or cut off.

    Not for two processes at once.

    Returns:
        Whether something was applied.
    """
    from feast import Project
    from feast.repo_operations import extract_objects_for_apply_delete

    marker = features_dir(settings) / "applied.json"
    definitions = definitions_hash(settings)
    applied = json.loads(marker.read_bytes()) if marker.exists() else {}
    is_whole = bool(applied) and _registered(settings) == applied.get("registered")
    if is_whole and applied.get("definitions") == definitions and online_path(settings).exists():
        return False
    if not is_whole:
        _registry_path(settings).unlink(missing_ok=True)  # Feast writes it in place; it holds nothing but declarations
    _registry_path(settings).parent.mkdir(parents=True, exist_ok=True)
    store = open_feature_store(settings, FEATURE_REPO)
    declared = parse_declarations()
    wanted, stale, _, _ = extract_objects_for_apply_delete(store.project, store.registry, declared)
    # The project is declared by feature_store.yaml, so parse_repo does not see it and would have it deleted.
    stale = [item for item in stale if not isinstance(item, Project)]
    store.apply(wanted, objects_to_delete=stale, partial=False)
    write_durably(marker, json.dumps({"definitions": definitions, "registered": _registered(settings)}).encode())
    return True


def parse_declarations() -> "RepoContents":
    """What `feature_repo/` declares, as it is now; nothing is registered."""
    from feast.repo_operations import parse_repo

    with _on_import_path(FEATURE_REPO):
        return parse_repo(FEATURE_REPO)


def online_path(settings: Settings) -> Path:
    return features_dir(settings) / "online.db"


def _registry_path(settings: Settings) -> Path:
    return features_dir(settings) / "registry.db"


def _registered(settings: Settings) -> list[str]:
    """Names of what the registry holds; nothing when it cannot be read."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not _registry_path(settings).exists():
        return []
    store = open_feature_store(settings, FEATURE_REPO)
    try:
        held = [*store.list_entities(), *store.list_feature_views(), *store.list_feature_services()]
    except DecodeError:
        return []
    return sorted(f"{type(item).__name__} {item.name}" for item in held)


def open_feature_store(settings: Settings, offline_dir: Path) -> "FeatureStore":
    """Feast on this shop's registry and online values.

    Args:
        offline_dir: Folder against which the sources' relative paths are read.
    """
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    return FeatureStore(config=RepoConfig(**_configuration(settings), repo_path=offline_dir))


def declared_features(store: "FeatureStore", service: str) -> dict[str, str]:
    """Feature names of a service with their Feast types, in declared order.

    Raises:
        DataFailed: There is no such service.
    """
    from feast.errors import FeatureServiceNotFoundException

    try:
        found = store.get_feature_service(service)
    except FeatureServiceNotFoundException:
        known = ", ".join(sorted(service.name for service in store.list_feature_services()))
        raise DataFailed(f"no feature service {service}; feature_repo/services.py declares {known}") from None
    return {field.name: str(field.dtype) for view in found.feature_view_projections for field in view.features}


def _configuration(settings: Settings) -> dict[str, Any]:
    import yaml

    text = Template((FEATURE_REPO / "feature_store.yaml").read_text())
    filled = text.substitute(SHOP_ID=settings.shop_id, FEATURES_DIR=features_dir(settings))
    configuration: dict[str, Any] = yaml.safe_load(filled)
    return configuration


@contextlib.contextmanager
def _on_import_path(folder: Path) -> Iterator[None]:
    """Import from a folder, and forget its modules afterwards: `sources` and `views` are names others may want."""
    known = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:
            spec = sys.modules[name].__spec__
            places = [spec.origin or "", *(spec.submodule_search_locations or [])] if spec else []
            if any(place.startswith(f"{folder}/") for place in places):
                del sys.modules[name]
