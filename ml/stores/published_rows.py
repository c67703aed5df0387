"""What is published beside the recommendations for requests, and how customers' rows get into the online store.

The published part is what counts: it is immutable and has its sha256. The online store is filled from it, when it is
published and again whenever the store has lost it.
"""

from collections.abc import Iterator
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.customer_rows import RowsVersion, open_customer_rows
from ml.stores.shown import PUBLISHED
from ml.stores.versions import Part, Version, VersionStore
from ml.stores.warehouse import marts_store

RECOMMENDATIONS = "recommendations"
CUSTOMER_ROWS = "customer_rows"
CATALOGUE = "catalogue"
STORE_PRODUCTS = "store_products"
KNOWN_CUSTOMERS = "known_customers"


def published_store(settings: Settings) -> VersionStore:
    """Published recommendations."""
    return VersionStore(settings.shop_dir / PUBLISHED["recommender"])


def rows_version(part: Part) -> RowsVersion:
    """The version in the online store that a published part of rows is filled in as."""
    return RowsVersion(part.sha256, part.partition, part.rows)


def rows_part(version: Version) -> Part | None:
    """The part of a published version that holds customers' rows; None where a baseline made it."""
    parts = version.parts_of(CUSTOMER_ROWS)
    if len(parts) > 1:
        raise DataFailed(f"recommendations {version.id}: expected one part of {CUSTOMER_ROWS}, found {len(parts)}")
    return parts[0] if parts else None


def fill_online(settings: Settings, store: VersionStore, part: Part, *, replaces_newer: bool = False) -> bool:
    """Write a part of rows into the online store, beside what is read there now.

    Args:
        replaces_newer: Else rows of a newer day stay, unless the marts that they were made from were rolled back.

    Returns:
        Whether something was written; False when the store has it whole.

    Raises:
        DataFailed: The part is damaged.
        OlderRows: The store holds a newer day.
        RowsUnavailable: The store cannot be written.
    """
    path = store.open_part(part)

    def read() -> Iterator[tuple[str, bytes]]:
        with pq.ParquetFile(path) as file:
            # One group after the other: several are read ahead else, which is all of a large shop.
            for group in range(file.num_row_groups):
                some = file.read_row_group(group, ["customer_id", "row"], use_threads=False)
                yield from zip(some["customer_id"].to_pylist(), some["row"].to_pylist(), strict=True)

    may_replace = replaces_newer or _is_rolled_back(settings, store, part)
    rows = open_customer_rows(settings, is_writer=True)
    return rows.write(rows_version(part), read(), replaces_newer=may_replace)


def make_current(settings: Settings, part: Part) -> None:
    """Once the pointer has moved to rows that are filled in: the ones before the last are not needed any more."""
    open_customer_rows(settings, is_writer=True).make_current(rows_version(part))


def restore_online(settings: Settings) -> bool:
    """Bring the online store to what is published. Doing it again changes nothing.

    Returns:
        Whether something was written.

    Raises:
        DataFailed: The published part is damaged.
        RowsUnavailable: The store cannot be written.
    """
    store = published_store(settings)
    version = store.current()
    part = rows_part(version) if version is not None else None
    if part is None:
        return False
    is_written = fill_online(settings, store, part, replaces_newer=True)
    make_current(settings, part)
    pa.default_memory_pool().release_unused()  # an API that has brought rows back would keep what reading them took
    return is_written


def _is_rolled_back(settings: Settings, store: VersionStore, part: Part) -> bool:
    """Whether what is published for a later day was made from marts that an operator went back from."""
    current = store.current()
    if current is None or date.fromisoformat(str(current.lineage["as_of_date"])) <= date.fromisoformat(part.partition):
        return False
    return current.lineage.get("marts_version") in marts_store(settings).withdrawn()
