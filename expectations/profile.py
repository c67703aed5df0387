"""Measures every column of a large table in one query, so that expectations judge the measures, not a million rows."""

from collections.abc import Iterable

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


def profile_columns(
    connection: duckdb.DuckDBPyConnection, relation: str, *, nan_is_missing: bool, columns: Iterable[str] | None = None
) -> pd.DataFrame:
    """One row per column: column, rows, null_share, count_infinite, minimum, maximum.

    Args:
        relation: A view or table of the connection; its name comes from our own code.
        nan_is_missing: NaN counts as null, as in a data frame; otherwise as a number that is not finite.
        columns: Only these; default: all.

    Returns:
        `minimum` and `maximum` are those of the finite numbers, and missing for what is not a number.
    """
    described = connection.execute(f'describe "{relation}"').fetchall()
    wanted = None if columns is None else set(columns)
    kinds = {name: kind for name, kind, *_ in described if wanted is None or name in wanted}
    if not kinds:
        return pd.DataFrame(columns=["column", "rows", "null_share", "count_infinite", "minimum", "maximum"])
    terms = ", ".join(_measures(name, kind, nan_is_missing) for name, kind in kinds.items())
    (measured,) = connection.execute(f'select {terms} from "{relation}"').fetchall()  # noqa: S608 - names of columns
    profile = pd.DataFrame.from_records(list(measured))
    profile.insert(0, "column", list(kinds))
    return profile.astype(dict.fromkeys(("null_share", "minimum", "maximum"), "float64"))


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
        f"{{'rows': count(*), 'null_share': coalesce(avg(({missing})::int), 0), 'count_infinite': {count_infinite},"
        f" 'minimum': ({low})::double, 'maximum': ({high})::double}}"
    )
