"""The graph of columns: raw tables, dbt models, features, feature services, model products and reports."""

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ml.lineage.columns import ROWS, Ref

WHOLE = ""
"""The column of a dataset that has none: a feature service, a model product, a report."""
_SHOWN_NEAR = 8


class Edge(StrEnum):
    DERIVES = "derives"
    """The value is computed from it."""
    DEPENDS = "depends"
    """It decides which rows there are or which value is taken: filters, joins, groups, windows, conditions."""
    READS = "reads"
    """It is read by code whose columns are not known."""


class DatasetKind(StrEnum):
    RAW = "raw table"
    MODEL = "model"
    MART = "mart"
    FEATURES = "feature view"
    SERVICE = "feature service"
    PRODUCT = "model product"
    REPORT = "report"


@dataclass(frozen=True)
class Dataset:
    """Something that lineage goes through.

    Attributes:
        id: Unique, and what people are shown: "raw.orders", "model fct_orders", "feature feat_customer".
        name: What it is called among its kind.
        columns: With their types where known; empty for what has no columns.
        unknown: Why its own lineage cannot be told; None when it can.
        note: What else a reader must know of it.
    """

    id: str
    name: str
    kind: DatasetKind
    columns: dict[str, str | None]
    unknown: str | None = None
    note: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether it has no columns by its nature."""
        return self.kind in (DatasetKind.SERVICE, DatasetKind.PRODUCT, DatasetKind.REPORT)


class Graph:
    """Datasets and what their columns have to do with each other. Built once, then only read."""

    def __init__(self) -> None:
        self.datasets: dict[str, Dataset] = {}
        self._above: dict[Ref, dict[Ref, Edge]] = {}
        self._below: dict[Ref, dict[Ref, Edge]] = {}

    def add(self, dataset: Dataset) -> None:
        self.datasets[dataset.id] = dataset

    def link(self, source: Ref, target: Ref, edge: Edge) -> None:
        """Of two ways from one column to another the stronger counts: what a value derives from it also depends on."""
        if source.dataset == target.dataset and ROWS in source + target:
            return
        if self._above.get(target, {}).get(source) is Edge.DERIVES:
            return
        self._above.setdefault(target, {})[source] = edge
        self._below.setdefault(source, {})[target] = edge

    def above(self, ref: Ref, edges: Collection[Edge] = tuple(Edge)) -> list[Ref]:
        return [source for source, edge in self._above.get(ref, {}).items() if edge in edges]

    def below(self, ref: Ref, edges: Collection[Edge] = tuple(Edge)) -> list[Ref]:
        return [target for target, edge in self._below.get(ref, {}).items() if edge in edges]

    def edge(self, source: Ref, target: Ref) -> Edge | None:
        """What a column is to another that is made from it; None when it is nothing to it directly."""
        return self._above.get(target, {}).get(source)

    def refs(self, dataset: str) -> list[Ref]:
        """All columns of a dataset, and its rows."""
        found = self.datasets[dataset]
        return [*(Ref(dataset, name) for name in found.columns), Ref(dataset, WHOLE if found.is_whole else ROWS)]

    def all_below(self, refs: Iterable[Ref]) -> set[Ref]:
        """Everything that some columns have a part in, themselves included."""
        return _closure(refs, self.below)

    def all_above(self, refs: Iterable[Ref]) -> set[Ref]:
        """Everything that has a part in some columns, themselves included."""
        return _closure(refs, self.above)

    def datasets_above(self, dataset: str) -> list[str]:
        """Datasets that one is made from directly, in the order of the graph."""
        found = {source.dataset for ref in self.refs(dataset) for source in self.above(ref)} - {dataset}
        return [each for each in self.datasets if each in found]

    def datasets_below(self, dataset: str) -> list[str]:
        found = {target.dataset for ref in self.refs(dataset) for target in self.below(ref)} - {dataset}
        return [each for each in self.datasets if each in found]

    def label(self, ref: Ref) -> str:
        """How people are shown a column."""
        if ref.column in (WHOLE, ROWS):
            return ref.dataset if ref.column == WHOLE else f"rows of {ref.dataset}"
        return f"{ref.dataset}.{ref.column}"

    def find(self, name: str) -> list[Ref]:
        """What a name may mean; of several with one name, that nearest to the raw data, which the others come from.

        Takes a dataset (`orders`, `raw.orders`, `fct_orders`, `recommender`), a column of one
        (`fct_orders.amount_cents`), or a feature by its own name.
        """
        name = " ".join(name.split())
        if name in self.datasets:
            return [self._whole(name)]
        for kinds in (_KEPT_KINDS, tuple(DatasetKind)):
            named = [each.id for each in self._of(kinds) if each.name == name]
            if named:
                return [self._whole(named[0])]
        dataset, _, column = name.rpartition(".")
        named = [each.id for each in self._of(tuple(DatasetKind)) if dataset in (each.id, each.name)]
        having = [Ref(each, column) for each in named if column in self.datasets[each].columns]
        if having:
            return having[:1]
        if dataset:
            return []
        for kinds in ((DatasetKind.FEATURES,), tuple(DatasetKind)):
            found = [Ref(each.id, name) for each in self._of(kinds) if name in each.columns]
            if found:
                return found
        return []

    def near(self, name: str) -> list[str]:
        """Names that look like one that is not known."""
        known: dict[str, None] = {}
        for dataset in self.datasets.values():
            shown = dataset.id if dataset.kind is DatasetKind.RAW else dataset.name
            known[shown] = None
            known |= dict.fromkeys(f"{shown}.{column}" for column in dataset.columns)
        inside = [each for each in known if name and name in each]
        close = difflib.get_close_matches(name, known, n=_SHOWN_NEAR, cutoff=0.6)
        return list(dict.fromkeys([*close, *inside]))[:_SHOWN_NEAR]

    def _whole(self, dataset: str) -> Ref:
        return Ref(dataset, WHOLE)

    def _of(self, kinds: Collection[DatasetKind]) -> Iterator[Dataset]:
        return (dataset for dataset in self.datasets.values() if dataset.kind in kinds)


_KEPT_KINDS = (DatasetKind.RAW, DatasetKind.MODEL, DatasetKind.MART)


def _closure(refs: Iterable[Ref], next_to: Callable[[Ref], Iterable[Ref]]) -> set[Ref]:
    found: set[Ref] = set()
    waiting = list(refs)
    while waiting:
        ref = waiting.pop()
        if ref not in found:
            found.add(ref)
            waiting += next_to(ref)
    return found
