"""Feature marts made by hand: every feature of a row holds the one number given for it."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from ml.settings import PROJECT_DIR, Settings
from ml.stores.warehouse import Marts, marts_store

_TYPES = {
    "boolean": pa.bool_(),
    "varchar": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
MART_PAGE = PROJECT_DIR / "dbt_project" / "models" / "marts" / "features" / "_features__models.yml"


def mart_schema(table: str, page: Path = MART_PAGE) -> pa.Schema:
    """Columns of a feature mart as dbt's contract declares them."""
    models = {model["name"]: model for model in yaml.safe_load(page.read_text())["models"]}
    return pa.schema([(column["name"], _TYPES[column["data_type"]]) for column in models[table]["columns"]])


def mart_rows(settings: Settings, table: str, rows: list[tuple[str, date, float | None]]) -> pa.Table:
    """Rows of a feature mart from (id, as-of date, number)."""
    schema = mart_schema(table)
    return pa.Table.from_pylist([_row(settings, schema, *row) for row in rows], schema=schema)


def _row(settings: Settings, schema: pa.Schema, key: str, as_of_date: date, number: float | None) -> dict[str, Any]:
    fixed = {schema.names[0]: key, "as_of_date": as_of_date, "feature_at": settings.day_start(as_of_date)}
    return {field.name: fixed.get(field.name, _value(field.type, number)) for field in schema}


def _value(type_: pa.DataType, number: float | None) -> object:
    if number is None:
        return None
    if pa.types.is_string(type_):
        return f"s{number:g}"
    return int(number) if pa.types.is_integer(type_) else float(number)


def publish_feature_marts(settings: Settings, target_day: date, tables: dict[str, pa.Table]) -> Marts:
    """Publish feature marts cut into parts by as-of date, as a build up to `target_day` would."""
    store = marts_store(settings)
    parts = []
    for table, rows in tables.items():
        for day in sorted(set(rows["as_of_date"].to_pylist())):
            chosen = rows.filter(pa.compute.equal(rows["as_of_date"], pa.scalar(day)))
            parts.append(store.write_part(table, day.isoformat(), chosen))
    lineage = {
        "shop_id": settings.shop_id,
        "target_day": target_day.isoformat(),
        "raw_version": "v000001-000000000000",
        "fingerprints": {table: f"{table}-as-built" for table in tables},
        "dbt": "0",
    }
    current = store.current()
    return Marts(store, store.publish(parts, lineage, current.id if current else None))
