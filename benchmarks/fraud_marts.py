"""The fraud marts of rows at hand, by the project's own dbt models, in a scratch folder; the gates are not run."""

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from time import perf_counter
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from ml.shop.contract import CONTRACT
from ml.shop.contract.table import Table
from ml.stores.dbt_run import DBT_PROJECT_DIR
from ml.stores.raw import SET_ASIDE_SCHEMA, AcceptedBatch, RawStore, raw_schema

MARTS = ("fct_order_payments", "feat_order_risk", "fct_fraud_labels", "fct_fraud_decisions")


@dataclass(frozen=True)
class BuiltMarts:
    """A database that dbt wrote, and how long dbt took, start-up included."""

    database: Path
    seconds: float

    def connect(self) -> duckdb.DuckDBPyConnection:
        """The marts by name, in UTC."""
        connection = duckdb.connect(str(self.database), config={"threads": 2, "memory_limit": "4GB"})
        connection.execute("set TimeZone = 'UTC'")
        schemas = connection.sql(
            "select table_schema, table_name from information_schema.tables where table_schema not in ('raw', 'main')"
        ).fetchall()
        for schema, name in schemas:
            if name in MARTS:
                connection.table(f"{schema}.{name}").create_view(name)
        return connection


def build_fraud_marts(folder: Path, tables: dict[str, pa.Table], target_day: date, zone: str) -> BuiltMarts:
    """Publish rows as one raw version and build the four fraud marts with all that they need.

    Args:
        folder: Empty; raw parts, the database and dbt's artifacts come here.
        tables: Contract tables; missing columns are null.
        target_day: At least the last day of any row.
        zone: The shop's time zone.
    """
    from ml.settings import Settings

    settings = Settings(_env_file=None, state_dir=folder, shop_id="bench", timezone=zone)
    batches = [_accepted(CONTRACT[name], rows, target_day, settings.zone) for name, rows in tables.items()]
    version = RawStore(settings).append(batches)
    database = folder / "bench.duckdb"
    command = [
        *(sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "run", "--target", "scratch"),
        *("--project-dir", str(DBT_PROJECT_DIR), "--profiles-dir", str(DBT_PROJECT_DIR)),
        *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
        *("--log-level-file", "none", "--select", *(f"+{mart}" for mart in MARTS)),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONUTF8": "1",
        "DO_NOT_TRACK": "1",
        "SHOPWRIGHT_STATE_DIR": str(folder),
        "SHOPWRIGHT_SHOP_ID": settings.shop_id,
        "SHOPWRIGHT_TIMEZONE": zone,
        "WAREHOUSE_DATABASE": str(database),
        "WAREHOUSE_RAW_VERSION": version.id,
        "WAREHOUSE_TARGET_DAY": target_day.isoformat(),
    }
    begun = perf_counter()
    done = subprocess.run(command, env=environment, cwd=DBT_PROJECT_DIR, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"dbt failed:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
    return BuiltMarts(database, perf_counter() - begun)


def _accepted(contract: Table, rows: pa.Table, target_day: date, zone: ZoneInfo) -> AcceptedBatch:
    batch_id = f"{target_day}.1d.00000000"
    full = _in_contract_form(contract, rows)
    booked = _with_bookkeeping(contract, full, batch_id, target_day, zone)
    return AcceptedBatch(
        table=contract.name,
        batch_id=batch_id,
        rows=booked,
        set_aside_lines=SET_ASIDE_SCHEMA.empty_table(),
        rows_in=booked.num_rows,
        rows_quarantined=0,
        rows_collapsed=0,
        rows_late=0,
    )


def _in_contract_form(contract: Table, rows: pa.Table) -> pa.Table:
    fields = [raw_schema(contract).field(name) for name in (*contract.schema.names, "updated_at", "_op")]
    columns = [
        rows.column(field.name).cast(field.type, safe=False)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in fields
    ]
    return pa.table(columns, schema=pa.schema([(field.name, field.type) for field in fields]))


def _with_bookkeeping(contract: Table, rows: pa.Table, batch_id: str, day: date, zone: ZoneInfo) -> pa.Table:
    from expectations.conservation import with_bookkeeping

    return with_bookkeeping(contract, rows, batch_id, day, zone)
