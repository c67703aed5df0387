"""What stands on the marts: Feast's features and services, the pair features, and the models that use them."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from ml.lineage.columns import ROWS, Ref, Relation, UnknownLineage, query_lineage, table_relation
from ml.lineage.graph import WHOLE, Dataset, DatasetKind, Edge, Graph
from ml.lineage.manifest import lineage_dir
from ml.lineage.models import add_relation, model_id
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores import registry
from ml.stores.durable import write_durably
from ml.stores.feast_repo import FEATURE_REPO, definitions_hash, parse_declarations


@dataclass(frozen=True)
class View:
    """A feature view: its features with their Feast types, and the mart that they are read from by name."""

    name: str
    entity: str
    mart: str
    features: dict[str, str]


@dataclass(frozen=True)
class Service:
    """A feature service: which features it offers to which model."""

    name: str
    model: str
    features: list[tuple[str, str]]


@dataclass(frozen=True)
class Declared:
    """What `feature_repo/` declares."""

    views: list[View]
    services: list[Service]


def declared_features(settings: Settings) -> Declared:
    """What Feast makes of `feature_repo/`, kept until a declaration changes: importing Feast takes seconds."""
    kept = lineage_dir(settings) / f"features-{definitions_hash(settings)[:16]}.json"
    try:
        content = json.loads(kept.read_bytes())
        return _declared_from(content)
    except (OSError, ValueError, KeyError, TypeError):
        declared = _parse()
    for stale in kept.parent.glob("features-*.json"):
        stale.unlink(missing_ok=True)
    write_durably(kept, json.dumps(asdict(declared), indent=1).encode())
    return declared


def _declared_from(content: Mapping[str, Any]) -> Declared:
    services = [
        Service(each["name"], each["model"], [(view, feature) for view, feature in each["features"]])
        for each in content["services"]
    ]
    return Declared([View(**each) for each in content["views"]], services)


def _parse() -> Declared:
    found = parse_declarations()
    views = [
        View(
            view.name,
            "_".join(view.entities),
            view.tags.get("mart", view.batch_source.name),
            {field.name: str(field.dtype) for field in view.features},
        )
        for view in found.feature_views
    ]
    services = [
        Service(
            service.name,
            service.tags.get("model", ""),
            [(each.name, field.name) for each in service.feature_view_projections for field in each.features],
        )
        for service in found.feature_services
    ]
    return Declared(
        sorted(views, key=lambda each: each.name),
        sorted(services, key=lambda each: each.name),
    )


def feature_id(name: str) -> str:
    return f"feature {name}"


def product_id(name: str) -> str:
    return f"{DatasetKind.PRODUCT.value} {name}"


def add_features(graph: Graph, settings: Settings, declared: Declared, repo: Path = FEATURE_REPO) -> None:
    """Add features, services and model products to a graph that holds the marts."""
    for view in declared.views:
        _add_view(graph, view)
    for path in sorted((repo / "pairs").glob("*.sql")):
        _add_pairs(graph, path)
    for service in declared.services:
        dataset = f"{DatasetKind.SERVICE.value} {service.name}"
        graph.add(Dataset(dataset, service.name, DatasetKind.SERVICE, {}))
        for view_name, feature in service.features:
            graph.link(Ref(feature_id(view_name), feature), Ref(dataset, WHOLE), Edge.DERIVES)
    for product in sorted({service.model for service in declared.services} - {""}):
        _add_product(graph, settings, declared, product)


def _add_view(graph: Graph, view: View) -> None:
    dataset, mart = feature_id(view.name), model_id(view.mart)
    known = graph.datasets.get(mart)
    absent = [name for name in view.features if known is None or name not in known.columns]
    problem = f"{mart} has no {', '.join(absent)}" if absent else None
    graph.add(Dataset(dataset, view.name, DatasetKind.FEATURES, dict(view.features), unknown=problem))
    if known is None:
        return
    graph.link(Ref(mart, ROWS), Ref(dataset, ROWS), Edge.DEPENDS)
    for name in view.features:
        if name in known.columns:
            graph.link(Ref(mart, name), Ref(dataset, name), Edge.DERIVES)


def _add_pairs(graph: Graph, path: Path) -> None:
    """Features of a pair, computed by one query over the marts when candidates are scored."""
    sql, dataset = path.read_text(), feature_id(path.stem)
    marts = {each.name: each for each in graph.datasets.values() if each.kind is DatasetKind.MART}

    def table(_schema: str, name: str) -> Relation:
        return table_relation(model_id(name), marts[name].columns) if name in marts else table_relation(name, None)

    try:
        # Outside of dbt no schema is named.
        relation = query_lineage(sql, {"": {name: list(mart.columns) for name, mart in marts.items()}}, table)
    except UnknownLineage as error:
        graph.add(Dataset(dataset, path.stem, DatasetKind.FEATURES, {}, unknown=str(error)))
        for mart in marts.values():
            if re.search(rf"\b{mart.name}\b", sql):
                for ref in graph.refs(mart.id):
                    graph.link(ref, Ref(dataset, ROWS), Edge.READS)
        return
    # What comes from outside of the marts is who is asked about, which is no feature.
    own = {mart.id for mart in marts.values()}
    features = {
        name: sources for name, sources in relation.columns.items() if any(ref.dataset in own for ref in sources.all)
    }
    graph.add(Dataset(dataset, path.stem, DatasetKind.FEATURES, dict.fromkeys(features)))
    add_relation(graph, dataset, Relation(features, relation.rows))


def _add_product(graph: Graph, settings: Settings, declared: Declared, product: str) -> None:
    used, note = _used(settings, declared, product, _offered(graph, declared, product))
    dataset = product_id(product)
    graph.add(Dataset(dataset, product, DatasetKind.PRODUCT, {}, note=note))
    for ref in used:
        graph.link(ref, Ref(dataset, WHOLE), Edge.DERIVES)
    for view in dict.fromkeys(ref.dataset for ref in used):
        graph.link(Ref(view, ROWS), Ref(dataset, WHOLE), Edge.DEPENDS)
    for pairs in _pairs_of(graph, declared, product):
        if graph.datasets[pairs].unknown:
            graph.link(Ref(pairs, ROWS), Ref(dataset, WHOLE), Edge.READS)


def _offered(graph: Graph, declared: Declared, product: str) -> list[Ref]:
    """What a product may use: its services' features, and the features of pairs of what these describe."""
    services = [service for service in declared.services if service.model == product]
    offered = [Ref(feature_id(view), feature) for service in services for view, feature in service.features]
    pairs = _pairs_of(graph, declared, product)
    return [*offered, *(Ref(each, name) for each in pairs for name in graph.datasets[each].columns)]


