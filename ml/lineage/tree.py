"""The way of a column through the graph, as a tree for people and as JSON for programs."""

from collections.abc import Callable, Iterator
from typing import Any

from ml.lineage.columns import ROWS, Ref
from ml.lineage.graph import WHOLE, DatasetKind, Edge, Graph

_INDENT = "  "
_VALUE_EDGES = (Edge.DERIVES, Edge.READS)


def column_tree(graph: Graph, ref: Ref, *, rows: bool = False) -> list[str]:
    """What a column is computed from and what is computed from it.

    Args:
        rows: Follow also what only decides rows or picks a value: filters, joins, groups, windows, conditions.
    """
    edges = tuple(Edge) if rows else _VALUE_EDGES
    lines = [f"{graph.label(ref)}  ({_described(graph, ref)})", *_notes(graph, ref.dataset)]
    lines += ["", "made from", *_above_lines(graph, ref, edges)]
    own_rows = Ref(ref.dataset, ROWS)
    if rows and ref != own_rows and graph.above(own_rows):
        lines += ["", f"and {graph.label(own_rows)} from", *_above_lines(graph, own_rows, edges)]
    if not rows and (deciding := _deciding(graph, ref)):
        lines += ["", "its rows and conditions are decided by", *(_INDENT + each for each in deciding)]
    lines += ["", "goes into", *_below_lines(graph, ref, edges)]
    if not rows and (decided := _decided(graph, ref)):
        lines += ["", "it decides rows or conditions of", *(_INDENT + each for each in decided)]
    return lines


def dataset_tree(graph: Graph, dataset: str) -> list[str]:
    """What a table, view or model is made from and what is made from it."""
    found = graph.datasets[dataset]
    lines = [f"{dataset}  ({found.kind.value})", *_notes(graph, dataset)]
    for title, step in (("made from", graph.datasets_above), ("goes into", graph.datasets_below)):
        lines += ["", title, *(_dataset_lines(graph, dataset, step, 1, {dataset}) or [f"{_INDENT}nothing"])]
    whole = Ref(dataset, WHOLE)
    if used := _grouped(graph, [whole], lambda each: graph.above(each, (Edge.DERIVES,))):
        lines += ["", "uses", *(_INDENT + _label(graph, group) for group in used)]
    return lines


def as_json(graph: Graph, refs: list[Ref]) -> dict[str, Any]:
    """Everything above and below some columns of a dataset: datasets, columns and how they hang together."""
    own_rows = {Ref(ref.dataset, ROWS) for ref in refs} - {Ref(ref.dataset, ROWS) for ref in refs if not ref.column}
    above, below = graph.all_above([*refs, *own_rows]), graph.all_below(refs)
    links = [
        {"from": _json_ref(source), "to": _json_ref(target), "edge": graph.edge(source, target)}
        for target in sorted(above | below)
        for source in sorted(graph.above(target))
        if (source in above and target in above) or (source in below and target in below)
    ]
    reached = {ref.dataset for ref in above | below}
    return {
        "asked": [_json_ref(ref) for ref in refs],
        "upstream": [_json_ref(ref) for ref in sorted(above - set(refs) - own_rows)],
        "downstream": [_json_ref(ref) for ref in sorted(below - set(refs))],
        "edges": links,
        "datasets": [
            {"id": each.id, "name": each.name, "kind": each.kind.value, "unknown": each.unknown, "note": each.note}
            for each in graph.datasets.values()
            if each.id in reached
        ],
    }


def _json_ref(ref: Ref) -> dict[str, str]:
    return {"dataset": ref.dataset, "column": ref.column}


def _described(graph: Graph, ref: Ref) -> str:
    dataset = graph.datasets[ref.dataset]
    type_ = dataset.columns.get(ref.column)
    kind = "feature" if dataset.kind is DatasetKind.FEATURES else f"column of a {dataset.kind.value}"
    return f"{kind}, {type_}" if type_ else kind


def _notes(graph: Graph, dataset: str) -> Iterator[str]:
    found = graph.datasets[dataset]
    if found.unknown:
        yield f"its lineage is unknown: {found.unknown}"
    if found.note:
        yield found.note


