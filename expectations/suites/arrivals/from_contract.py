"""Expectations that follow from a table's contract, the same for every table."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import great_expectations.expectations as gxe
from great_expectations.expectations.expectation import Expectation

from expectations.validation import ACCEPTED, DAYS, DELIVERED, ROW, rule_meta
from ml.shop.contract.table import Column, ColumnType, Table

EARLIEST_EVENT_YEAR = 2000
LARGEST_NUMBER = 1e15
"""Beyond it a 64-bit float no longer holds every cent."""
SCALE_LIMIT = 20
"""A median this many times larger or smaller than history's is another unit, not another price."""
DAY_ROWS_LIMIT = 10
FRESHNESS_DAYS = 31
"""A table that may be silent for days must still not repeat what is older than this."""

UNREADABLE = "_unreadable.{}"
"""Column of the judged frame: whether a text field could not be read as its contract type."""
NONZERO = "_nonzero.{}"
"""Measure: the median of an amount without its zeros."""
NULL_SHARE = "_null_share.{}"
"""Measure: the share of nulls in a column."""
TRUE_COUNT = "_true_count.{}"
"""Measure: how often a column is true."""
ROWS = "rows"
"""Measure: how many rows were delivered."""
EVENT_DAY = "_event_day"
"""Measure: the newest event day, as an ordinal."""
DAY_ROWS = "rows"
"""Rows of one day."""


@dataclass(frozen=True)
class History:
    """What accepted rows of the recent past were like; empty before the first batch.

    Attributes:
        medians: Amount column -> median of its non-zero values.
        rows_per_day: Median of the days' row counts, if there are enough days and rows to compare with.
        null_shares: Column -> share of nulls.
    """

    medians: dict[str, float] = field(default_factory=dict)
    rows_per_day: float | None = None
    null_shares: dict[str, float] = field(default_factory=dict)
    has_rows: bool = False


@dataclass(frozen=True)
class Arrival:
    """What a suite has to know about the batch that it judges.

    Attributes:
        clock: The shop clock at the end of the batch's last day (UTC); a later event is in the future.
        expected_day: Newest day of the batch on which the shop was open, if it was on any.
        delivered: Contract columns that the source handed over.
        is_text: The rows came as text, so the contract's types were read out of it.
        quarantine_budget: Largest share of the rows that may be set aside.
    """

    table: Table
    first_day: date
    last_day: date
    clock: datetime
    expected_day: date | None
    currency: str
    delivered: frozenset[str]
    is_text: bool
    quarantine_budget: float
    history: History


def contract_expectations(arrival: Arrival) -> list[Expectation]:
    """Every expectation that the contract gives for a table: row rules first, in the order in which they apply."""
    return [
        *(rule for column in arrival.table.columns for rule in column_rules(arrival, column)),
        *event_time_rules(arrival),
        *row_count_rules(arrival),
        *(rule for column in arrival.table.columns for rule in null_share_rules(arrival, column)),
        *freshness_rules(arrival),
        *(rule for column in arrival.table.columns for rule in scale_rules(arrival, column)),
        *day_rows_rules(arrival),
    ]


def column_rules(arrival: Arrival, column: Column) -> Iterator[Expectation]:
    """Row rules of one column: readable, present, within bounds, of a known kind."""
    name = column.name
    in_key = name in arrival.table.key

    def meta(rule: str, expected: str) -> dict[str, Any]:
        # A row that deletes its key need not carry anything else. What may be waived breaks no type, key or currency.
        waivable = rule in ("not_positive", "negative", "too_small", "not_allowed")
        return rule_meta(f"{name}_{rule}", ROW, expected, holds_for_deletes=in_key, waivable=waivable)

    if arrival.is_text and column.type is not ColumnType.STRING and name in arrival.delivered:
        yield gxe.ExpectColumnValuesToBeInSet(
            column=UNREADABLE.format(name), value_set=[False], meta=meta("unreadable", f"{name} to be {column.type}")
        )
    if not column.nullable:
        yield gxe.ExpectColumnValuesToNotBeNull(column=name, meta=meta("is_null", f"{name} in every row"))
        if column.type is ColumnType.STRING:
            yield gxe.ExpectColumnValuesToNotBeInSet(
                column=name, value_set=[""], meta=meta("is_blank", f"{name} not to be an empty text")
            )
    if column.above is not None:
        rule = "not_positive" if column.above == 0 else "too_small"
        yield gxe.ExpectColumnValuesToBeBetween(
            column=name,
            min_value=column.above,
            strict_min=True,
            meta=meta(rule, f"{name} above {column.above:g}"),
        )
    if column.minimum is not None:
        rule = "negative" if column.minimum == 0 else "too_small"
        yield gxe.ExpectColumnValuesToBeBetween(
            column=name, min_value=column.minimum, meta=meta(rule, f"{name} of at least {column.minimum:g}")
        )
    if column.type in (ColumnType.INT64, ColumnType.FLOAT64):
        yield gxe.ExpectColumnValuesToBeBetween(
            column=name,
            min_value=-LARGEST_NUMBER,
            max_value=LARGEST_NUMBER,
            meta=meta("not_finite", f"{name} to be a finite number within {LARGEST_NUMBER:g}"),
        )
    if column.allowed:
        yield gxe.ExpectColumnValuesToBeInSet(
            column=name,
            value_set=list(column.allowed),
            meta=meta("not_allowed", f"{name} to be one of {', '.join(column.allowed)}"),
        )
    if name == "currency":
        yield gxe.ExpectColumnValuesToBeInSet(
            column=name,
            value_set=[arrival.currency],
            meta=meta("not_settlement", f"the shop's settlement currency {arrival.currency}"),
        )


