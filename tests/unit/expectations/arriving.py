"""Hand-made order lines of one day, and the batch that they arrive in."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from expectations.suites.arrivals.from_contract import History
from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.stores.landing import Batch

DAY = date(2024, 1, 5)
KNOWN = History(has_rows=True)


def judged_settings(folder: Path, **other: object) -> Settings:
    """Of a shop that closes the day at midnight in New York."""
    return Settings(_env_file=None, state_dir=folder, shop_id="tiny", **other)


def batch_of(
    table: str, rows: pa.Table, first_day: date = DAY, last_day: date = DAY, is_text: bool = False, unparsed: int = 0
) -> Batch:
    return Batch(
        id=f"{last_day}.{(last_day - first_day).days + 1}d.00000000",
        table=table,
        first_day=first_day,
        last_day=last_day,
        source="files",
        format="text" if is_text else "typed",
        rows=rows.num_rows + unparsed,
        unparsed=unparsed,
        files={},
        schema={field.name: str(field.type) for field in rows.schema},
        landed_at=datetime(2024, 1, 6, tzinfo=UTC),
        shop_id="tiny",
        contract_version=1,
    )


def line(number: int = 0, **other: object) -> dict[str, Any]:
    return {
        "order_line_id": f"l{number}",
        "order_id": f"o{number}",
        "product_id": "p1",
        "ordered_at": datetime(2024, 1, 5, 15, tzinfo=UTC),
        "quantity": 1.0,
        "amount_cents": 250,
        "discount_cents": 0,
        "currency": "USD",
    } | other


def lines_of(rows: list[dict[str, Any]]) -> pa.Table:
    extra = [pa.field("updated_at", pa.timestamp("us", tz="UTC")), pa.field("_op", pa.string())]
    return pa.Table.from_pylist(rows, schema=pa.schema([*CONTRACT["order_lines"].schema, *extra]))