def _pairs_of(graph: Graph, declared: Declared, product: str) -> list[str]:
    """Pair features are called for the two entities that they describe together."""
    views = {view for service in declared.services if service.model == product for view, _ in service.features}
    entities = {view.entity for view in declared.views if view.name in views}
    called = [feature_id("_".join(each)) for each in permutations(sorted(entities), 2)]
    return [each for each in called if each in graph.datasets]


def _used(settings: Settings, declared: Declared, product: str, offered: list[Ref]) -> tuple[list[Ref], str]:
    """What the champion uses of what is offered, and a sentence about it."""
    try:
        bundle = registry.load_champion(settings, product)
    except DataFailed:
        return offered, "the champion cannot be read, so every feature that its services offer counts as used"
    if bundle is None or not bundle.manifest.get("features"):
        who = "there is no champion yet" if bundle is None else f"the champion {bundle.version} is a {bundle.kind}"
        return offered, f"{who}; every feature that its services offer counts as used"
    names = list(bundle.manifest["features"])
    used, own = match_features(names, declared, offered)
    note = f"its champion {bundle.version} uses {len(names)} features"
    if own:
        note += f"; computed in its own code, from columns that are not known: {', '.join(own)}"
    return used, note


def match_features(names: Iterable[str], declared: Declared, offered: list[Ref]) -> tuple[list[Ref], list[str]]:
    """A model's features among what is offered, and those that are not.

    A model calls a feature of a view `<entity>_<feature>`, and a pair feature by its own name.
    """
    entities = {feature_id(view.name): view.entity for view in declared.views}
    called = {
        f"{entities[ref.dataset]}_{ref.column}" if ref.dataset in entities else ref.column: ref for ref in offered
    }
    found = {name: called.get(name) for name in names}
    return [ref for ref in found.values() if ref is not None], [name for name, ref in found.items() if ref is None]