def event_time_rules(arrival: Arrival) -> Iterator[Expectation]:
    """Row rules of the event time: not in the shop's future, not before there were shops like this."""
    name = arrival.table.event_time
    if name is None:
        return
    yield gxe.ExpectColumnValuesToBeBetween(
        column=name,
        max_value=arrival.clock,
        strict_max=True,
        meta=rule_meta(
            "event_time_in_future", ROW, f"{name} not after the end of {arrival.last_day}", holds_for_deletes=True
        ),
    )
    yield gxe.ExpectColumnValuesToBeBetween(
        column=name,
        min_value=datetime(EARLIEST_EVENT_YEAR, 1, 1, tzinfo=arrival.clock.tzinfo),
        meta=rule_meta(
            "event_time_out_of_range",
            ROW,
            f"{name} not before the year {EARLIEST_EVENT_YEAR}",
            holds_for_deletes=True,
            waivable=True,
        ),
    )


def row_count_rules(arrival: Arrival) -> Iterator[Expectation]:
    """At least one row, where the contract or an empty history asks for one."""
    table = arrival.table
    is_first_of_required = table.required and not arrival.history.has_rows
    must_have_rows = is_first_of_required or (not table.may_be_empty and arrival.expected_day is not None)
    minimum = 1 if must_have_rows else 0
    yield gxe.ExpectColumnMaxToBeBetween(
        column=ROWS,
        min_value=minimum,
        meta=rule_meta("row_count", DELIVERED, f"at least {minimum} row{'s' * (minimum != 1)}"),
    )


def null_share_rules(arrival: Arrival, column: Column) -> Iterator[Expectation]:
    """No column may turn out empty: not a required one, nor an optional one that used to be filled."""
    if not column.nullable:
        # Rows without it are set aside one by one; this tells that the column as a whole is missing.
        largest = arrival.quarantine_budget
    else:
        before = arrival.history.null_shares.get(column.name)
        if before is None or before > 0.5:
            return
        largest = (1 + before) / 2
    expected = f"nulls in at most {largest:.1%} of rows"
    yield gxe.ExpectColumnMaxToBeBetween(
        column=NULL_SHARE.format(column.name),
        max_value=largest,
        meta=rule_meta(f"{column.name}_null_share", DELIVERED, expected, if_rows=True, is_share=True),
    )


def freshness_rules(arrival: Arrival) -> Iterator[Expectation]:
    """The newest accepted event is of the day that the batch ends with.

    An entity batch holds from its own day on; that one arrived at all is asserted for the partition as a whole.
    """
    if arrival.table.event_time is None:
        return
    if not arrival.table.may_be_empty:
        if arrival.expected_day is not None:
            yield gxe.ExpectColumnMaxToBeBetween(
                column=EVENT_DAY,
                min_value=arrival.expected_day.toordinal(),
                meta=rule_meta("freshness", ACCEPTED, f"rows of {arrival.expected_day}", is_day=True),
            )
        return
    oldest = date.fromordinal(arrival.first_day.toordinal() - FRESHNESS_DAYS)
    yield gxe.ExpectColumnMaxToBeBetween(
        column=EVENT_DAY,
        min_value=oldest.toordinal(),
        meta=rule_meta("freshness", ACCEPTED, f"rows of {oldest} or later", is_day=True, if_rows=True),
    )


def scale_rules(arrival: Arrival, column: Column) -> Iterator[Expectation]:
    """Amounts are of the size that they used to be: nobody started to deliver euros for cents."""
    median = arrival.history.medians.get(column.name)
    if column.is_amount and column.name in arrival.delivered and median is not None:
        low, high = median / SCALE_LIMIT, median * SCALE_LIMIT
        expected = f"a median of {column.name} (cents) between {low:.6g} and {high:.6g}; it was {median:.6g}"
        yield gxe.ExpectColumnMedianToBeBetween(
            column=NONZERO.format(column.name),
            min_value=low,
            max_value=high,
            meta=rule_meta(f"{column.name}_scale", ACCEPTED, expected, if_rows=True),
        )


def day_rows_rules(arrival: Arrival) -> Iterator[Expectation]:
    """Each day brings about as many rows as days used to."""
    median = arrival.history.rows_per_day
    if arrival.table.may_be_empty or median is None:
        return
    low, high = median / DAY_ROWS_LIMIT, median * DAY_ROWS_LIMIT
    expected = f"between {low:.6g} and {high:.6g} rows a day; the median was {median:.6g}"
    yield gxe.ExpectColumnValuesToBeBetween(
        column=DAY_ROWS, min_value=low, max_value=high, meta=rule_meta("rows_per_day", DAYS, expected, counts="days")
    )
