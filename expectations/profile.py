"""Measures every column of a large table in one query, so that expectations judge the measures, not a million rows.

Measures of parts add up to those of the table, exactly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pandas as pd

_FLOATS = ("DOUBLE", "FLOAT")
_NUMBERS = (
    *_FLOATS,
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
)


@dataclass(frozen=True)
class ColumnMeasures:
    """What was counted in one column of some rows.

    Attributes:
        minimum: Of the finite numbers; None when there are none.
        maximum: Likewise.
    """

    rows: int
    count_missing: int
    count_infinite: int
    minimum: float | None
    maximum: float | None


def measure_columns(
    connection: duckdb.DuckDBPyConnection, relation: str, *, nan_is_missing: bool, columns: Iterable[str] | None = None
) -> dict[str, ColumnMeasures]:
    """What is in each column.

    Args:
        relation: A view or table of the connection; its name comes from our own code.
        nan_is_missing: NaN counts as null, as in a data frame; otherwise as a number that is not finite.
        columns: Only these; default: all.
    """
    described = connection.execute(f'describe "{relation}"').fetchall()
    wanted = None if columns is None else set(columns)
    kinds = {name: kind for name, kind, *_ in described if wanted is None or name in wanted}
    if not kinds:
        return {}
    terms = ", ".join(_measures(name, kind, nan_is_missing) for name, kind in kinds.items())
    (measured,) = connection.execute(f'select {terms} from "{relation}"').fetchall()  # noqa: S608 - names of columns
    return {name: ColumnMeasures(**measures) for name, measures in zip(kinds, measured, strict=True)}


def add_up(parts: Sequence[Mapping[str, ColumnMeasures]]) -> dict[str, ColumnMeasures]:
    """The measures of a table whose parts were measured; all of them have its columns."""
    return {name: _sum([part[name] for part in parts]) for name in (parts[0] if parts else {})}


def _sum(parts: Sequence[ColumnMeasures]) -> ColumnMeasures:
    return ColumnMeasures(
        rows=sum(part.rows for part in parts),
        count_missing=sum(part.count_missing for part in parts),
        count_infinite=sum(part.count_infinite for part in parts),
        minimum=min((part.minimum for part in parts if part.minimum is not None), default=None),
        maximum=max((part.maximum for part in parts if part.maximum is not None), default=None),
    )


def as_profile(measured: Mapping[str, ColumnMeasures]) -> pd.DataFrame:
    """One row per column: column, rows, null_share, count_infinite, minimum, maximum.

    Returns:
        `minimum` and `maximum` are those of the finite numbers, and missing for what is not a number.
    """
    rows = [
        (name, of.rows, of.count_missing / of.rows if of.rows else 0.0, of.count_infinite, of.minimum, of.maximum)
        for name, of in measured.items()
    ]
    profile = pd.DataFrame(rows, columns=["column", "rows", "null_share", "count_infinite", "minimum", "maximum"])
    return profile.astype(dict.fromkeys(("null_share", "minimum", "maximum"), "float64"))


def profile_columns(
    connection: duckdb.DuckDBPyConnection, relation: str, *, nan_is_missing: bool, columns: Iterable[str] | None = None
) -> pd.DataFrame:
    """The profile (see `as_profile`) of a relation, measured as in `measure_columns`."""
    return as_profile(measure_columns(connection, relation, nan_is_missing=nan_is_missing, columns=columns))


def _measures(name: str, kind: str, nan_is_missing: bool) -> str:
    column = '"' + name.replace('"', '""') + '"'
    missing = f"{column} is null"
    infinite = low = high = "null"
    if kind in _FLOATS:
        missing = f"({missing} or isnan({column}))" if nan_is_missing else missing
        infinite = f"isinf({column})" if nan_is_missing else f"not isfinite({column})"
        low, high = (f"{extreme}({column}) filter (isfinite({column}))" for extreme in ("min", "max"))
    elif kind in _NUMBERS:
        low, high = f"min({column})", f"max({column})"
    count_infinite = f"count(*) filter ({infinite})" if kind in _FLOATS else "0"
    return (
        f"{{'rows': count(*), 'count_missing': count(*) filter ({missing}), 'count_infinite': {count_infinite},"
        f" 'minimum': ({low})::double, 'maximum': ({high})::double}}"
    )
