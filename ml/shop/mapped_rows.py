"""A file's rows, brought into a contract table as a mapping says.

The work is vectorised: numbers and times by Arrow and NumPy over distinct values, the rest in one DuckDB query.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.outcomes import DataFailed
from ml.shop.contract import CONTRACT, RESERVED_COLUMNS
from ml.shop.contract.table import Column, ColumnType, Table, TableKind
from ml.shop.delimited_fast import LINE_COLUMN
from ml.shop.exact_numbers import NumberForm, product_of
from ml.shop.local_times import to_utc
from ml.shop.mapped_columns import Prepared, factor_of, holds, parsed, quoted, taken_of, text_of
from ml.shop.mapping import POSITION, ColumnRule, FileRule, Mapping, TableRule, ZoneByValue
from ml.shop.mapping_checks import inherits_time

FILE_DAY = "_file_day"
"""Column of rows whose files have a day: the moment at which the file's day begins."""
_MOMENT = pa.timestamp("us")
_NUMBERS = (ColumnType.INT64, ColumnType.FLOAT64)
_ISO = r"\d{4}-\d{2}-\d{2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?"
_ISO_WITH_OFFSET = r"\d{4}-\d{2}-\d{2}[ T]\d{1,2}:\d{2}(:\d{2}(\.\d{1,9})?)? ?(Z|[+-]\d{2}(:?\d{2})?)"


@dataclass(frozen=True)
class MappedRows:
    """What a mapping makes of a file's rows.

    Attributes:
        rows: The contract table's rows, as text with `_line`.
        left_out: Filter -> rows of the file that it left out of the days.
        is_within: Whether each row of the file belongs to the days; None when all do.
    """

    rows: pa.Table
    left_out: dict[str, int]
    is_within: pa.ChunkedArray | None


@dataclass(frozen=True)
class _Work:
    """What is asked for: one table of a mapping over the days [start, end)."""

    mapping: Mapping
    table: Table
    start: datetime
    end: datetime

    @property
    def rule(self) -> TableRule:
        return self.mapping.tables[self.table.name]

    @property
    def file(self) -> FileRule:
        return self.mapping.files[self.rule.file]

    @property
    def known(self) -> dict[str, Column]:
        return {column.name: column for column in (*self.table.columns, *RESERVED_COLUMNS)}


def map_rows(mapping: Mapping, table: str, rows: pa.Table, start: datetime, end: datetime) -> MappedRows:
    """Bring rows of the table's file into the table.

    Args:
        rows: The columns that the mapping needs, as text, in the order of the file, with `_line`; with `FILE_DAY`,
            it and not the row's own time says which day a row belongs to.
        start, end: Of the days asked for. An event is delivered if it lies in them; a row of an entity that is made
            of many rows if one of those does, as it is known at the end. Without times everything is delivered.

    Raises:
        DataFailed: The column that the days are cut by holds no time at all.
    """
    work = _Work(mapping, CONTRACT[table], start, end)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        prepared, source = _prepare(connection, work, rows)
        connection.register("source", source)
        connection.execute(f"create temp view judged as {_judged(work, prepared, source)}")
        mapped = connection.sql(_query(work, prepared, source)).to_arrow_table()
        counts = dict(connection.sql(_counts(work, source)).fetchall())
        is_within = None
        if "_moment" in source.column_names:
            is_within = connection.sql(
                f"select {_within(work, '_moment')} as it from source order by _row"  # noqa: S608 - see mapped_columns
            ).to_arrow_table()
    names = _filter_names(work)
    left_out = {names[place]: int(counts[place]) for place in sorted(counts)}
    return MappedRows(mapped, left_out, None if is_within is None else is_within.column("it"))


def _filter_names(work: _Work) -> list[str]:
    names = list(work.rule.keep)
    if work.rule.one_row_per:
        names.append(f"no {' or '.join(work.rule.one_row_per)}")
    return names


