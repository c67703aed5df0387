"""Judges one landed batch: structure, then rows, then what is left as a whole."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.expectations.expectation import Expectation

from expectations.casting import Conformed, conform_text, conform_typed
from expectations.conservation import assert_conserved, collapse_duplicates, count_late, with_bookkeeping
from expectations.frames import accepted_frame, baseline, delivered_frame, judged_days, open_days
from expectations.history import FEWEST_VALUES
from expectations.structure import check_structure
from expectations.suites.arrivals import ARRIVAL_SUITES
from expectations.suites.arrivals.from_contract import NONZERO, Arrival, History
from expectations.validation import ACCEPTED, DAYS, DELIVERED, ROW, Finding, validate
from expectations.verdicts import Gate, RuleResult, Status, Verdict
from ml.settings import Settings
from ml.shop.contract import CONTRACT, Table
from ml.stores.landing import Batch
from ml.stores.quarantine import SetAside
from ml.stores.raw import SET_ASIDE_SCHEMA, AcceptedBatch, raw_schema

UNPARSED_RULE = "line_unparsed"


@dataclass(frozen=True)
class Judged:
    """A batch with its verdict.

    Attributes:
        accepted: What goes to raw; None unless the verdict is passed.
        set_aside: What goes to quarantine; empty unless the verdict is passed.
    """

    batch: Batch
    verdict: Verdict
    accepted: AcceptedBatch | None = None
    set_aside: tuple[SetAside, ...] = ()


def judge_batch(settings: Settings, batch: Batch, rows: pa.Table, unparsed: pa.Table, history: History) -> Judged:
    """Judge a batch as it was delivered.

    Args:
        rows: The batch's rows as landed.
        unparsed: Lines that could not be split into columns.
        history: What accepted rows of the days before were like.
    """
    table = CONTRACT[batch.table]
    structure = check_structure(table, rows, batch.format == "text")
    if any(rule.is_bad for rule in structure):
        return Judged(batch, _verdict(batch, structure))
    try:
        conformed = conform_text(table, rows) if batch.format == "text" else conform_typed(table, rows)
    except pa.ArrowInvalid:
        found = RuleResult("column_types", "batch", Status.FAILED, "a number out of range", "the contract's types")
        return Judged(batch, _verdict(batch, [*structure, found]))
    arrival = _arrival(settings, batch, rows.column_names, history)
    return _judge_content(settings, batch, rows, unparsed, structure, conformed, arrival)


def _arrival(settings: Settings, batch: Batch, columns: Sequence[str], history: History) -> Arrival:
    return Arrival(
        table=CONTRACT[batch.table],
        first_day=batch.first_day,
        last_day=batch.last_day,
        clock=settings.shop_clock(batch.last_day),
        expected_day=max(open_days(settings, batch.first_day, batch.last_day), default=None),
        currency=settings.currency,
        delivered=frozenset(columns) & {column.name for column in CONTRACT[batch.table].columns},
        is_text=batch.format == "text",
        history=history,
    )


def _judge_content(
    settings: Settings,
    batch: Batch,
    rows: pa.Table,
    unparsed: pa.Table,
    structure: list[RuleResult],
    conformed: Conformed,
    arrival: Arrival,
) -> Judged:
    table = arrival.table
    suite = ARRIVAL_SUITES[table.name]
    delivered = _for(suite(arrival), (ROW, DELIVERED), rows.num_rows)
    findings = validate(delivered_frame(table, conformed), delivered)
    row_findings, failing = _claim_rows(findings, conformed)
    keep = pc.invert(pa.array(failing))
    kept = with_bookkeeping(table, conformed.rows.filter(keep), batch.id, batch.last_day, settings.zone)
    left = collapse_duplicates(table, kept)

    judged_from, history = baseline(table, batch, left, arrival.history)
    arrival = replace(arrival, history=history)
    frame, counted = accepted_frame(table, left, judged_from), judged_days(settings, batch, left, judged_from)
    later = [
        *validate(frame, _enough_values(_for(suite(arrival), (ACCEPTED,), left.num_rows), frame)),
        *validate(counted, _for(suite(arrival), (DAYS,), len(counted))),
    ]

    set_aside = _set_aside(batch, rows, unparsed, row_findings)
    count_quarantined = sum(entry.rows.num_rows for entry in set_aside)
    count_collapsed = kept.num_rows - left.num_rows
    assert_conserved(table.name, batch.id, batch.rows, left.num_rows, count_quarantined, count_collapsed)
    rules = [
        *structure,
        *_unparsed_result(unparsed),
        *(finding.as_result() for finding in row_findings),
        *(finding.as_result() for finding in findings if finding.scope == DELIVERED),
        *(finding.as_result() for finding in later),
        _quarantined_share(table, batch.rows, count_quarantined),
    ]
    verdict = _verdict(batch, rules)
    if verdict.status is not Status.PASSED:
        return Judged(batch, verdict)
    accepted = AcceptedBatch(
        table=table.name,
        batch_id=batch.id,
        rows=left,
        set_aside_lines=_set_aside_lines(batch, conformed, row_findings),
        rows_in=batch.rows,
        rows_quarantined=count_quarantined,
        rows_collapsed=count_collapsed,
        rows_late=count_late(table, left, batch.first_day),
    )
    verdict = replace(
        verdict, rows_published=left.num_rows, rows_quarantined=count_quarantined, rows_collapsed=count_collapsed
    )
    return Judged(batch, verdict, accepted, set_aside)


def unchanged(batch: Batch) -> Judged:
    """The verdict on a snapshot that repeats an accepted one: all of it collapses into what is there."""
    table = CONTRACT[batch.table]
    same = RuleResult("unchanged", "batch", Status.PASSED, f"the content of batch {batch.same_as}", "accepted content")
    accepted = AcceptedBatch(
        table=table.name,
        batch_id=batch.id,
        rows=raw_schema(table).empty_table(),
        set_aside_lines=SET_ASIDE_SCHEMA.empty_table(),
        rows_in=batch.rows,
        rows_quarantined=0,
        rows_collapsed=batch.rows,
        rows_late=0,
    )
    return Judged(batch, replace(_verdict(batch, [same]), rows_collapsed=batch.rows), accepted)


def refused(batch: Batch, rule: str, observed: str, expected: str) -> Judged:
    """The verdict on a batch that could not even be opened."""
    return Judged(batch, _verdict(batch, [RuleResult(rule, "batch", Status.FAILED, observed, expected)]))


def unjudged(batch: Batch, problem: str) -> Judged:
    """The verdict on a batch whose checks could not run at all."""
    rule = RuleResult("judged", "batch", Status.UNKNOWN, f"nothing: {problem}", "a verdict")
    return Judged(batch, _verdict(batch, [rule]))


def _verdict(batch: Batch, rules: Sequence[RuleResult]) -> Verdict:
    return Verdict(Gate.ARRIVALS, batch.table, batch.id, batch.last_day, tuple(rules), rows_in=batch.rows)


def _for(expectations: Sequence[Expectation], scopes: tuple[str, ...], count_rows: int) -> list[Expectation]:
    """The expectations of some scopes; those that say nothing about an empty frame only where there are rows."""
    return [
        expectation
        for expectation in expectations
        if (expectation.meta or {})["scope"] in scopes
        and (count_rows or not (expectation.meta or {}).get("if_rows", False))
    ]


def _enough_values(expectations: Sequence[Expectation], frame: pd.DataFrame) -> list[Expectation]:
    """Without expectations about the scale of a column that has too few values to tell."""
    return [
        expectation
        for expectation in expectations
        if not (column := getattr(expectation, "column", "")).startswith(NONZERO.format(""))
        or frame[column].count() >= FEWEST_VALUES
    ]


def _claim_rows(findings: Sequence[Finding], conformed: Conformed) -> tuple[list[Finding], np.ndarray]:
    """Give each failing row to the first rule that it breaks, so that counts add up; also marks all failing rows."""
    deletes = pc.fill_null(pc.equal(conformed.rows.column("_op"), "delete"), False).to_numpy()
    failing = np.zeros(conformed.rows.num_rows, dtype=bool)
    claimed = []
    for finding in findings:
        if finding.scope != ROW:
            continue
        own = finding.positions[~failing[finding.positions]]
        if not finding.meta["holds_for_deletes"]:
            own = own[~deletes[own]]
        failing[own] = True
        if finding.status is Status.SET_ASIDE:
            status = Status.SET_ASIDE if len(own) else Status.PASSED
            finding = replace(finding, positions=own, status=status, observed=f"{len(own):,} rows that do not")
        claimed.append(finding)
    return claimed, failing


def _set_aside(batch: Batch, rows: pa.Table, unparsed: pa.Table, findings: Sequence[Finding]) -> tuple[SetAside, ...]:
    entries = [
        SetAside(batch.table, batch.id, finding.rule, f"expected {finding.expected}", rows.take(finding.positions))
        for finding in findings
        if len(finding.positions)
    ]
    if unparsed.num_rows:
        reason = "expected a line that splits into the file's columns"
        entries.append(SetAside(batch.table, batch.id, UNPARSED_RULE, reason, unparsed))
    return tuple(entries)


def _set_aside_lines(batch: Batch, conformed: Conformed, findings: Sequence[Finding]) -> pa.Table:
    """Which orders lost a line, so that they can be marked incomplete."""
    pieces = [SET_ASIDE_SCHEMA.empty_table()]
    if batch.table == "order_lines":
        for finding in findings:
            orders = conformed.rows.column("order_id").take(finding.positions).drop_null().combine_chunks()
            count = len(orders)
            pieces.append(
                pa.table(
                    [
                        orders,
                        pa.repeat(pa.scalar(finding.rule, pa.string()), count),
                        pa.repeat(pa.scalar(batch.id, pa.string()), count),
                        pa.repeat(pa.scalar(batch.last_day, pa.date32()), count),
                    ],
                    schema=SET_ASIDE_SCHEMA,
                )
            )
    return pa.concat_tables(pieces)


def _unparsed_result(unparsed: pa.Table) -> list[RuleResult]:
    if not unparsed.num_rows:
        return []
    count = unparsed.num_rows
    expected = "every line to split into the file's columns"
    return [RuleResult(UNPARSED_RULE, ROW, Status.SET_ASIDE, f"{count:,} lines that do not", expected, count)]


def _quarantined_share(table: Table, rows_in: int, quarantined: int) -> RuleResult:
    share = quarantined / rows_in if rows_in else 0.0
    status = Status.FAILED if share > table.quarantine_budget else Status.PASSED
    expected = f"at most {table.quarantine_budget:.0%} of rows set aside"
    return RuleResult("quarantined_share", "batch", status, f"{share:.2%} ({quarantined:,} of {rows_in:,})", expected)
