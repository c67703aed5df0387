"""A model remembers what it was fed: when a feature's definition changed under it, it does not score."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from ml.alerts.incidents import close_incident, open_incident
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.bundles import ModelBundle
from ml.stores.operations import Operations

_NAMED_AT_MOST = 5


def changed_features(bundle: ModelBundle, now: Mapping[str, str]) -> list[str]:
    """Features that are no longer what the model was trained on; a baseline that uses none has none.

    Args:
        now: Fingerprint of each feature as the marts at hand were built.
    """
    trained_on: dict[str, str] = dict(bundle.manifest["fingerprints"])
    return sorted(name for name, fingerprint in trained_on.items() if now.get(name) != fingerprint)


def refuse_changed_features(
    settings: Settings, bundle: ModelBundle, now: Mapping[str, str], partition: date, stays: str
) -> None:
    """Open an incident when a feature changed under the champion, and close it when none has.

    Args:
        stays: What is in use meanwhile, a sentence.

    Raises:
        DataFailed: A feature changed; nothing may be scored.
    """
    operations = Operations.from_settings(settings)
    incident: dict[str, Any] = {
        "kind": "feature_changed",
        "object": bundle.product,
        "rule": "feature_fingerprints",
        "partition": partition,
    }
    changed = changed_features(bundle, now)
    if not changed:
        close_incident(operations, **incident)
        return
    more = f" and {len(changed) - _NAMED_AT_MOST} more" if len(changed) > _NAMED_AT_MOST else ""
    names = ", ".join(changed[:_NAMED_AT_MOST]) + more
    open_incident(
        operations,
        **incident,
        severity="alert",
        title=f"{bundle.product}: {names} changed under the champion",
        body=f"{bundle.version} was trained on another definition of {names}, so it does not score. {stays} "
        "Train on the new definition, or revert it.",
    )
    raise DataFailed(f"{names} changed since {bundle.version} was trained; train again or revert the change")