def _above_lines(graph: Graph, ref: Ref, edges: tuple[Edge, ...]) -> list[str]:
    dataset = graph.datasets[ref.dataset]
    if lines := list(_branches(graph, [ref], lambda each: graph.above(each, edges), 1, {ref})):
        return lines
    if dataset.unknown:
        return [f"{_INDENT}unknown"]
    if dataset.kind is DatasetKind.RAW:
        return [f"{_INDENT}what the shop delivers"]
    return [f"{_INDENT}no column's value"]


def _below_lines(graph: Graph, ref: Ref, edges: tuple[Edge, ...]) -> list[str]:
    return list(_branches(graph, [ref], lambda each: graph.below(each, edges), 1, {ref})) or [f"{_INDENT}nothing"]


def _branches(
    graph: Graph, refs: list[Ref], step: Callable[[Ref], list[Ref]], depth: int, seen: set[Ref]
) -> Iterator[str]:
    """Lines of all that is one step away from some columns, each with what lies behind it."""
    for group in _grouped(graph, refs, step):
        edge = _edge_between(graph, refs, group)
        how = "" if edge is Edge.DERIVES else f"  [{edge.value}]"
        doubt = "  [lineage unknown]" if graph.datasets[group[0].dataset].unknown else ""
        repeated = all(each in seen for each in group) and any(step(each) for each in group)
        yield f"{_INDENT * depth}{_label(graph, group)}{how}{doubt}{'  (shown above)' if repeated else ''}"
        if not repeated:
            seen.update(group)
            yield from _branches(graph, group, step, depth + 1, seen)


def _grouped(graph: Graph, refs: list[Ref], step: Callable[[Ref], list[Ref]]) -> list[list[Ref]]:
    """Columns one step away; features of one view are told together, because they go the same way."""
    groups: dict[Any, list[Ref]] = {}
    for each in dict.fromkeys(found for ref in refs for found in step(ref)):
        is_feature = graph.datasets[each.dataset].kind is DatasetKind.FEATURES
        groups.setdefault(each.dataset if is_feature else each, []).append(each)
    return list(groups.values())


def _edge_between(graph: Graph, refs: list[Ref], group: list[Ref]) -> Edge:
    found = {graph.edge(one, other) for ref in refs for each in group for one, other in ((each, ref), (ref, each))}
    return next(edge for edge in Edge if edge in found)


def _label(graph: Graph, group: list[Ref]) -> str:
    if len(group) == 1:
        return graph.label(group[0])
    return f"{group[0].dataset}: {', '.join('rows' if ref.column == ROWS else ref.column for ref in group)}"


def _dataset_lines(
    graph: Graph, dataset: str, step: Callable[[str], list[str]], depth: int, seen: set[str]
) -> list[str]:
    lines = []
    for each in step(dataset):
        repeated = each in seen and bool(step(each))
        doubt = "  [lineage unknown]" if graph.datasets[each].unknown else ""
        lines.append(f"{_INDENT * depth}{each}{doubt}{'  (shown above)' if repeated else ''}")
        if not repeated:
            seen.add(each)
            lines += _dataset_lines(graph, each, step, depth + 1, seen)
    return lines


def _closure(ref: Ref, step: Callable[[Ref], list[Ref]]) -> set[Ref]:
    found, waiting = set(), [ref]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += step(current)
    return found


def _deciding(graph: Graph, ref: Ref) -> list[str]:
    """Raw columns that have a part in a column, but none in its value."""
    by_value = _closure(ref, lambda each: graph.above(each, _VALUE_EDGES))
    every = graph.all_above([ref, Ref(ref.dataset, ROWS)])
    raw = [each for each in every - by_value if graph.datasets[each.dataset].kind is DatasetKind.RAW]
    return _by_dataset(graph, raw)


def _decided(graph: Graph, ref: Ref) -> list[str]:
    """Datasets that a column has a part in, though in the value of none of their columns."""
    by_value = {each.dataset for each in _closure(ref, lambda each: graph.below(each, _VALUE_EDGES))}
    every = {each.dataset for each in graph.all_below([ref])}
    return [dataset for dataset in graph.datasets if dataset in every - by_value]


def _by_dataset(graph: Graph, refs: list[Ref]) -> list[str]:
    grouped: dict[str, list[str]] = {}
    for ref in sorted(refs):
        if ref.column != ROWS:
            grouped.setdefault(ref.dataset, []).append(ref.column)
    return [f"{dataset}: {', '.join(grouped[dataset])}" for dataset in graph.datasets if dataset in grouped]
