"""Small changes to a shop's files and to stored tables."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Change = Callable[[pa.Table], pa.Table]


def rewrite(path: Path, change: Change) -> None:
    """Replace a Parquet file by its changed rows."""
    pq.write_table(change(pq.read_table(path)), path)


def with_column(rows: pa.Table, column: str, values: Sequence[object], kind: pa.DataType | None = None) -> pa.Table:
    """The rows with one column's values replaced; of its own type unless another is given."""
    position = rows.schema.get_field_index(column)
    return rows.set_column(position, column, pa.array(values, kind or rows.schema.field(position).type))


def with_first(rows: pa.Table, column: str, value: object) -> pa.Table:
    """The rows with one value of the first row replaced."""
    return with_column(rows, column, [value, *rows.column(column).to_pylist()[1:]])


def with_all(rows: pa.Table, column: str, value: object) -> pa.Table:
    """The rows with one value in every row of a column."""
    return with_column(rows, column, [value] * rows.num_rows)
