"""The gates, each one call. Verdicts are stored before anything is published, incidents after."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from great_expectations.exceptions import GreatExpectationsError

from expectations.arrivals import Judged, judge_chunks, refused, unchanged, unjudged, with_form
from expectations.budgets import check_settings
from expectations.forms import Change, record_form
from expectations.history import history_before, recent_values
from expectations.incidents import FormChange, change_key, tell
from expectations.marts import judge_staged
from expectations.model_inputs import judge_training_set
from expectations.suites.model_inputs.facts import ModelInputConfig
from expectations.verdicts import Gate, RuleResult, Status, Verdict, record
from ml.outcomes import DataFailed, ToolFailed
from ml.settings import Settings
from ml.shop.contract import CONTRACT, REQUIRED_TABLES
from ml.stores.landing import Batch, Landing
from ml.stores.operations import Operations, gate_verdicts
from ml.stores.quarantine import Quarantine
from ml.stores.raw import RawStore
from ml.stores.warehouse import Marts

Affected = Callable[[str, Sequence[str]], list[str]]
"""Table and columns -> names of what depends on them: models of the warehouse, features."""
CHUNK_ROWS = 2_000_000
"""Rows of a batch that are in memory at a time; a larger batch is judged in chunks of at most so many."""


def judge_arrivals(settings: Settings, partition: date, affected: Affected | None = None) -> dict[str, Any]:
    """Judge what landed for a shop day and publish what passed, in one step.

    Batches that were accepted before are left alone, so the same day again changes nothing.

    Args:
        affected: Tells what depends on columns of a table that changed.

    Returns:
        Per table: batch, status and counts of rows.

    Raises:
        DataFailed: A required table is missing or broke a rule; nothing of the day was published.
        ToolFailed: A check could not do its work; nothing of the day was published.
        SettingsError: A budget or an owner is set for a table or rule that there is not.
    """
    check_settings(settings)
    operations, raw = Operations.from_settings(settings), RawStore(settings)
    landing = Landing(settings.shop_dir / "landing")
    accepted = raw.accepted()
    landed = landing.delivered(partition)
    judged = []
    for batch in landed:
        if (batch.table, batch.id) not in accepted:
            found = _judge(settings, landing, raw, batch, accepted)
            recent = partial(recent_values, raw, CONTRACT[batch.table], batch.first_day)
            judged.append(with_form(found, _last_accepted(landing, batch, accepted), recent))
    verdicts = [*_arrival_of_required(operations, landed, partition), *(each.verdict for each in judged)]
    if must_stop := _must_stop(verdicts):
        verdicts = [_held_back(verdict) for verdict in verdicts]
    else:
        quarantine = Quarantine(settings, operations)
        for entry in (entry for each in judged for entry in each.set_aside):
            quarantine.set_aside(entry)
    # Verdicts come before the publication: after a crash between the two the same batches are judged again.
    record(operations, verdicts)
    let_through = [each.accepted for each in judged if each.accepted is not None]
    if let_through and not must_stop:
        raw.append(let_through)
    changes = _changes(operations, judged, affected)
    tell(operations, verdicts, changes)
    if must_stop:
        _stop(verdicts, changes)
    return {"partition": partition.isoformat(), "tables": _counts(operations, landed)}


def judge_marts(settings: Settings, partition: date, marts: Marts) -> dict[str, Any]:
    """Judge the marts of a build that waits for publication.

    Raises:
        DataFailed: A mart broke a rule; the build must not be published.
        ToolFailed: A check could not do its work.
    """
    current = marts.store.current()
    published = Marts(marts.store, current) if current else None
    return _conclude(settings, partition, judge_staged(settings, partition, marts, published))


def judge_model_inputs(
    settings: Settings, rows: pd.DataFrame | Path, config: ModelInputConfig, *, partition: date, version: str
) -> dict[str, Any]:
    """Judge a training set.

    Args:
        rows: A frame, or the Parquet file (or folder of files) that holds it.
        version: Names the training set in the verdict.

    Raises:
        DataFailed: It broke a rule; no model may be trained on it.
        ToolFailed: A check could not do its work.
    """
    return _conclude(settings, partition, [judge_training_set(rows, config, partition, version)])


def _conclude(settings: Settings, partition: date, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    operations = Operations.from_settings(settings)
    record(operations, verdicts)
    tell(operations, verdicts)
    if any(verdict.bad_rules for verdict in verdicts):
        _stop(verdicts)
    objects = {
        verdict.object: {"status": verdict.status.value, "rows": verdict.rows_in, "rules": len(verdict.rules)}
        for verdict in verdicts
    }
    return {"partition": partition.isoformat(), "objects": objects}


def _judge(settings: Settings, landing: Landing, raw: RawStore, batch: Batch, accepted: set[tuple[str, str]]) -> Judged:
    if batch.same_as is not None and (batch.table, batch.same_as) in accepted:
        return unchanged(batch)
    try:
        chunks, unparsed = landing.read_chunks(batch, CHUNK_ROWS), landing.read_unparsed(batch)
    except DataFailed as error:
        return refused(batch, "bytes_match_manifest", str(error), "the bytes that were landed")
    try:
        history = history_before(raw, CONTRACT[batch.table], batch.first_day)
        keep = partial(raw.write_chunk, batch.table, batch.id) if batch.rows > CHUNK_ROWS else None
        return judge_chunks(settings, batch, chunks, unparsed, history, keep)
    except ToolFailed as error:
        return unjudged(batch, str(error))
    except (GreatExpectationsError, duckdb.Error, pa.ArrowException) as error:
        # The message may quote a value, so only its kind is told.
        return unjudged(batch, f"the gate raised {type(error).__name__}")


def _last_accepted(landing: Landing, batch: Batch, accepted: set[tuple[str, str]]) -> Batch | None:
    """The delivery of the same table that was accepted for the newest day, up to this one's."""
    found = [
        each for each in landing.deliveries(batch.table, up_to=batch.last_day) if (each.table, each.id) in accepted
    ]
    return max(found, key=lambda each: (each.last_day, each.landed_at), default=None)


