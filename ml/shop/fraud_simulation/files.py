"""Simulated payments for a folder of shop files, a file per day as the files source reads them."""

from datetime import date
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ml.shop.contract import CONTRACT
from ml.shop.fraud_simulation.config import SimulationConfig
from ml.shop.fraud_simulation.simulate import simulate

_MIDDAY_HOURS = 15
_SPREAD_SECONDS = 3 * 3600


def lay_payments(folder: Path, currency: str, config: SimulationConfig) -> int:
    """Write `payments`, `chargebacks` and `refunds` beside the orders of a generated shop.

    An order's payments stand in the file of the order's day. What becomes known after the last day is left out; it
    becomes known at daytime in New York and Berlin, as all else happens in a generated shop.

    Returns:
        How many payments.
    """
    by_day = {path.stem: pq.read_table(path).to_pandas() for path in sorted((folder / "orders").glob("*.parquet"))}
    orders = pd.concat([rows.assign(day=day) for day, rows in by_day.items()], ignore_index=True)
    made = simulate(orders, config)
    days = orders.set_index("order_id")["day"]
    _write(folder, "payments", made.payments, made.payments["order_id"].map(days), currency, list(by_day))
    for table, moment in (("chargebacks", "reported_at"), ("refunds", "refunded_at")):
        rows: pd.DataFrame = getattr(made, table)
        start = rows[moment].dt.floor("D")
        seconds = (rows[moment] - start).dt.total_seconds() % _SPREAD_SECONDS
        told = rows.assign(**{moment: start + pd.to_timedelta(seconds + _MIDDAY_HOURS * 3600, unit="s")})
        _write(folder, table, told, told[moment].dt.strftime("%Y-%m-%d"), currency, list(by_day))
    return len(made.payments)


def _write(folder: Path, table: str, rows: pd.DataFrame, day_of: pd.Series, currency: str, days: list[str]) -> None:
    (folder / table).mkdir(parents=True, exist_ok=True)
    parts = dict(list(rows.assign(currency=currency).groupby(day_of)))
    for day in days:
        part = parts.get(day)
        if part is None:
            continue
        made = pa.Table.from_pandas(part, CONTRACT[table].schema, preserve_index=False)
        pq.write_table(made.replace_schema_metadata(None), folder / table / f"{date.fromisoformat(day)}.parquet")
