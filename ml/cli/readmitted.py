"""Bringing marts and features up to what came back from quarantine, by the steps of the daily chain."""

from datetime import date
from typing import Any

from ml.cli.features import materialize_features
from ml.cli.warehouse import build_models, gate_marts, publish_marts
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings, get_settings
from ml.stores.raw import RawStore, batch_day
from ml.stores.warehouse import Marts, marts_store


def rebuild_readmitted() -> dict[str, Any]:
    """Build, judge, publish and materialize the newest published day, if its marts lack a readmission.

    Returns:
        The publication, or `skipped` with the reason why none was needed.

    Raises:
        DataFailed: The marts with the readmitted rows broke a rule; the published ones stay.
        ToolFailed: A step could not do its work; the published marts stay.
    """
    settings = get_settings()
    store = marts_store(settings)
    current = store.current()
    if current is None:
        return {"skipped": "no marts are published yet; the first build will include the rows"}
    marts = Marts(store, current)
    day = marts.target_day
    if not any(batch_day(batch_id) <= day for _, batch_id in _not_built(settings, marts)):
        return {"skipped": f"the published marts, up to {day}, need no rebuild"}
    try:
        return _rebuild(day)
    except (DataFailed, ToolFailed) as error:
        failed = DataFailed if isinstance(error, DataFailed) else ToolFailed
        raise failed(
            f"the rows are back in raw, but the marts of {day} were not rebuilt from them: {error}. Readers stay on "
            "the last version; the same command again goes on from here"
        ) from error


def _rebuild(day: date) -> dict[str, Any]:
    build_models(day)
    gate_marts(day)
    published = publish_marts(day)
    features = materialize_features(day)
    return {"version": published["version"], "target_day": published["target_day"], "features": features["outcome"]}


def _not_built(settings: Settings, marts: Marts) -> set[tuple[str, str]]:
    """Readmissions that the published marts were built without."""
    raw = RawStore(settings)
    try:
        built = raw.readmissions(raw.versions.get(marts.version.lineage["raw_version"]))
    except DataFailed:  # the version is not kept any more, so what it had is not known
        built = set()
    return raw.readmissions() - built
