"""A task's run as events: one when it begins, one when it ends, and those of the dbt models that it built."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from openlineage.client.event_v2 import RunEvent, RunState

from ml.lineage.delivery import Delivery, deliver, note
from ml.lineage.events import (
    Rule,
    TaskRun,
    Told,
    as_json,
    column_lineage_facet,
    dataset_name,
    model_event,
    schema_facet,
    task_event,
)
from ml.lineage.graph import DatasetKind
from ml.lineage.impact import models_graph
from ml.lineage.manifest import built_manifest
from ml.lineage.task_datasets import NOTHING, Ended, datasets_of, product_of
from ml.settings import Settings, wall_clock
from ml.shop.partition_keys import last_day_of

_BUILD = "build_models"
_MODEL_ENDS = {"success": RunState.COMPLETE, "error": RunState.FAIL, "fail": RunState.FAIL}


def tell_started(settings: Settings, task: TaskRun) -> datetime:
    """Send the event of a task that begins; returns the moment that it began."""
    moment = wall_clock()
    _send(settings, task, [task_event(settings, task, RunState.START, moment)])
    return moment


def tell_ended(
    settings: Settings,
    task: TaskRun,
    began: datetime | None,
    summary: Mapping[str, Any] | None = None,
    error: BaseException | None = None,
) -> None:
    """Send the events of a task that has ended.

    Args:
        began: None when even that could not be told.
        summary: What its step returned; None when it failed.
        error: Why it failed; None when it did not.
    """
    state = RunState.COMPLETE if error is None else RunState.FAIL
    ended = Ended(settings, _day(task), summary or {}, product_of(task.dag_id))
    problem: str | None = None
    try:
        inputs, outputs = datasets_of(task.task_id, ended)
    except Exception as failure:  # noqa: BLE001  # that a task has ended is told even when what it read cannot be
        (inputs, outputs), problem = NOTHING, f"what {task.job} read is not known ({type(failure).__name__})"
    events = [task_event(settings, task, state, wall_clock(), inputs, outputs, error)]
    if task.task_id == _BUILD and began is not None:
        events = [*build_events(settings, task, began, ended.summary.get("rows", {})), *events]
    _send(settings, task, events, problem)


def build_events(settings: Settings, task: TaskRun, began: datetime, rows: Mapping[str, int]) -> list[RunEvent]:
    """Events of each mart that dbt built since a moment, with its columns' lineage, and of dbt's tests."""
    manifest, results = built_manifest(settings), _results(settings, began)
    if manifest is None or not results:
        return []
    graph = models_graph(manifest.content)
    events = []
    for dataset in graph.datasets.values():
        result = results.get(f"model.{dataset.name}")
        if dataset.kind is not DatasetKind.MART or result is None or result["status"] not in _MODEL_ENDS:
            continue
        facets = {
            "schema": schema_facet(graph, dataset.id),
            "columnLineage": column_lineage_facet(settings, graph, dataset.id),
        }
        inputs = [Told(dataset_name(graph, each)) for each in graph.datasets_above(dataset.id)]
        output = Told(dataset.name, rows.get(dataset.name), facets=facets)
        first, last = _times(result, began)
        events += [
            model_event(settings, task, dataset.name, RunState.START, first, inputs),
            model_event(settings, task, dataset.name, _MODEL_ENDS[result["status"]], last, inputs, [output]),
        ]
    return [*events, *_tests_events(settings, task, began, manifest.content, results)]


def _tests_events(
    settings: Settings, task: TaskRun, began: datetime, manifest: Mapping[str, Any], results: Mapping[str, Any]
) -> Iterator[RunEvent]:
    rules: dict[str, list[Rule]] = {}
    failed = False
    for node in manifest["nodes"].values():
        result = results.get(f"test.{node['name']}")
        if node["resource_type"] != "test" or result is None or result["status"] == "skipped":
            continue
        passed = result["status"] == "pass"
        failed |= not passed and result["status"] != "warn"
        rule = Rule(node["name"], passed, is_warning=result["status"] == "warn", column=node.get("column_name"))
        attached = node.get("attached_node") or ""
        if attached.startswith("model."):
            rules.setdefault(attached.split(".")[-1], []).append(rule)
    inputs = [Told(name, rules=found) for name, found in sorted(rules.items())]
    state = RunState.FAIL if failed else RunState.COMPLETE
    if inputs:
        yield model_event(settings, task, "tests", RunState.START, began)
        yield model_event(settings, task, "tests", state, wall_clock(), inputs)


def _results(settings: Settings, began: datetime) -> dict[str, dict[str, Any]]:
    """dbt's results by kind and name; none when they are of an earlier build."""
    try:
        content = json.loads((settings.shop_dir / "dbt" / "target" / "run_results.json").read_bytes())
    except (OSError, ValueError):
        return {}
    if datetime.fromisoformat(content["metadata"]["generated_at"]) < began:
        return {}
    return {".".join(each["unique_id"].split(".")[::2][:2]): each for each in content["results"]}


def _times(result: Mapping[str, Any], began: datetime) -> tuple[datetime, datetime]:
    moments = [
        datetime.fromisoformat(each[name])
        for each in result.get("timing", ())
        for name in ("started_at", "completed_at")
        if each.get(name)
    ]
    return min(moments, default=began), max(moments, default=wall_clock())


def _day(task: TaskRun) -> str:
    try:
        return last_day_of(task.partition).isoformat()
    except ValueError:
        return ""


def _send(settings: Settings, task: TaskRun, events: list[RunEvent], problem: str | None = None) -> None:
    delivery = deliver(settings, [as_json(event) for event in events])
    if problem is not None and delivery.problem is None:
        delivery = Delivery(delivery.sent, delivery.unsent, problem)
    note(settings, _day(task) or f"{wall_clock():%Y-%m-%d}", delivery)


def note_untold(settings: Settings, task: TaskRun, error: Exception) -> None:
    """Count an event that could not even be made."""
    note(settings, _day(task) or f"{wall_clock():%Y-%m-%d}", Delivery(0, 1, f"not made ({type(error).__name__})"))
