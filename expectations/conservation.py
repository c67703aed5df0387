"""What becomes of each row: hashed, dated, collapsed with its duplicates, and counted so that none is lost."""

from datetime import date
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ml.outcomes import ToolFailed
from ml.shop.contract.table import Table
from ml.stores.raw import raw_schema

# 64 bits tell duplicates of one key apart; a longer text would make up a third of the raw store.
_HASH_LENGTH = 16


def with_bookkeeping(table: Table, rows: pa.Table, batch_id: str, batch_date: date, zone: ZoneInfo) -> pa.Table:
    """Conformed rows with the bookkeeping columns of raw."""
    count = rows.num_rows
    batch_dates = pa.array([batch_date] * count, pa.date32()) if count < 2 else _repeat(batch_date, count)
    columns = {
        **{name: rows.column(name) for name in rows.column_names},
        "_batch_id": pa.repeat(pa.scalar(batch_id, pa.string()), count),
        "_batch_date": batch_dates,
        "_event_date": _event_dates(table, rows, zone) if table.event_time else batch_dates,
        "_row_hash": _row_hashes(table, rows),
    }
    return pa.table(columns).cast(raw_schema(table))


def _repeat(day: date, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(day, pa.date32()), count)


def _event_dates(table: Table, rows: pa.Table, zone: ZoneInfo) -> pa.ChunkedArray:
    local = rows.column(table.event_time).cast(pa.timestamp("us", tz=zone.key))
    return pc.local_timestamp(local).cast(pa.date32(), safe=False)


def _row_hashes(table: Table, rows: pa.Table) -> pa.ChunkedArray:
    # Unit and record separators keep ('ab', 'c') and ('a', 'bc'), and null and '', apart.
    fields = ", ".join(f'coalesce("{column.name}"::varchar, chr(30))' for column in table.columns)
    query = f"select left(md5(concat_ws(chr(31), {fields})), {_HASH_LENGTH}) as row_hash from conformed"  # noqa: S608
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("conformed", rows)
        return connection.sql(query).to_arrow_table().column("row_hash")


def collapse_duplicates(table: Table, rows: pa.Table) -> pa.Table:
    """One row per key: the newest `updated_at`, then a delete, then the largest content hash, then the first delivered.

    Staging keeps the same one of rows that arrive in different batches.
    """
    key = ", ".join(f'"{name}"' for name in table.key)
    with duckdb.connect() as connection:
        connection.register("accepted", rows)
        repeated = f"select 1 from accepted group by {key} having count(*) > 1 limit 1"  # noqa: S608
        if not connection.sql(repeated).fetchall():
            return rows
        numbered = rows.select([*table.key, "updated_at", "_op", "_row_hash"]).append_column(
            "position", pa.array(range(rows.num_rows), pa.int64())
        )
        connection.register("numbered", numbered)
        kept = connection.sql(
            f"""
            select position from numbered
            qualify row_number() over (
                partition by {key}
                order by updated_at desc nulls last, coalesce(_op = 'delete', false) desc, _row_hash desc, position
            ) = 1
            order by position
            """  # noqa: S608
        ).to_arrow_table()
    return rows.take(kept.column("position"))


def count_late(table: Table, rows: pa.Table, first_day: date) -> int:
    """Rows whose event day lies before the batch's first day."""
    if table.event_time is None:
        return 0
    return int(pc.sum(pc.less(rows.column("_event_date"), pa.scalar(first_day, pa.date32()))).as_py() or 0)


def assert_conserved(table: str, batch_id: str, rows_in: int, accepted: int, quarantined: int, collapsed: int) -> None:
    if rows_in != accepted + quarantined + collapsed:
        raise ToolFailed(
            f"{table} {batch_id}: {rows_in} rows in, but {accepted} accepted + {quarantined} quarantined"
            f" + {collapsed} collapsed"
        )
