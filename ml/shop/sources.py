"""What a source of shop data is, and how the configured one is opened."""

from datetime import date
from typing import Protocol

from ml.settings import Settings
from ml.shop.delivery import Delivery

SIMULATION = "simulation"
"""What a batch of made-up rows names as its source."""


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
    if settings.source == "files" and settings.files_mapping is not None:
        from ml.shop.mapped_files import MappedFilesSource

        return MappedFilesSource(settings)
    if settings.source == "files":
        from ml.shop.files import FilesSource  # only the chosen source is loaded

        return FilesSource(settings)
    if settings.source == "postgres":
        from ml.shop.postgres import PostgresSource

        return PostgresSource(settings)
    from ml.shop.completejourney import CompleteJourneySource

    return CompleteJourneySource(settings)
