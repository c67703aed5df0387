"""Judges single rows: columns and types first, then each rule about one row, the first broken one claiming it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from great_expectations.expectations.expectation import Expectation

from expectations.budgets import table_budget
from expectations.casting import Conformed, conform_text, conform_typed
from expectations.conservation import with_bookkeeping
from expectations.frames import delivered_frame, open_days
from expectations.structure import check_structure
from expectations.suites.arrivals import ARRIVAL_SUITES
from expectations.suites.arrivals.from_contract import Arrival, History
from expectations.validation import ROW, Finding, validate
from expectations.verdicts import RuleResult, Status
from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.stores.landing import Batch

_NO_HISTORY = History()


@dataclass(frozen=True)
class RowJudgement:
    """Rows of a batch after the rules about single rows.

    Attributes:
        accepted: Rows that broke none, in `raw_schema`; duplicates are still among them.
        findings: One per row rule, in the order in which they apply. Each failing row is claimed by the first rule
            that it broke, by its position in the rows as delivered.
        conformed: All rows in the contract's types, in the order of delivery.
        structure: What was found about columns and types; it passed.
    """

    accepted: pa.Table
    findings: list[Finding]
    conformed: Conformed
    structure: list[RuleResult]


class BadStructure(DataFailed):
    """Rows whose columns or types are not the contract's, so that no single row can be judged."""

    def __init__(self, table: str, structure: list[RuleResult]) -> None:
        broken = "; ".join(rule.sentence() for rule in structure if rule.is_bad)
        super().__init__(f"{table}: {broken}")
        self.structure = structure


def judge_rows(
    settings: Settings,
    batch: Batch,
    rows: pa.Table,
    *,
    waived: frozenset[str] = frozenset(),
    history: History = _NO_HISTORY,
) -> RowJudgement:
    """Judge single rows of a batch, apart from the rules about the batch as a whole.

    Args:
        batch: Whose days, table and format (typed or text) the rows have.
        rows: As delivered, in columns of the contract.
        waived: Names of rules that somebody vouches for. Only those whose meta says `waivable` are left out.

    Raises:
        BadStructure: The columns or their types are not the contract's.
    """
    table = CONTRACT[batch.table]
    structure = check_structure(table, rows, batch.format == "text")
    if any(rule.is_bad for rule in structure):
        raise BadStructure(table.name, structure)
    try:
        conformed = conform_text(table, rows) if batch.format == "text" else conform_typed(table, rows)
    except pa.ArrowInvalid:
        found = RuleResult("column_types", "batch", Status.FAILED, "a number out of range", "the contract's types")
        raise BadStructure(table.name, [*structure, found]) from None
    suite = ARRIVAL_SUITES[table.name](arrival_of(settings, batch, rows.column_names, history))
    applied = [rule for rule in of_scopes(suite, (ROW,), rows.num_rows) if not _is_waived(rule, waived)]
    findings, failing = _claim_rows(validate(delivered_frame(table, conformed), applied), conformed)
    kept = conformed.rows.filter(pc.invert(pa.array(failing)))
    accepted = with_bookkeeping(table, kept, batch.id, batch.last_day, settings.zone)
    return RowJudgement(accepted, findings, conformed, structure)


def arrival_of(settings: Settings, batch: Batch, columns: Sequence[str], history: History) -> Arrival:
    """What the suite of a batch's table has to know about it.

    Args:
        columns: Names of the columns that were delivered.
    """
    return Arrival(
        table=CONTRACT[batch.table],
        first_day=batch.first_day,
        last_day=batch.last_day,
        clock=settings.shop_clock(batch.last_day),
        expected_day=max(open_days(settings, batch.first_day, batch.last_day), default=None),
        currency=settings.currency,
        delivered=frozenset(columns) & {column.name for column in CONTRACT[batch.table].columns},
        is_text=batch.format == "text",
        quarantine_budget=table_budget(settings, CONTRACT[batch.table]),
        history=history,
    )


def of_scopes(expectations: Sequence[Expectation], scopes: tuple[str, ...], count_rows: int) -> list[Expectation]:
    """The expectations of some scopes; those that say nothing about an empty frame only where there are rows."""
    return [
        expectation
        for expectation in expectations
        if (expectation.meta or {})["scope"] in scopes
        and (count_rows or not (expectation.meta or {}).get("if_rows", False))
    ]


def _is_waived(expectation: Expectation, waived: frozenset[str]) -> bool:
    meta = expectation.meta or {}
    return meta["rule"] in waived and bool(meta.get("waivable", False))


def _claim_rows(findings: Sequence[Finding], conformed: Conformed) -> tuple[list[Finding], np.ndarray]:
    """Give each failing row to the first rule that it breaks, so that counts add up; also marks all failing rows."""
    deletes = pc.fill_null(pc.equal(conformed.rows.column("_op"), "delete"), False).to_numpy()
    failing = np.zeros(conformed.rows.num_rows, dtype=bool)
    claimed = []
    for finding in findings:
        own = finding.positions[~failing[finding.positions]]
        if not finding.meta["holds_for_deletes"]:
            own = own[~deletes[own]]
        failing[own] = True
        if finding.status is not Status.UNKNOWN:
            status = Status.SET_ASIDE if len(own) else Status.PASSED
            finding = replace(finding, positions=own, status=status, observed=broken_rows(len(own)))
        claimed.append(finding)
    return claimed, failing


def broken_rows(count: int) -> str:
    """What a row rule observed."""
    return f"{count:,} rows that do not"
