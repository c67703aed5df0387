"""Small changes to a shop's files and to stored tables."""

from collections.abc import Callable

import pyarrow as pa

from ml.shop.breakages import with_column

Change = Callable[[pa.Table], pa.Table]


def with_first(rows: pa.Table, column: str, value: object) -> pa.Table:
    """The rows with one value of the first row replaced."""
    return with_column(rows, column, [value, *rows.column(column).to_pylist()[1:]])


def with_all(rows: pa.Table, column: str, value: object) -> pa.Table:
    """The rows with one value in every row of a column."""
    return with_column(rows, column, [value] * rows.num_rows)