def _prepare(connection: duckdb.DuckDBPyConnection, work: _Work, rows: pa.Table) -> tuple[Prepared, pa.Table]:
    """The rows with their columns numbered, and with the moments and numbers that the rules ask for."""
    names = work.mapping.columns_of(work.table.name)
    given = {name: _trimmed(rows.column(name)) for name in names}
    columns: dict[str, pa.Array | pa.ChunkedArray] = {f"c{place}": given[name] for place, name in enumerate(names)}
    numbered = dict(zip(names, columns, strict=True))
    moments, numbers, positions = {}, {}, {}
    for place, (name, rule) in enumerate(work.rule.columns.items()):
        column = work.known[name]
        if column.type is ColumnType.TIMESTAMP and rule.source is not None:
            moments[name] = f"m{place}"
            columns[f"m{place}"] = _moments_of(connection, _time_rule(work, rule), given)
        elif (rule.source or rule.product) and _is_reckoned(column, rule, work.file):
            numbers[name] = f"n{place}"
            form = NumberForm(
                work.file.decimal, work.file.thousands or "", factor_of(rule), column.type is ColumnType.INT64
            )
            columns[f"n{place}"] = product_of(_factors(rule, given), form)
        if POSITION in rule.parts:
            positions[name] = f"p{place}"
    columns["_row"] = pa.array(np.arange(rows.num_rows))
    columns[LINE_COLUMN] = rows.column(LINE_COLUMN)
    own = _own_moments(connection, work, moments, columns, given)
    columns["_order"] = _order(own, rows.num_rows)
    cut = rows.column(FILE_DAY) if FILE_DAY in rows.column_names else own
    if cut is not None and rows.num_rows:
        columns["_moment"] = _filled(cut, work)
    return Prepared(numbered, moments, numbers, positions), pa.table(columns)


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without spaces around; nothing but spaces is an empty field."""
    text = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(text, ""), None, text)


def _factors(rule: ColumnRule, given: dict[str, pa.ChunkedArray]) -> list[pa.ChunkedArray]:
    return [given[source] for source in rule.product] if rule.product else [_source(rule, given)]


def _source(rule: ColumnRule, given: dict[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    """The column that a rule is made from, without what the rule takes away."""
    assert rule.source is not None, "the rule is made from a column"
    column = given[rule.source]
    return column if rule.remove is None else _trimmed(pc.replace_substring_regex(column, rule.remove, ""))


def _is_reckoned(column: Column, rule: ColumnRule, file: FileRule) -> bool:
    if column.type not in _NUMBERS or rule.values is not None:
        return False
    return bool(rule.product or rule.factor is not None or file.decimal != "." or file.thousands)


def _time_rule(work: _Work, rule: ColumnRule) -> ColumnRule:
    if inherits_time(rule, work.file):
        assert work.file.time is not None, "the rule inherits from it"
        return work.file.time.as_rule()
    return rule


def _own_moments(
    connection: duckdb.DuckDBPyConnection,
    work: _Work,
    moments: dict[str, str],
    columns: dict[str, pa.Array | pa.ChunkedArray],
    given: dict[str, pa.ChunkedArray],
) -> pa.ChunkedArray | None:
    """When each row came to be: an event by its event time, another by the file's time."""
    event_time = work.table.event_time
    if event_time is not None:
        return columns[moments[event_time]]
    if work.file.time is not None:
        return _moments_of(connection, work.file.time.as_rule(), given)
    return None


def _moments_of(
    connection: duckdb.DuckDBPyConnection, rule: ColumnRule, given: dict[str, pa.ChunkedArray]
) -> pa.ChunkedArray:
    """Moments in UTC; null where the text cannot be read."""
    connection.register("texts", pa.table({"value": _source(rule, given)}))
    absolute, local = _read_terms(rule.format)
    read = connection.sql(f"select {absolute} as absolute, {local} as local from texts").to_arrow_table()  # noqa: S608
    connection.unregister("texts")
    if rule.zone is not None:
        in_utc = _in_utc(read.column("local"), rule.zone, given)
        read = read.set_column(1, "local", in_utc)
    moments = pc.coalesce(read.column("absolute"), read.column("local"))
    return moments.cast(_MOMENT)


def _read_terms(formats: list[str] | None) -> tuple[str, str]:
    """SQL of the microseconds since 1970: of a text with an offset, and of one on somebody's clock."""
    if formats is None:
        absolute = f"case when regexp_full_match(value, '{_ISO_WITH_OFFSET}') then try_cast(value as timestamptz) end"
        local = f"case when regexp_full_match(value, '{_ISO}') then try_cast(value as timestamp) end"
        return f"epoch_us({absolute})", f"epoch_us({local})"
    with_offset = [form for form in formats if "%z" in form]
    without = [form for form in formats if "%z" not in form]
    terms = [f"epoch_us({parsed('value', some)})" if some else "null::bigint" for some in (with_offset, without)]
    return terms[0], terms[1]


