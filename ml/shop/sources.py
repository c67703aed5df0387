"""What a source of shop data is, and how the configured one is opened."""

from dataclasses import dataclass
from datetime import date
from typing import Literal, Protocol

import pyarrow as pa

from ml.settings import Settings

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
    """

    table: str
    rows: pa.Table
    format: Literal["typed", "text"]
    unparsed: pa.Table | None = None

    @property
    def count_rows(self) -> int:
        """Rows handed over, readable or not."""
        return int(self.rows.num_rows + (self.unparsed.num_rows if self.unparsed is not None else 0))


class ShopSource(Protocol):
    """Where a shop's tables come from."""

    @property
    def name(self) -> str: ...

    def tables(self) -> tuple[str, ...]:
        """The contract tables that the source has, in contract order.

        Raises:
            DataFailed: The source is not what the settings say it is, or lacks a required table.
        """
        ...

    def read(self, table: str, first_day: date, end_day: date) -> Delivery:
        """Rows of a table for the shop days [first_day, end_day): the same days give the same rows in the same order.

        Raises:
            DataFailed: The source cannot be read; the message names the file, the field and what was expected.
        """
        ...


def open_source(settings: Settings) -> ShopSource:
    """The source that the settings choose."""
    if settings.source == "files":
        from ml.shop.files import FilesSource  # only the chosen source is loaded

        return FilesSource(settings)
    from ml.shop.completejourney import CompleteJourneySource

    return CompleteJourneySource(settings)
