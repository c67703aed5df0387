"""How the form of a delivery (its columns, types and units) differs from the contract and from the last accepted one.

Names of columns, types, counts and medians are told; values of rows never are.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from expectations.budgets import SHARE_RULE
from expectations.likeness import Likeness, likeness
from expectations.structure import misfits, missing_columns, nameable_unknown, unknown_columns
from expectations.suites.arrivals.from_contract import History
from expectations.verdicts import RuleResult, Status, Verdict
from ml.settings import wall_clock
from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Table
from ml.stores.landing import Batch
from ml.stores.operations import Operations, delivered_schemas

FORM_RULE = "form"
_WHOLE_UNITS = 100
_STRUCTURE_RULES = ("columns_present", "column_types")


class Change(StrEnum):
    SAME = "same"
    FIRST = "first"
    ADDITIVE = "additive"
    BREAKING = "breaking"


@dataclass(frozen=True)
class Form:
    """The form of one delivery.

    Attributes:
        differences: Sentences.
        columns: Columns of the contract that the differences are about.
        rules: Broken rules of the gate that say the same as the differences.
        delivered: Column -> type, as it was handed over.
        units: Columns whose values are no longer in the unit, or of the kinds, that they were.
    """

    change: Change
    differences: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rules: frozenset[str] = frozenset()
    delivered: Mapping[str, str] | None = None
    units: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        content = json.dumps([dict(self.delivered or {}), sorted(self.units)], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


SAME = Form(Change.SAME)


@dataclass(frozen=True)
class _Difference:
    sentence: str
    column: str | None = None
    rules: tuple[str, ...] = ()
    is_breaking: bool = False
    is_unit: bool = False


Recent = Callable[[str], pa.ChunkedArray | None]
"""Contract column -> values that were accepted of late, or None when there are none."""


def form_of(
    batch: Batch, rows: pa.Table, verdict: Verdict, previous: Batch | None, compared: History, recent: Recent
) -> Form:
    """Compare a judged delivery.

    Args:
        rows: A chunk of it as landed; of a delivery with a bad structure the chunk that showed it.
        previous: The last accepted delivery of the table.
        compared: What its amounts were compared with.
    """
    table = CONTRACT[batch.table]
    found = [
        *_columns(batch, table, rows, verdict, previous, recent),
        *_types(batch, table, rows, previous),
        *_scales(verdict, table, compared),
        *_new_kinds(verdict, table),
    ]
    is_breaking = any(difference.is_breaking for difference in found)
    if is_breaking:
        change = Change.BREAKING
    elif previous is None:
        change = Change.FIRST
    else:
        change = Change.ADDITIVE if found else Change.SAME
    broken = {rule.rule for rule in verdict.bad_rules}
    return Form(
        change,
        tuple(difference.sentence for difference in found),
        tuple(dict.fromkeys(difference.column for difference in found if difference.column)),
        frozenset(rule for difference in found for rule in difference.rules) & broken,
        {field.name: str(field.type) for field in rows.schema},
        tuple(difference.column for difference in found if difference.is_unit and difference.column),
    )


def record_form(operations: Operations, batch: Batch, form: Form) -> None:
    """Remember the form of a delivery once; what is known as breaking or accepted stays so until that changes."""
    if form.delivered is None:
        return
    key = {"table_name": batch.table, "schema_digest": form.digest}
    known = operations.rows(delivered_schemas, table_name=batch.table, schema_digest=form.digest)
    was_breaking = bool(known) and known[0]["change"] == Change.BREAKING.value
    if known and was_breaking == (form.change is Change.BREAKING):
        return
    row = {
        **key,
        "columns": dict(form.delivered),
        "change": (Change.FIRST if form.change is Change.SAME else form.change).value,
        "difference": list(form.differences),
        "contract_version": batch.contract_version,
        "first_batch_id": known[0]["first_batch_id"] if known else batch.id,
        "first_seen_at": known[0]["first_seen_at"] if known else wall_clock(),
    }
    operations.upsert(delivered_schemas, tuple(key), row)


def _columns(
    batch: Batch, table: Table, rows: pa.Table, verdict: Verdict, previous: Batch | None, recent: Recent
) -> list[_Difference]:
    before = set(previous.schema) if previous else set()
    failed = {rule.rule for rule in verdict.bad_rules}
    required = missing_columns(table, rows.schema)
    gone = [column.name for column in table.columns if column.name in before and column.name not in rows.column_names]
    unknown = [name for name in nameable_unknown(table, rows.schema) if name not in before]
    found = []
    for name in dict.fromkeys([*required, *gone]):
        likely = _renamed_to(batch, table, name, rows, unknown, recent)
        sentence = f"{name} is missing"
        if likely is not None:
            other, how = likely
            unknown.remove(other)
            sentence += f"; new column {other} ({rows.schema.field(other).type}) has {how}: renamed?"
        null_rule = f"{name}_null_share"
        # A column that may be absent, and hardly ever held anything, may go; one that goes by another name may not.
        is_breaking = name in required or null_rule in failed or (likely is not None and likely[1] == "values like it")
        found.append(_Difference(sentence, name, ("columns_present", null_rule), is_breaking))
    twice = sorted({name for name in rows.column_names if rows.column_names.count(name) > 1})
    known = {column.name for column in table.columns}
    found += [
        _Difference(f"{name} comes twice", name, ("columns_present",), is_breaking=True)
        for name in twice
        if name in known
    ]
    found += [_Difference(f"new column {name} ({rows.schema.field(name).type}), not stored") for name in unknown]
    hidden = len(unknown_columns(table, rows.schema) - before) - len(nameable_unknown(table, rows.schema))
    if hidden > 0:
        found.append(_Difference(f"{hidden} new column{'s' * (hidden > 1)}, names withheld"))
    return found


def _renamed_to(
    batch: Batch, table: Table, name: str, rows: pa.Table, unknown: Sequence[str], recent: Recent
) -> tuple[str, str] | None:
    """The new column that is most likely what the missing one was, and in what it is like it."""
    values = recent(name)
    found = [
        (like, other)
        for other in unknown
        if rows.column_names.count(other) == 1
        and (like := likeness(batch, table, name, other, rows, values)) is not Likeness.NONE
    ]
    if not found:
        return None
    like, other = max(found, key=lambda pair: (pair[0], _names_shared(name, pair[1]), pair[1]))
    # A type alone says something only of a column that is called alike, or when there is but one candidate.
    if like is Likeness.TYPE and values is not None:
        return None
    return other, "values like it" if like is Likeness.VALUES else "its type"


def _names_shared(one: str, other: str) -> int:
    return len(set(one.lower().split("_")) & set(other.lower().split("_")))


def _types(batch: Batch, table: Table, rows: pa.Table, previous: Batch | None) -> list[_Difference]:
    if previous is not None and previous.format != batch.format:
        return [_Difference(f"rows came as {batch.format} where they were {previous.format}")]
    if batch.format == "text":
        return []
    before = previous.schema if previous else {}
    wrong = misfits(table, rows)
    found = []
    for column in table.columns:
        if rows.column_names.count(column.name) != 1:
            continue
        now, was = str(rows.schema.field(column.name).type), before.get(column.name, str(column.type.arrow))
        unit = " (cents)" if column.is_amount else ""
        if column.name in wrong:
            sentence = f"{column.name}{unit} was retyped: {was} -> {now}"
            found.append(_Difference(sentence, column.name, ("column_types",), is_breaking=True))
        elif column.name in before and now != was and "null" not in (now, was):
            found.append(_Difference(f"{column.name} came as {now} where it was {was}", column.name))
    return found


def _scales(verdict: Verdict, table: Table, compared: History) -> list[_Difference]:
    found = []
    for column in table.columns:
        rule = _broken(verdict, f"{column.name}_scale")
        before = compared.medians.get(column.name)
        if rule is None or before is None or rule.status is not Status.FAILED:
            continue
        now = _number(rule.observed)
        sentence = f"the median of {column.name} is {rule.observed} where it was {before:,.6g}"
        if now:
            verb = "fell" if now < before else "rose"
            sentence = (
                f"the median of {column.name} {verb} from {before:,.6g} to {rule.observed}: {_unit(now / before)}"
            )
        found.append(_Difference(sentence, column.name, (rule.rule,), is_breaking=True, is_unit=True))
    return found


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _unit(ratio: float) -> str:
    power = round(math.log10(ratio), 1)
    if abs(power + math.log10(_WHOLE_UNITS)) <= 0.3:
        return "whole units (such as euros) for cents?"
    if abs(power - math.log10(_WHOLE_UNITS)) <= 0.3:
        return "hundredths of a cent for cents?"
    return "another unit?"


def _new_kinds(verdict: Verdict, table: Table) -> list[_Difference]:
    share_rules = {rule.rule for rule in verdict.bad_rules if rule.rule.split(".")[0] == SHARE_RULE}
    set_aside = sum(rule.rows for rule in verdict.rules if rule.scope == "row")
    found = []
    for rule in verdict.rules:
        column = rule.rule.removesuffix("_not_allowed")
        if column == rule.rule or not rule.rows or column not in {each.name for each in table.columns}:
            continue
        is_why = bool(share_rules) and 2 * rule.rows >= set_aside
        sentence = f"{column} has values that the contract does not name, in {rule.rows:,} rows: a new kind?"
        found.append(_Difference(sentence, column, tuple(share_rules) if is_why else (), is_why, is_unit=True))
    return found


def _broken(verdict: Verdict, name: str) -> RuleResult | None:
    return next((rule for rule in verdict.bad_rules if rule.rule == name), None)
