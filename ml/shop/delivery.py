"""What a source hands over."""

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

UNPARSED_SCHEMA = pa.schema(
    [("source_file", pa.string()), ("line", pa.int64()), ("text", pa.string()), ("reason", pa.string())]
)


@dataclass(frozen=True)
class Delivery:
    """What a source hands over for one table and some days, as it found it.

    Attributes:
        rows: The rows. With format "text" every column is a string (null for an empty field), and `_line` is
            the row's line number in its file.
        format: "typed" when the source knows types, "text" when the contract has to give them.
        unparsed: Lines that could not be split into columns (`UNPARSED_SCHEMA`); None when there are none.
        left_out: Filter of the mapping -> rows of the source that it left out of these days; no row of the table.
    """

    table: str
    rows: pa.Table
    format: Literal["typed", "text"]
    unparsed: pa.Table | None = None
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def count_rows(self) -> int:
        """Rows handed over, readable or not."""
        return int(self.rows.num_rows + (self.unparsed.num_rows if self.unparsed is not None else 0))
