"""OpenLineage events: what ran, for which day of the shop, on what, and what a gate found. Names and counts only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import attr
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    data_quality_assertions_dataset,
    data_quality_metrics_input_dataset,
    dataset_version_dataset,
    error_message_run,
    job_type_job,
    output_statistics_output_dataset,
    parent_run,
    schema_dataset,
)
from openlineage.client.generated.base import RunFacet
from openlineage.client.serde import Serde

from ml.lineage.columns import ROWS, Ref
from ml.lineage.graph import DatasetKind, Edge, Graph
from ml.settings import Settings

_PRODUCER = f"shopwright://releases/{installed_version('shopwright')}"
_NO_COLUMNS = (ROWS, "")


@attr.define
class PartitionRunFacet(RunFacet):
    """The shop day, or the week of shop days, that a run is for."""

    partition: str

    @staticmethod
    def _get_schema() -> str:
        return "shopwright://facets/1/PartitionRunFacet.json"


@dataclass(frozen=True)
class TaskRun:
    """One attempt of a task, as its scheduler names it."""

    dag_id: str
    task_id: str
    run_id: str
    attempt: int
    partition: str | None

    @property
    def job(self) -> str:
        return f"{self.dag_id}.{self.task_id}"


@dataclass(frozen=True)
class Rule:
    """What a rule of a gate found of a dataset."""

    name: str
    success: bool
    is_warning: bool = False
    column: str | None = None


@dataclass(frozen=True)
class Told:
    """What is told of a dataset.

    Attributes:
        name: As in `shopwright lineage`: "raw.orders", "fct_orders".
        rows: Rows that were read or written.
        version: The published version that was read or written.
    """

    name: str
    rows: int | None = None
    version: str | None = None
    rules: Sequence[Rule] = ()
    facets: Mapping[str, Any] = field(default_factory=dict)


def namespace(settings: Settings) -> str:
    return f"shopwright://{settings.shop_id}"


def run_id(settings: Settings, *parts: object) -> str:
    """The same for the same attempt, whichever process asks."""
    return str(uuid5(NAMESPACE_URL, "/".join([namespace(settings), *map(str, parts)])))


def task_event(
    settings: Settings,
    task: TaskRun,
    state: RunState,
    moment: datetime,
    inputs: Iterable[Told] = (),
    outputs: Iterable[Told] = (),
    error: BaseException | None = None,
) -> RunEvent:
    """An event of a task's attempt; its parent is the run of its DAG."""
    parent = _parent(settings, run_id(settings, task.dag_id, task.run_id), task.dag_id)
    own = run_id(settings, task.dag_id, task.run_id, task.task_id, task.attempt)
    facets = {**_run_facets(task.partition, error), "parent": parent}
    return _event(settings, state, moment, Run(own, facets), task.job, "AIRFLOW", "TASK", inputs, outputs)


def model_event(
    settings: Settings,
    task: TaskRun,
    model: str,
    state: RunState,
    moment: datetime,
    inputs: Iterable[Told] = (),
    outputs: Iterable[Told] = (),
) -> RunEvent:
    """An event of one dbt model, or of dbt's tests; its parent is the task that ran dbt."""
    above = run_id(settings, task.dag_id, task.run_id, task.task_id, task.attempt)
    own = run_id(settings, task.dag_id, task.run_id, task.task_id, task.attempt, model)
    facets = {**_run_facets(task.partition, None), "parent": _parent(settings, above, task.job)}
    return _event(settings, state, moment, Run(own, facets), f"dbt.{model}", "DBT", "MODEL", inputs, outputs)


def as_json(event: RunEvent) -> str:
    """One line."""
    return Serde.to_json(event)


def schema_facet(graph: Graph, dataset: str) -> schema_dataset.SchemaDatasetFacet:
    fields = [schema_dataset.SchemaDatasetFacetFields(name, type_) for name, type_ in _columns(graph, dataset)]
    return schema_dataset.SchemaDatasetFacet(fields=fields, producer=_PRODUCER)


