"""A small shop's rows as the arrival gate would publish them, without the gate: for tests of what comes after it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa

from expectations.conservation import collapse_duplicates, with_bookkeeping
from ml.settings import Settings
from ml.shop.contract import CONTRACT, RESERVED_COLUMNS
from ml.shop.files import FilesSource
from ml.stores.raw import SET_ASIDE_SCHEMA, AcceptedBatch, RawStore, raw_schema
from ml.stores.versions import Version

TABLES = ("customers", "products", "orders", "order_lines", "demographics")

Change = Callable[[str, pa.Table], pa.Table]


def publish_raw(
    settings: Settings, spans: Iterable[tuple[date, date]], change: Change = lambda _table, rows: rows
) -> Version:
    """Publish one raw version per span of days [first, last], in the order given; all rows pass.

    Args:
        settings: Of a shop whose source is `files`.
        change: What is done to the rows of a table before they are published.
    """
    source, raw = FilesSource(settings), RawStore(settings)
    version = None
    for first_day, last_day in spans:
        batches = []
        for table in TABLES:
            rows = source.read(table, first_day, last_day + timedelta(days=1)).rows
            batches.append(accepted_batch(settings, table, change(table, rows), first_day, last_day))
        version = raw.append(batches)
    assert version is not None, "no span of days was given"
    return version


def accepted_batch(settings: Settings, table: str, rows: pa.Table, first_day: date, last_day: date) -> AcceptedBatch:
    contract = CONTRACT[table]
    for name in ("updated_at", "_op"):
        if name not in rows.column_names:
            field = raw_schema(contract).field(name)
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    rows = rows.select([*contract.schema.names, "updated_at", "_op"])
    batch_id = f"{last_day}.{(last_day - first_day).days + 1}d.00000000"
    kept = collapse_duplicates(contract, with_bookkeeping(contract, rows, batch_id, last_day, settings.zone))
    return AcceptedBatch(
        table=table,
        batch_id=batch_id,
        rows=kept,
        set_aside_lines=SET_ASIDE_SCHEMA.empty_table(),
        rows_in=rows.num_rows,
        rows_quarantined=0,
        rows_collapsed=rows.num_rows - kept.num_rows,
        rows_late=0,
    )


def batch_of(
    settings: Settings, table: str, rows: Sequence[Mapping[str, object]], first_day: date, last_day: date
) -> AcceptedBatch:
    """An accepted batch of plain rows; columns that they lack are null."""
    contract = CONTRACT[table]
    reserved = [pa.field(column.name, column.type.arrow) for column in RESERVED_COLUMNS]
    typed = pa.Table.from_pylist(list(rows), schema=pa.schema([*contract.schema, *reserved]))
    return accepted_batch(settings, table, typed, first_day, last_day)


def shop_settings(state_dir: Path, shop: Path, **other: object) -> Settings:
    """Settings of a small shop, without the environment."""
    return Settings(_env_file=None, state_dir=state_dir, shop_id="smallshop", source="files", files_dir=shop, **other)