def _changes(operations: Operations, judged: Sequence[Judged], affected: Affected | None) -> dict[str, FormChange]:
    """How the forms of the judged deliveries changed, by batch; forms that were not seen before are remembered."""
    changes = {}
    for each in judged:
        if each.form is None:
            continue
        record_form(operations, each.batch, each.form)
        names: list[str] | None = None
        if each.form.change is Change.BREAKING and affected is not None:
            try:
                names = affected(each.batch.table, each.form.columns)
            except (DataFailed, ToolFailed):
                names = None  # that a delivery changed must be told, whether or not its effect is known
        changes[change_key(each.verdict)] = FormChange(each.form, names)
    return changes


def _arrival_of_required(operations: Operations, landed: Sequence[Batch], partition: date) -> list[Verdict]:
    """A verdict for each required table that did not arrive, and for each that was missed before and now did."""
    verdicts = []
    arrived = {batch.table for batch in landed}
    for table in REQUIRED_TABLES:
        missing_id = f"{partition}.missing"
        missed_before = operations.rows(
            gate_verdicts, gate=Gate.ARRIVALS.value, object=table, batch_id=missing_id, status=Status.FAILED.value
        )
        if table in arrived and not missed_before:
            continue
        status = Status.PASSED if table in arrived else Status.FAILED
        observed = "one" if table in arrived else "none"
        rule = RuleResult("arrived", "batch", status, observed, f"a batch of the required table for {partition}")
        verdicts.append(Verdict(Gate.ARRIVALS, table, missing_id, partition, (rule,)))
    return verdicts


def _must_stop(verdicts: Iterable[Verdict]) -> bool:
    return any(
        verdict.status is Status.UNKNOWN or (verdict.status is Status.FAILED and verdict.object in REQUIRED_TABLES)
        for verdict in verdicts
    )


def _held_back(verdict: Verdict) -> Verdict:
    """A verdict whose batch stays in landing because another table of the day stops the publication."""
    if verdict.status is not Status.PASSED or not verdict.rows_in:
        return verdict
    held = RuleResult("publication", "batch", Status.WARNED, "held back", "every required table of the day to pass")
    return replace(verdict, rules=(*verdict.rules, held), rows_published=0, rows_quarantined=0, rows_collapsed=0)


def _stop(verdicts: Sequence[Verdict], changes: Mapping[str, FormChange] | None = None) -> None:
    bad = [verdict for verdict in verdicts if verdict.bad_rules]
    messages = []
    for verdict in bad:
        change = (changes or {}).get(change_key(verdict))
        told = f". {change.sentence()}" if change and change.form.change is Change.BREAKING else ""
        messages.append(f"{verdict.object} ({verdict.batch_id}): {verdict.sentences()}{told}")
    message = " | ".join(messages)
    if any(verdict.status is Status.UNKNOWN for verdict in bad):
        raise ToolFailed(message)
    raise DataFailed(message)


def _counts(operations: Operations, landed: Sequence[Batch]) -> dict[str, dict[str, Any]]:
    counted = ("rows_in", "rows_published", "rows_quarantined", "rows_collapsed")
    counts: dict[str, dict[str, Any]] = {}
    for batch in landed:
        for row in operations.rows(gate_verdicts, gate=Gate.ARRIVALS.value, object=batch.table, batch_id=batch.id):
            before = counts.get(batch.table, {})
            sums = {name: before.get(name, 0) + row[name] for name in counted}
            is_bad_before = before.get("status", Status.PASSED.value) != Status.PASSED.value
            status = before["status"] if is_bad_before else row["status"]
            counts[batch.table] = {"batch_id": row["batch_id"], "status": status, **sums}
    return counts
