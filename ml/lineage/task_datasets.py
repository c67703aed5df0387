"""What each task of the lifecycle reads and writes, as told in its events."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ml.lineage.events import Rule, Told, dataset_name
from ml.lineage.features import product_id
from ml.lineage.graph import DatasetKind, Graph
from ml.lineage.impact import shop_graph
from ml.lineage.manifest import built_manifest
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.stores.operations import Operations, gate_verdicts
from ml.stores.warehouse import marts_store

_RECOMMENDER, _FRAUD = "recommender", "fraud"
_RECOMMENDATIONS, _FRAUD_SCORES, _FRAUD_DECISIONS = "recommendations", "fraud_scores", "fraud_decisions"
# What the fraud product reads: it asks no feature service, so the graph does not know.
_FRAUD_MARTS = ("fct_order_payments", "feat_order_risk", "fct_fraud_labels", "fct_fraud_decisions")
_PASSED = ("passed", "set_aside", "warned")
_WARNING = ("set_aside", "warned")


@dataclass(frozen=True)
class Ended:
    """A task that has ended.

    Attributes:
        day: The last shop day of its partition, YYYY-MM-DD; empty when it names none.
        summary: What its step returned; empty when it failed.
        product: The model product that the task belongs to.
    """

    settings: Settings
    day: str
    summary: Mapping[str, Any]
    product: str = _RECOMMENDER

    def of_product(self, dataset: str) -> str:
        """Name of a product's own dataset, such as "model.recommender"."""
        return f"{dataset}.{self.product}"

    def verdicts(self, gate: str) -> list[dict[str, Any]]:
        operations = Operations.from_settings(self.settings)
        return operations.rows(gate_verdicts, gate=gate, partition=self.day)


Datasets = tuple[list[Told], list[Told]]
NOTHING: Datasets = ([], [])


def product_of(dag_id: str) -> str:
    """The product whose DAG it is, by the DAG's domain; what belongs to none counts as the recommender's."""
    return _FRAUD if dag_id.startswith(f"{_FRAUD}_") else _RECOMMENDER


def datasets_of(task_id: str, ended: Ended) -> Datasets:
    """Inputs and outputs of a task; none of a task that moves no data."""
    describe = _TASKS.get(task_id)
    return describe(ended) if describe else NOTHING