def _in_utc(local: pa.ChunkedArray, zone: ZoneByValue, given: dict[str, pa.ChunkedArray]) -> pa.ChunkedArray:
    is_read = local.is_valid().to_numpy()
    values = pc.fill_null(local, 0).to_numpy()
    if not zone.values:
        assert zone.otherwise is not None, "a zone has a name or values"
        return pa.chunked_array([pa.array(to_utc(values, zone.otherwise), mask=~is_read)])
    found, known = np.zeros_like(values), np.zeros(len(values), dtype=bool)
    encoded = pc.dictionary_encode(pc.fill_null(given[zone.column], "")).combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    for code, value in enumerate(encoded.dictionary.to_pylist()):
        name = zone.values.get(value, zone.otherwise)
        if name is not None:
            own = codes == code
            found[own], known[own] = to_utc(values[own], name), True
    return pa.chunked_array([pa.array(found, mask=~(is_read & known))])


def _order(moments: pa.ChunkedArray | None, count: int) -> pa.Array:
    """Place of each row in the order of time, then of the file; rows without a time come last."""
    if moments is None:
        return pa.array(np.arange(count))
    largest = np.iinfo(np.int64).max
    times = pc.fill_null(moments.cast(pa.int64()), largest).to_numpy()
    place = np.empty(count, dtype=np.int64)
    place[np.argsort(times, kind="stable")] = np.arange(count)
    return pa.array(place)


def _filled(moments: pa.ChunkedArray, work: _Work) -> pa.ChunkedArray:
    """A row without a readable time goes with the row before it in the file (at the top: after it)."""
    if moments.null_count == len(moments):
        time = work.table.event_time or "time"
        raise DataFailed(
            f"{work.table.name}: {time} cannot be read in any row of {work.file.path}; "
            "do format and zone in the mapping fit the file?"
        )
    return pc.fill_null_backward(pc.fill_null_forward(moments))


def _judged(work: _Work, prepared: Prepared, source: pa.Table) -> str:
    """The rows with the number of the first filter that leaves them out, and with positions among equal ones."""
    conditions = [
        f"not {holds(condition, work.file, prepared.columns, if_unreadable=True)}"
        for condition in work.rule.keep.values()
    ]
    if work.rule.one_row_per:
        conditions.append("(" + " or ".join(f"{prepared.columns[key]} is null" for key in work.rule.one_row_per) + ")")
    cases = " ".join(f"when {condition} then {place}" for place, condition in enumerate(conditions))
    filtered = f"case {cases} end" if cases else "null::integer"
    return f"select *, {filtered} as _left_by{''.join(_positions(work, prepared, source))} from source"  # noqa: S608


def _positions(work: _Work, prepared: Prepared, source: pa.Table) -> Iterator[str]:
    """Equal rows change places without changing anything, so the order is that of their content, not of the file."""
    content = ", ".join(name for name in source.column_names if name.startswith("c"))
    for name, position in prepared.positions.items():
        alike = [prepared.columns[part] for part in work.rule.columns[name].parts if part != POSITION]
        yield f", row_number() over (partition by {', '.join(alike)} order by {content}, _row) as {position}"


def _query(work: _Work, prepared: Prepared, source: pa.Table) -> str:
    """The table's rows for the days, in the order of the file."""
    is_cut = "_moment" in source.column_names
    keys = work.rule.one_row_per
    make = taken_of if keys else text_of
    terms = [
        f'{make(work.known[name], rule, work.file, prepared)} as "{name}"' for name, rule in work.rule.columns.items()
    ]
    if not keys:
        within = f" and {_within(work, '_moment')}" if is_cut else ""
        return f"select {', '.join(terms)}, {LINE_COLUMN} from judged where _left_by is null{within} order by _row"  # noqa: S608
    grouped = ", ".join(prepared.columns[key] for key in keys)
    known, having = "", ""
    if is_cut and work.table.kind is TableKind.ENTITY:
        known, having = f" and _moment < {_moment(work.end)}", f" having max(_moment) >= {_moment(work.start)}"
    elif is_cut:
        event = work.rule.columns[work.table.event_time or ""]
        newest = "max" if event.take in ("last", "max") else "min"
        having = f" having {_within(work, f'{newest}(_moment)')}"
    return (
        f"select {', '.join(terms)}, min({LINE_COLUMN}) as {LINE_COLUMN} from judged where _left_by is null{known} "  # noqa: S608
        f"group by {grouped}{having} order by min(_row)"
    )


def _counts(work: _Work, source: pa.Table) -> str:
    within = f" and {_within(work, '_moment')}" if "_moment" in source.column_names else ""
    return f"select _left_by, count(*) from judged where _left_by is not null{within} group by _left_by"  # noqa: S608


def _within(work: _Work, moment: str) -> str:
    return f"{moment} >= {_moment(work.start)} and {moment} < {_moment(work.end)}"


def _moment(moment: datetime) -> str:
    return f"timestamp {quoted(moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=' '))}"
