"""From dbt's manifest to the graph of columns: raw tables and models, by the SQL that dbt compiled."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ml.lineage.columns import ROWS, Ref, Relation, UnknownLineage, query_lineage, table_relation
from ml.lineage.graph import WHOLE, Dataset, DatasetKind, Edge, Graph
from ml.shop.contract import CONTRACT

_EVENT_DATE = "_event_date"
# Its functions say what an incremental build need not touch, which changes no row (dbt_project/macros/affected.sql).
_SPARING = "build_state"


def raw_id(table: str) -> str:
    return f"raw.{table}"


def model_id(name: str) -> str:
    return f"model {name}"


def add_models(graph: Graph, manifest: Mapping[str, Any]) -> None:
    """Add every source and model of a manifest, those that others are made from first.

    A model whose SQL cannot be read is there with the reason, and counts as made from all of what dbt says it reads.
    """
    reader = _Warehouse(manifest)
    for source in manifest["sources"].values():
        columns = {name: column.get("data_type") for name, column in source["columns"].items()}
        graph.add(Dataset(_source_id(source), source["name"], DatasetKind.RAW, columns))
        _link_event_date(graph, source)
    for node in _in_order(manifest):
        reader.add(graph, node)


def add_exposures(graph: Graph, manifest: Mapping[str, Any], known: Collection[str]) -> None:
    """Add what lives on the marts: which of their columns it reads, dbt does not know.

    Args:
        known: Marts of which the graph knows already who uses which column.
    """
    for exposure in manifest.get("exposures", {}).values():
        kind = DatasetKind.PRODUCT if exposure["type"] == "ml" else DatasetKind.REPORT
        dataset = f"{kind.value} {exposure['name']}"
        parents = [model_id(key.split(".")[-1]) for key in exposure["depends_on"]["nodes"] if key.startswith("model.")]
        if dataset not in graph.datasets:
            graph.add(Dataset(dataset, exposure["name"], kind, {}))
        for ref in (ref for parent in parents if parent not in known for ref in graph.refs(parent)):
            graph.link(ref, Ref(dataset, WHOLE), Edge.READS)


def _source_id(source: Mapping[str, Any]) -> str:
    return f"{source['schema']}.{source['identifier']}"


def _link_event_date(graph: Graph, source: Mapping[str, Any]) -> None:
    """The arrival gate computes the event day of a row; that happens before dbt, so no SQL says it."""
    table = CONTRACT.get(source["name"])
    if table is not None and table.event_time and _EVENT_DATE in source["columns"]:
        dataset = _source_id(source)
        graph.link(Ref(dataset, table.event_time), Ref(dataset, _EVENT_DATE), Edge.DERIVES)


def _in_order(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Models, each after those that it is built from."""
    models = {key: node for key, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    ordered: dict[str, Mapping[str, Any]] = {}

    def visit(key: str) -> None:
        if key in models and key not in ordered:
            for parent in sorted(manifest["parent_map"].get(key, [])):
                visit(parent)
            ordered[key] = models[key]

    for key in sorted(models):
        visit(key)
    return list(ordered.values())


class _Warehouse:
    """What is known of the tables so far: their dataset and their columns."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self._manifest = manifest
        self._datasets: dict[tuple[str, str], str] = {}
        self._columns: dict[str, dict[str, list[str]]] = {}
        for source in manifest["sources"].values():
            self._know(source["schema"], source["identifier"], _source_id(source), source["columns"])
        for node in manifest["nodes"].values():
            if node["resource_type"] == "model":
                # Without an enforced contract the YAML need not name every column; its SQL will.
                is_whole = node["config"]["contract"]["enforced"]
                self._know(node["schema"], node["alias"], model_id(node["name"]), node["columns"] if is_whole else ())

    def _know(self, schema: str, table: str, dataset: str, columns: Iterable[str]) -> None:
        self._datasets[schema, table] = dataset
        if columns := list(columns):
            self._columns.setdefault(schema, {})[table] = columns

    def add(self, graph: Graph, node: Mapping[str, Any]) -> None:
        dataset = model_id(node["name"])
        kind = DatasetKind.MART if node["fqn"][1:2] == ["marts"] else DatasetKind.MODEL
        declared = {name: column.get("data_type") for name, column in node["columns"].items()}
        try:
            relation = self._read(node)
        except UnknownLineage as error:
            graph.add(Dataset(dataset, node["name"], kind, declared, unknown=str(error)))
            self._link_unknown(graph, node, dataset)
            return
        self._know(node["schema"], node["alias"], dataset, relation.columns)
        graph.add(Dataset(dataset, node["name"], kind, {name: declared.get(name) for name in relation.columns}))
        add_relation(graph, dataset, relation)

    def _read(self, node: Mapping[str, Any]) -> Relation:
        sql = node.get("compiled_code")
        if not sql:
            raise UnknownLineage(f"dbt compiled no SQL for it ({node.get('language', 'sql')})")
        if node["database"]:
            sql = sql.replace(f'"{node["database"]}".', "")

        def table(schema: str, name: str) -> Relation:
            dataset = self._datasets.get((schema, name), f"{schema}.{name}" if schema else name)
            return table_relation(dataset, self._columns.get(schema, {}).get(name))

        return query_lineage(sql, self._columns, table, neutral=_SPARING)

    def _link_unknown(self, graph: Graph, node: Mapping[str, Any], dataset: str) -> None:
        """Everything of its parents may have a part in everything of a model that cannot be read."""
        for parent in self._manifest["parent_map"].get(node["unique_id"], []):
            above = self._manifest["nodes"].get(parent) or self._manifest["sources"].get(parent)
            if above is None or above["resource_type"] not in ("model", "source"):
                continue
            above_id = model_id(above["name"]) if above["resource_type"] == "model" else _source_id(above)
            for source in graph.refs(above_id):
                for target in (Ref(dataset, name) for name in (*graph.datasets[dataset].columns, ROWS)):
                    graph.link(source, target, Edge.READS)


def add_relation(graph: Graph, dataset: str, relation: Relation) -> None:
    """Link a dataset's columns and rows to what they are made of, tables outside the graph left out."""
    for ref in sorted(relation.rows):
        _link(graph, ref, Ref(dataset, ROWS), Edge.DEPENDS)
    for name, sources in relation.columns.items():
        for ref in sorted(sources.derives):
            _link(graph, ref, Ref(dataset, name), Edge.DERIVES)
        for ref in sorted(sources.depends - relation.rows):
            _link(graph, ref, Ref(dataset, name), Edge.DEPENDS)


def _link(graph: Graph, source: Ref, target: Ref, edge: Edge) -> None:
    # An incremental model reads itself; what it held before came from the same columns.
    if source.dataset not in graph.datasets or source.dataset == target.dataset:
        return
    if graph.datasets[source.dataset].unknown:
        source, edge = Ref(source.dataset, ROWS), Edge.READS
    graph.link(source, target, edge)