def rules_of(found: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """Names and outcomes; what was expected and observed is not told."""
    return [Rule(rule["rule"], rule["status"] == "passed", is_warning=rule["status"] in _WARNING) for rule in found]


def _land_days(ended: Ended) -> Datasets:
    tables = {name: entry for name, entry in ended.summary.items() if name in CONTRACT}
    inputs = [Told(f"source.{name}") for name in tables]
    return inputs, [Told(f"landing.{name}", entry["rows"], entry["batch_id"]) for name, entry in tables.items()]


def _gate_arrivals(ended: Ended) -> Datasets:
    judged = [verdict for verdict in ended.verdicts("arrivals") if verdict["object"] in CONTRACT]
    inputs = [
        Told(f"landing.{each['object']}", each["rows_in"], each["batch_id"], rules_of(each["rules"])) for each in judged
    ]
    raw = [Told(f"raw.{each['object']}", each["rows_published"]) for each in judged if each["rows_published"]]
    aside = [each for each in judged if each["rows_quarantined"]]
    return inputs, [*raw, *(Told(f"quarantine.{each['object']}", each["rows_quarantined"]) for each in aside)]


def _build_models(ended: Ended) -> Datasets:
    version = ended.summary.get("raw_version")
    inputs = [Told(f"raw.{name}", version=version) for name in CONTRACT] if version else []
    return inputs, [Told(name, rows) for name, rows in sorted(ended.summary.get("rows", {}).items())]


def _gate_marts(ended: Ended) -> Datasets:
    return _judged(ended, "marts", lambda name: name), []


def _publish_marts(ended: Ended) -> Datasets:
    version_id = ended.summary.get("version")
    if version_id is None:
        return NOTHING
    rows: dict[str, int] = {}
    for part in marts_store(ended.settings).get(version_id).parts:
        rows[part.table] = rows.get(part.table, 0) + part.rows
    return [Told(name) for name in rows], [Told(name, count, version_id) for name, count in rows.items()]


def _materialize_features(ended: Ended) -> Datasets:
    graph = _graph(ended)
    views = [each for each in graph.datasets.values() if each.kind is DatasetKind.FEATURES]
    marts = [
        graph.datasets[above]
        for view in views
        for above in graph.datasets_above(view.id)
        if graph.datasets[above].name == view.name
    ]
    version = ended.summary.get("marts_version")
    rules = [rule for verdict in ended.verdicts("feature_parity") for rule in rules_of(verdict["rules"])]
    inputs = [Told(each.name, version=version, rules=rules) for each in marts]
    return inputs, [Told(f"features.{each.name}") for each in marts] if version else []


def _publish_recommendations(ended: Ended) -> Datasets:
    model = ended.summary.get("model_version")
    written = [Told(_RECOMMENDATIONS, ended.summary["rows"], ended.summary["version"])] if model else []
    return [*_read_by_product(ended), Told(ended.of_product("champion"), version=model)], written


def _build_training_set(ended: Ended) -> Datasets:
    version = ended.summary.get("version")
    written = [Told(ended.of_product("training_set"), sum(ended.summary["rows"].values()), version)] if version else []
    return _read_by_product(ended), written


def _gate_training_set(ended: Ended) -> Datasets:
    judged = [each for each in ended.verdicts("model_inputs") if each["object"] == ended.product]
    return [
        Told(ended.of_product("training_set"), each["rows_in"], rules=rules_of(each["rules"])) for each in judged
    ], []


def _train_challenger(ended: Ended) -> Datasets:
    version = ended.summary.get("challenger")
    made = [Told(ended.of_product("model"), version=version)] if version else []
    return [Told(ended.of_product("training_set"))], made


def _decide_promotion(ended: Ended) -> Datasets:
    challenger = ended.summary.get("challenger")
    judged = Told(ended.of_product("model"), version=challenger, rules=rules_of(ended.summary.get("rules", ())))
    promoted = ended.summary.get("verdict") == "promoted"
    return [judged], [Told(ended.of_product("champion"), version=challenger)] if promoted else []


def _score_orders(ended: Ended) -> Datasets:
    if not ended.summary or ended.summary.get("skipped"):
        return NOTHING
    model, version = ended.summary.get("model_version"), ended.summary.get("version")
    read = [*_read_by_product(ended), *([Told(ended.of_product("champion"), version=model)] if model else [])]
    scores = [Told(_FRAUD_SCORES, version=version)] if version else []
    return read, [Told(_FRAUD_DECISIONS, ended.summary["rows"]), *scores]


def _settle_labels(_ended: Ended) -> Datasets:
    return [Told("fct_order_payments"), Told("fct_fraud_labels")], []


def _check(ended: Ended) -> Datasets:
    return [Told(_FRAUD_SCORES if ended.product == _FRAUD else _RECOMMENDATIONS)], []


def _judged(ended: Ended, gate: str, name: Callable[[str], str]) -> list[Told]:
    return [Told(name(each["object"]), each["rows_in"], rules=rules_of(each["rules"])) for each in ended.verdicts(gate)]


def _read_by_product(ended: Ended) -> list[Told]:
    if ended.product == _FRAUD:
        return [Told(name) for name in _FRAUD_MARTS]
    return [Told(name) for name in marts_read_by(_graph(ended), product_id(ended.product))]


def _graph(ended: Ended) -> Graph:
    """The graph as the last build left it; a task does not wait until the project is compiled for its events."""
    manifest = built_manifest(ended.settings)
    if manifest is None:
        raise DataFailed("the last build left no manifest")
    return shop_graph(ended.settings, manifest)


def marts_read_by(graph: Graph, product: str) -> list[str]:
    """Marts that a model product reads, by itself or through features."""
    if product not in graph.datasets:
        return []
    read = graph.datasets_above(product)
    through = [above for each in read for above in graph.datasets_above(each)]
    marts = [each for each in (*read, *through) if graph.datasets[each].kind is DatasetKind.MART]
    return sorted({dataset_name(graph, each) for each in marts})


_TASKS: dict[str, Callable[[Ended], Datasets]] = {
    "land_days": _land_days,
    "gate_arrivals": _gate_arrivals,
    "build_models": _build_models,
    "gate_marts": _gate_marts,
    "publish_marts": _publish_marts,
    "materialize_features": _materialize_features,
    "publish_recommendations": _publish_recommendations,
    "build_training_set": _build_training_set,
    "gate_training_set": _gate_training_set,
    "train_challenger": _train_challenger,
    "decide_promotion": _decide_promotion,
    "score_orders": _score_orders,
    "settle_labels": _settle_labels,
    "check_drift": _check,
    "check_performance": _check,
}
