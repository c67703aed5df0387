"""The ways in which a shop's files can be bad, planted in the shop of `ml/shop/generated.py`.

A breakage takes the shop's folder and the day whose files it spoils, and returns how many rows it planted
(0: the file as a whole is bad).
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from ml.shop.generated import day_file

UNKNOWN_PRODUCT = "p-unknown"


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Replace a Parquet file by its changed rows."""
    pq.write_table(change(pq.read_table(path)), path)


def with_column(rows: pa.Table, column: str, values: Sequence[object], kind: pa.DataType | None = None) -> pa.Table:
    """The rows with one column's values replaced; of its own type unless another is given."""
    position = rows.schema.get_field_index(column)
    return rows.set_column(position, column, pa.array(values, kind or rows.schema.field(position).type))


def _with_first(table: pa.Table, column: str, rows: int, change: Callable[[Any], object]) -> pa.Table:
    values = table.column(column).to_pylist()
    return with_column(table, column, [change(value) if index < rows else value for index, value in enumerate(values)])


def renamed_column(folder: Path, day: date) -> int:
    """`amount_cents` of the day's lines is called `amount`."""
    path = day_file(folder, "order_lines", day)
    columns = ["amount" if name == "amount_cents" else name for name in pq.read_schema(path).names]
    rewrite(path, lambda table: table.rename_columns(columns))
    return int(pq.read_metadata(path).num_rows)


def dropped_required_file(folder: Path, day: date) -> int:
    day_file(folder, "orders", day).unlink()
    return 0


def truncated_parquet(folder: Path, day: date) -> int:
    path = day_file(folder, "order_lines", day)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return 0


def zero_byte_parquet(folder: Path, day: date) -> int:
    day_file(folder, "order_lines", day).write_bytes(b"")
    return 0


def as_csv(folder: Path, day: date, table: str = "order_lines", delimiter: str = ",") -> Path:
    """Replace a table's day-file by a CSV file with the same rows; returns its path. Not a breakage by itself."""
    path = day_file(folder, table, day)
    options = pa_csv.WriteOptions(delimiter=delimiter, quoting_style="none", quoting_header="none")
    pa_csv.write_csv(pq.read_table(path), path.with_suffix(".csv"), options)
    path.unlink()
    return path.with_suffix(".csv")


def csv_ragged_row(folder: Path, day: date) -> int:
    """The day's lines come as CSV whose third line has one field too many."""
    path = as_csv(folder, day)
    lines = path.read_text().splitlines(keepends=True)
    lines[2] = lines[2].rstrip("\n") + ",surplus\n"
    path.write_text("".join(lines))
    return 1


def csv_wrong_delimiter(folder: Path, day: date) -> int:
    as_csv(folder, day, delimiter=";")
    return 0


def empty_batch(folder: Path, day: date) -> int:
    """The day's order and line files have their columns and no row."""
    for table in ("orders", "order_lines"):
        rewrite(day_file(folder, table, day), lambda rows: rows.slice(0, 0))
    return 0


def all_null_column(folder: Path, day: date) -> int:
    path = day_file(folder, "order_lines", day)
    rewrite(path, lambda table: with_column(table, "amount_cents", [None] * table.num_rows))
    return int(pq.read_metadata(path).num_rows)


def duplicated_rows(folder: Path, day: date, share: float = 0.05) -> int:
    """This share of the day's lines, at least one, comes twice, row for row."""
    path = day_file(folder, "order_lines", day)
    count: int = max(1, round(share * pq.read_metadata(path).num_rows))
    rewrite(path, lambda table: pa.concat_tables([table, table.slice(0, count)]))
    return count


def late_lines(folder: Path, day: date, days_late: int = 3, share: float = 0.05) -> int:
    """Lines of `days_late` days earlier arrive only now; their order is already there."""
    earlier = day_file(folder, "order_lines", day - timedelta(days=days_late))
    count: int = max(1, round(share * pq.read_metadata(earlier).num_rows))
    late = pq.read_table(earlier).slice(0, count)
    rewrite(earlier, lambda table: table.slice(count))
    rewrite(day_file(folder, "order_lines", day), lambda table: pa.concat_tables([table, late]))
    return count


def future_timestamps(folder: Path, day: date, rows: int = 1) -> int:
    path = day_file(folder, "order_lines", day)
    rewrite(path, lambda table: _with_first(table, "ordered_at", rows, lambda at: at + timedelta(days=400)))
    return rows


def unknown_product(folder: Path, day: date, rows: int = 1) -> int:
    path = day_file(folder, "order_lines", day)
    rewrite(path, lambda table: _with_first(table, "product_id", rows, lambda _: UNKNOWN_PRODUCT))
    return rows


def zero_quantity(folder: Path, day: date, rows: int = 1) -> int:
    path = day_file(folder, "order_lines", day)
    rewrite(path, lambda table: _with_first(table, "quantity", rows, lambda _: 0.0))
    return rows


def negative_quantity(folder: Path, day: date, rows: int = 1) -> int:
    path = day_file(folder, "order_lines", day)
    rewrite(path, lambda table: _with_first(table, "quantity", rows, lambda _: -2.0))
    return rows


def euros_instead_of_cents(folder: Path, day: date) -> int:
    """All amounts of the day's lines are a hundred times too small, still whole numbers."""
    path = day_file(folder, "order_lines", day)

    def in_euros(table: pa.Table) -> pa.Table:
        for name in ("amount_cents", "discount_cents"):
            table = _with_first(table, name, table.num_rows, lambda cents: cents // 100)
        return table

    rewrite(path, in_euros)
    return int(pq.read_metadata(path).num_rows)


BREAKAGES: dict[str, Callable[[Path, date], int]] = {
    breakage.__name__: breakage
    for breakage in (
        renamed_column,
        dropped_required_file,
        truncated_parquet,
        zero_byte_parquet,
        csv_ragged_row,
        csv_wrong_delimiter,
        empty_batch,
        all_null_column,
        duplicated_rows,
        late_lines,
        future_timestamps,
        unknown_product,
        zero_quantity,
        negative_quantity,
        euros_instead_of_cents,
    )
}


def break_shop(folder: Path, breakage: str, day: date) -> int:
    """Spoil a day's files in the named way; returns the number of rows planted (0: the file as a whole is bad)."""
    return BREAKAGES[breakage](folder, day)