def column_lineage_facet(
    settings: Settings, graph: Graph, dataset: str
) -> column_lineage_dataset.ColumnLineageDatasetFacet:
    """Direct sources of each column: those that it is computed from, and those that only decide its value or rows."""
    fields = {
        name: column_lineage_dataset.Fields(inputFields=_input_fields(settings, graph, Ref(dataset, name)))
        for name, _ in _columns(graph, dataset)
    }
    rows = _input_fields(settings, graph, Ref(dataset, ROWS))
    return column_lineage_dataset.ColumnLineageDatasetFacet(fields=fields, dataset=rows, producer=_PRODUCER)


def dataset_name(graph: Graph, dataset: str) -> str:
    """The name of a dataset in events: that which `shopwright lineage` takes."""
    found = graph.datasets[dataset]
    return found.id if found.kind is DatasetKind.RAW else found.name


def _columns(graph: Graph, dataset: str) -> list[tuple[str, str | None]]:
    return list(graph.datasets[dataset].columns.items())


def _input_fields(settings: Settings, graph: Graph, ref: Ref) -> list[column_lineage_dataset.InputField]:
    kinds = {Edge.DERIVES: "DIRECT", Edge.DEPENDS: "INDIRECT", Edge.READS: "INDIRECT"}
    fields = []
    for source in sorted(graph.above(ref)):
        edge = graph.edge(source, ref)
        if edge is None or source.column in _NO_COLUMNS:
            continue
        how = [column_lineage_dataset.Transformation(type=kinds[edge])]
        name = dataset_name(graph, source.dataset)
        fields.append(column_lineage_dataset.InputField(namespace(settings), name, source.column, how))
    return fields


def _event(
    settings: Settings,
    state: RunState,
    moment: datetime,
    run: Run,
    job: str,
    integration: str,
    job_type: str,
    inputs: Iterable[Told],
    outputs: Iterable[Told],
) -> RunEvent:
    type_ = job_type_job.JobTypeJobFacet("BATCH", integration, job_type, producer=_PRODUCER)
    return RunEvent(
        eventType=state,
        eventTime=moment.astimezone(UTC).isoformat(),
        run=run,
        job=Job(namespace(settings), job, {"jobType": type_}),
        inputs=[_input(settings, told) for told in inputs],
        outputs=[_output(settings, told) for told in outputs],
        producer=_PRODUCER,
    )


def _parent(settings: Settings, parent_id: str, job: str) -> parent_run.ParentRunFacet:
    return parent_run.ParentRunFacet(
        run=parent_run.Run(parent_id), job=parent_run.Job(namespace(settings), job), producer=_PRODUCER
    )


def _run_facets(partition: str | None, error: BaseException | None) -> dict[str, RunFacet]:
    facets: dict[str, RunFacet] = {}
    if partition:
        facets["shopwright_partition"] = PartitionRunFacet(partition, producer=_PRODUCER)
    if error is not None:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(_describe(error), "PYTHON", producer=_PRODUCER)
    return facets


def _describe(error: BaseException) -> str:
    """The kind of error; its text only where the house's own errors promise that it holds no value."""
    from ml.outcomes import DataFailed, ToolFailed

    return f"{type(error).__name__}: {error}" if isinstance(error, (DataFailed, ToolFailed)) else type(error).__name__


def _facets(told: Told) -> dict[str, Any]:
    facets = dict(told.facets)
    if told.version is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(told.version, producer=_PRODUCER)
    return facets


def _input(settings: Settings, told: Told) -> InputDataset:
    found: dict[str, Any] = {}
    if told.rules:
        found["dataQualityAssertions"] = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
            assertions=[
                data_quality_assertions_dataset.Assertion(
                    assertion=rule.name,
                    success=rule.success,
                    column=rule.column,
                    severity="warn" if rule.is_warning else "error",
                )
                for rule in told.rules
            ],
            producer=_PRODUCER,
        )
    if told.rows is not None:
        found["dataQualityMetrics"] = data_quality_metrics_input_dataset.DataQualityMetricsInputDatasetFacet(
            columnMetrics={}, rowCount=told.rows, producer=_PRODUCER
        )
    return InputDataset(namespace(settings), told.name, found, facets=_facets(told))


def _output(settings: Settings, told: Told) -> OutputDataset:
    found: dict[str, Any] = {}
    if told.rows is not None:
        found["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=told.rows, producer=_PRODUCER
        )
    return OutputDataset(namespace(settings), told.name, found, facets=_facets(told))
