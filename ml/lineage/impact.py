"""What a change of the data would reach: the whole graph of a shop, and what lies below some columns of it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ml.lineage.columns import ROWS, Ref
from ml.lineage.features import add_features, declared_features
from ml.lineage.graph import DatasetKind, Graph
from ml.lineage.manifest import Manifest, built_manifest, current_manifest
from ml.lineage.models import add_exposures, add_models, model_id, raw_id
from ml.outcomes import ToolFailed
from ml.settings import Settings

# A feature is worth naming by its column: that is what a model was trained on.
_NAMED_BY_COLUMN = (DatasetKind.FEATURES,)
_LEFT_OUT = (DatasetKind.RAW, DatasetKind.SERVICE)


def shop_graph(settings: Settings, manifest: Manifest | None = None) -> Graph:
    """Lineage of a shop from raw tables to models.

    Args:
        manifest: Of a build; that of the last one when None.

    Raises:
        ToolFailed: There is no build, and the dbt project does not compile.
    """
    content = (manifest or current_manifest(settings)).content
    declared = declared_features(settings)
    graph = models_graph(content)
    add_features(graph, settings, declared)
    add_exposures(graph, content, known={model_id(view.mart) for view in declared.views})
    return graph


def models_graph(manifest: Mapping[str, Any]) -> Graph:
    """Lineage of raw tables and dbt models alone."""
    graph = Graph()
    add_models(graph, manifest)
    return graph


def affected_by(settings: Settings, table: str, columns: Collection[str] = ()) -> list[str]:
    """What is built from columns of a contract table, values and rows alike, in the order in which it is built.

    Args:
        columns: Of the table as the contract names them; none means the whole table. Columns that nothing reads,
            new ones among them, affect nothing.

    Returns:
        Names such as "model fct_orders", "feature feat_customer.amount_cents_28d", "model product recommender".
        A view whose features are all affected is one entry. What is affected only as far as is known, because a
        model's SQL could not be read, says so.

    Raises:
        ToolFailed: It is not known: nothing was built yet, or the lineage cannot be read.
    """
    manifest = built_manifest(settings)  # an alert does not wait until the project is compiled
    if manifest is None:
        raise ToolFailed("no build has left a manifest from which lineage could be read")
    try:
        graph = shop_graph(settings, manifest)
    except Exception as error:  # a gate gives its verdict, whatever is wrong here
        raise ToolFailed(f"the lineage cannot be read ({type(error).__name__})") from error
    dataset = raw_id(table)
    if dataset not in graph.datasets:
        return []
    changed = [Ref(dataset, name) for name in columns] if columns else graph.refs(dataset)
    return affected_names(graph, changed)


def affected_names(graph: Graph, changed: Sequence[Ref]) -> list[str]:
    """Names of the models, features, model products and reports below some columns."""
    below = graph.all_below(changed)
    names = []
    for dataset in graph.datasets.values():
        reached = {ref.column for ref in below if ref.dataset == dataset.id}
        if not reached or dataset.kind in _LEFT_OUT:
            continue
        doubt = " (its lineage is unknown)" if dataset.unknown else ""
        every = len(dataset.columns)
        columns = [name for name in dataset.columns if name in reached or ROWS in reached]
        if dataset.kind not in _NAMED_BY_COLUMN or not columns:
            names.append(f"{dataset.id}{doubt}")
        elif len(columns) == every and every > 1:
            names.append(f"{dataset.id} (all {every} features){doubt}")
        else:
            names += [f"{dataset.id}.{name}{doubt}" for name in columns]
    return names
