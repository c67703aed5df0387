"""Training sets of the model products: where they lie, how they are published, found and let through."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa

from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.stores.operations import Operations, gate_verdicts
from ml.stores.versions import Part, StaleWriter, Version, VersionStore
from ml.stores.warehouse import Marts, open_marts

FOLDERS = {"recommender": "training", "fraud": "fraud_training"}
"""Product -> folder of its training sets under the shop's state folder."""


def training_store(settings: Settings, product: str) -> VersionStore:
    return VersionStore(settings.shop_dir / FOLDERS[product])


def marts_up_to(settings: Settings, partition: date) -> Marts:
    """The published marts, for a training on what was known by the end of a shop day.

    Raises:
        DataFailed: They do not reach the day.
    """
    marts = open_marts(settings)
    if marts.target_day < partition:
        raise DataFailed(f"marts {marts.version.id} reach {marts.target_day}, training needs {partition}")
    return marts


def publish_over_current(
    settings: Settings, store: VersionStore, parts: Sequence[Part], lineage: dict[str, Any]
) -> Version:
    """Publish and prune. Publishing what is already current changes nothing.

    Raises:
        ToolFailed: Somebody else published at the same moment.
    """
    current = store.current()
    try:
        version = store.publish(parts, lineage, current.id if current else None)
    except StaleWriter as error:
        raise ToolFailed(f"{error}; run the step again") from error
    store.prune(settings.keep_versions)
    return version


def as_arrow(rows: pd.DataFrame) -> pa.Table:
    """A frame as a part is written from it: no index, nothing of pandas in the file."""
    return pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)


def find_training_set(settings: Settings, product: str, partition: date) -> Version:
    """The newest training set of a partition.

    Raises:
        ToolFailed: None was built, or it was pruned.
    """
    found = [
        version
        for version in training_store(settings, product).versions()
        if version.lineage["partition"] == partition.isoformat()
    ]
    if not found:
        raise ToolFailed(f"no training set of {partition}; run `shopwright {product} train --day {partition}`")
    return found[-1]


def require_passed_gate(settings: Settings, product: str, version: Version) -> None:
    """Nothing is trained on a set that the model-input gate has not passed.

    Raises:
        DataFailed: It has not.
    """
    operations = Operations.from_settings(settings)
    verdicts = operations.rows(gate_verdicts, gate="model_inputs", object=product, batch_id=version.id)
    if [verdict["status"] for verdict in verdicts] != ["passed"]:
        raise DataFailed(f"training set {version.id} has not passed the model-input gate")
