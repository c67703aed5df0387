"""Judges one landed batch: structure, then rows, then what is left as a whole."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa
from great_expectations.expectations.expectation import Expectation

from expectations.budgets import UNPARSED_RULE, judge_budgets, table_budget
from expectations.casting import Conformed
from expectations.conservation import assert_conserved, collapse_duplicates
from expectations.forms import FORM_RULE, SAME, Change, Form, Recent, form_of
from expectations.rows import BadStructure as BadStructure
from expectations.rows import RowJudgement as RowJudgement
from expectations.rows import arrival_of, broken_rows, of_scopes
from expectations.rows import judge_rows as judge_rows
from expectations.suites.arrivals import ARRIVAL_SUITES
from expectations.suites.arrivals.from_contract import NONZERO, History
from expectations.totals import Totals
from expectations.validation import ACCEPTED, DAYS, DELIVERED, ROW, Finding, validate
from expectations.verdicts import Gate, RuleResult, Status, Verdict
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.stores.landing import Batch
from ml.stores.quarantine import SetAside
from ml.stores.raw import SET_ASIDE_SCHEMA, AcceptedBatch, raw_schema
from ml.stores.versions import Part

Keep = Callable[[int, pa.Table], Part]
_NO_HISTORY = History()


@dataclass(frozen=True)
class Judged:
    """A batch with its verdict.

    Attributes:
        accepted: What goes to raw; None unless the verdict is passed.
        set_aside: What goes to quarantine; empty unless the verdict is passed.
        sample: A chunk of the rows as landed; with a bad structure the one that showed it.
        compared: What the batch's measures were compared with.
        form: How it differs from what was accepted before; None when that was not looked at.
    """

    batch: Batch
    verdict: Verdict
    accepted: AcceptedBatch | None = None
    set_aside: tuple[SetAside, ...] = ()
    sample: pa.Table | None = None
    compared: History = _NO_HISTORY
    form: Form | None = None


def judge_batch(settings: Settings, batch: Batch, rows: pa.Table, unparsed: pa.Table, history: History) -> Judged:
    """Judge a batch as it was delivered.

    Args:
        rows: The batch's rows as landed.
        unparsed: Lines that could not be split into columns.
        history: What accepted rows of the days before were like.
    """
    return judge_chunks(settings, batch, [rows], unparsed, history)


def judge_chunks(
    settings: Settings,
    batch: Batch,
    chunks: Iterable[pa.Table],
    unparsed: pa.Table,
    history: History,
    keep: Keep | None = None,
) -> Judged:
    """Judge a batch of which only one chunk of rows is in memory at a time.

    Rules about the whole are judged on what is added up over the chunks. Duplicates collapse within a chunk; those
    across chunks are collapsed with those across batches, when the warehouse is built.

    Args:
        chunks: The batch's rows as landed, in their order; at least one chunk, be it empty.
        keep: Writes what is left of a chunk, by its number, as a part of raw that nobody sees yet.
            Without it, accepted rows stay in memory.
    """
    gathered = _Gathered(settings, batch, unparsed, history)
    for number, rows in enumerate(chunks):
        try:
            gathered.add(rows, judge_rows(settings, batch, rows, history=history), number, keep)
        except BadStructure as error:
            return Judged(batch, _verdict(batch, error.structure), sample=rows)
    return gathered.conclude()


class _Gathered:
    """What is known of a batch after some of its chunks."""

    def __init__(self, settings: Settings, batch: Batch, unparsed: pa.Table, history: History) -> None:
        self._settings, self._batch, self._history, self._unparsed = settings, batch, history, unparsed
        self._table = CONTRACT[batch.table]
        self._totals = Totals(self._table, batch, history)
        self._columns: list[str] = []
        self._sample: pa.Table | None = None
        self._structure: list[RuleResult] = []
        self._found: dict[str, RuleResult] = {}
        self._reasons: dict[str, str] = {}
        self._set_aside: dict[str, list[pa.Table]] = {}
        self._rows_set_aside = unparsed.num_rows
        self._rows_collapsed = 0
        self._left = [raw_schema(self._table).empty_table()]
        self._parts: list[Part] = []
        self._incomplete = [SET_ASIDE_SCHEMA.empty_table()]

    def add(self, rows: pa.Table, judged: RowJudgement, number: int, keep: Keep | None) -> None:
        left = collapse_duplicates(self._table, judged.accepted)
        self._columns, self._structure = rows.column_names, judged.structure
        self._sample = rows if self._sample is None else self._sample
        self._rows_collapsed += judged.accepted.num_rows - left.num_rows
        self._totals.add(judged.conformed.rows, left)
        for finding in judged.findings:
            self._add_finding(rows, finding)
        self._incomplete.append(_set_aside_lines(self._batch, judged.conformed, judged.findings))
        if keep is None:
            self._left.append(left)
        elif left.num_rows:
            self._parts.append(keep(number, left))

    def _add_finding(self, rows: pa.Table, finding: Finding) -> None:
        own, before = finding.as_result(), self._found.get(finding.rule)
        self._found[finding.rule] = own if before is None else _both(before, own)
        self._rows_set_aside += own.rows
        if not own.rows:
            return
        if self._rows_set_aside > table_budget(self._settings, self._table) * self._batch.rows:
            # The batch will be held whole, and nothing of it go to quarantine: its rows need no memory.
            self._set_aside.clear()
            return
        self._reasons[finding.rule] = f"expected {finding.expected}"
        self._set_aside.setdefault(finding.rule, []).append(rows.take(finding.positions))

    def conclude(self) -> Judged:
        batch, table, totals = self._batch, self._table, self._totals
        assert_conserved(
            table.name, batch.id, batch.rows, totals.rows_accepted, self._rows_set_aside, self._rows_collapsed
        )
        counts = {rule: result.rows for rule, result in self._found.items()} | {UNPARSED_RULE: self._unparsed.num_rows}
        rules = [
            *self._structure,
            *_unparsed_result(self._unparsed),
            *self._found.values(),
            *(finding.as_result() for finding in self._judge_whole()),
            *judge_budgets(self._settings, table, batch.rows, counts),
        ]
        verdict = _verdict(batch, rules)
        if verdict.status is not Status.PASSED:
            return Judged(batch, verdict, sample=self._sample, compared=totals.history())
        accepted = AcceptedBatch(
            table=table.name,
            batch_id=batch.id,
            rows=pa.concat_tables(self._left),
            set_aside_lines=pa.concat_tables(self._incomplete),
            rows_in=batch.rows,
            rows_quarantined=self._rows_set_aside,
            rows_collapsed=self._rows_collapsed,
            rows_late=totals.rows_late,
            parts=tuple(self._parts),
        )
        verdict = replace(
            verdict,
            rows_published=totals.rows_accepted,
            rows_quarantined=self._rows_set_aside,
            rows_collapsed=self._rows_collapsed,
        )
        return Judged(batch, verdict, accepted, self._entries(), self._sample, totals.history())

    def _judge_whole(self) -> list[Finding]:
        totals = self._totals
        delivered, accepted, days = totals.delivered_frame(), totals.accepted_frame(), totals.days_frame(self._settings)
        # A long first batch is compared with its own beginning, but whether it must have rows is told by real history.
        given = self._suite(self._history)
        compared = self._suite(totals.history())
        return [
            *validate(delivered, of_scopes(given, (DELIVERED,), totals.rows_delivered)),
            *validate(accepted, _enough_values(of_scopes(compared, (ACCEPTED,), totals.rows_accepted), accepted)),
            *validate(days, of_scopes(compared, (DAYS,), len(days))),
        ]

    def _suite(self, history: History) -> list[Expectation]:
        return ARRIVAL_SUITES[self._table.name](arrival_of(self._settings, self._batch, self._columns, history))

    def _entries(self) -> tuple[SetAside, ...]:
        name, batch_id = self._table.name, self._batch.id
        entries = [
            SetAside(name, batch_id, rule, self._reasons[rule], pa.concat_tables(pieces))
            for rule in self._found
            if (pieces := self._set_aside.get(rule))
        ]
        if self._unparsed.num_rows:
            reason = "expected a line that splits into the file's columns"
            entries.append(SetAside(name, batch_id, UNPARSED_RULE, reason, self._unparsed))
        return tuple(entries)


def _both(one: RuleResult, other: RuleResult) -> RuleResult:
    """What a row rule found in two chunks."""
    status = max(one.status, other.status, key=(Status.PASSED, Status.SET_ASIDE, Status.UNKNOWN).index)
    worse = one if one.status is status else other
    rows = one.rows + other.rows
    observed = worse.observed if status is Status.UNKNOWN else broken_rows(rows)
    return replace(worse, status=status, rows=rows, observed=observed)


def with_form(judged: Judged, previous: Batch | None, recent: Recent) -> Judged:
    """The judgement with what is different about the delivery's form; what changed too much is held by that alone.

    Args:
        previous: The last accepted delivery of the table.
    """
    if judged.sample is None or judged.verdict.status is Status.UNKNOWN:
        return replace(judged, sample=None)
    form = form_of(judged.batch, judged.sample, judged.verdict, previous, judged.compared, recent)
    if form.change is not Change.BREAKING or judged.verdict.status is not Status.PASSED:
        return replace(judged, form=form, sample=None)
    expected = "the form that was accepted before"
    held = RuleResult(FORM_RULE, "batch", Status.FAILED, "; ".join(form.differences), expected)
    verdict = _verdict(judged.batch, [*judged.verdict.rules, held])
    return Judged(judged.batch, verdict, form=replace(form, rules=form.rules | {FORM_RULE}))


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
    return Judged(batch, replace(_verdict(batch, [same]), rows_collapsed=batch.rows), accepted, form=SAME)


def refused(batch: Batch, rule: str, observed: str, expected: str) -> Judged:
    """The verdict on a batch that could not even be opened."""
    return Judged(batch, _verdict(batch, [RuleResult(rule, "batch", Status.FAILED, observed, expected)]))


def unjudged(batch: Batch, problem: str) -> Judged:
    """The verdict on a batch whose checks could not run at all."""
    rule = RuleResult("judged", "batch", Status.UNKNOWN, f"nothing: {problem}", "a verdict")
    return Judged(batch, _verdict(batch, [rule]))


def _verdict(batch: Batch, rules: Sequence[RuleResult]) -> Verdict:
    return Verdict(Gate.ARRIVALS, batch.table, batch.id, batch.last_day, tuple(rules), rows_in=batch.rows)


def _enough_values(expectations: Sequence[Expectation], frame: pd.DataFrame) -> list[Expectation]:
    """Without expectations about the scale of a column that has too few values to tell."""
    return [
        expectation
        for expectation in expectations
        if not (column := getattr(expectation, "column", "")).startswith(NONZERO.format("")) or frame[column].count()
    ]


def _set_aside_lines(batch: Batch, conformed: Conformed, findings: Sequence[Finding]) -> pa.Table:
    """Which orders lost a line, so that they can be marked incomplete."""
    pieces = [SET_ASIDE_SCHEMA.empty_table()]
    if batch.table == "order_lines":
        for finding in findings:
            orders = conformed.rows.column("order_id").take(finding.positions).drop_null().combine_chunks()
            count = len(orders)
            columns = {
                "order_id": orders,
                "rule": pa.repeat(pa.scalar(finding.rule, pa.string()), count),
                "_batch_id": pa.repeat(pa.scalar(batch.id, pa.string()), count),
                "_batch_date": pa.repeat(pa.scalar(batch.last_day, pa.date32()), count),
                "lines": pa.repeat(pa.scalar(1, pa.int64()), count),
            }
            pieces.append(pa.table({name: columns[name] for name in SET_ASIDE_SCHEMA.names}, SET_ASIDE_SCHEMA))
    return pa.concat_tables(pieces)


def _unparsed_result(unparsed: pa.Table) -> list[RuleResult]:
    if not unparsed.num_rows:
        return []
    count = unparsed.num_rows
    expected = "every line to split into the file's columns"
    return [RuleResult(UNPARSED_RULE, ROW, Status.SET_ASIDE, f"{count:,} lines that do not", expected, count)]
