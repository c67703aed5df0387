"""A source whose shop has no payments, with simulated ones laid over its orders. What it adds is made up."""

from collections.abc import Callable
from datetime import date

import pandas as pd
import pyarrow as pa

from ml.settings import Settings
from ml.shop.contract import CONTRACT
from ml.shop.delivery import Delivery
from ml.shop.fraud_simulation.config import SimulationConfig
from ml.shop.fraud_simulation.context import ORDER_COLUMNS
from ml.shop.fraud_simulation.simulate import Simulated, simulate
from ml.shop.sources import SIMULATION, ShopSource

SIMULATED_TABLES = ("payments", "chargebacks", "refunds")
_MOMENTS = {"chargebacks": "reported_at", "refunds": "refunded_at"}


class SimulatedPaymentsSource:
    """Everything that another source has; where that has no payments, simulated ones, and chargebacks and refunds
    unless it has them.

    The payments of some days are those of the orders that the source delivers for them. A day's chargebacks and
    refunds are those that become known on it; they take account of the decisions made until then.
    """

    def __init__(
        self, shop: ShopSource, settings: Settings, decisions: Callable[[], pd.DataFrame | None] | None = None
    ) -> None:
        """
        Args:
            decisions: Gives order_id, action, decided_at of what was decided so far; None for a shop that lets
                everything through.
        """
        self._shop = shop
        self._settings = settings
        self._decisions = decisions
        self._made: tuple[date, Simulated, pd.Series] | None = None

    @property
    def name(self) -> str:
        return self._shop.name

    def name_of(self, table: str) -> str:
        """Where a table comes from: "simulation" for what is made up."""
        found = self._shop.tables()
        is_made_up = table in SIMULATED_TABLES and table not in found and "payments" not in found
        return SIMULATION if is_made_up else self._shop.name

    def tables(self) -> tuple[str, ...]:
        found = set(self._shop.tables())
        if "payments" not in found:
            found |= set(SIMULATED_TABLES)
        return tuple(table for table in CONTRACT if table in found)

    def read(self, table: str, first_day: date, end_day: date) -> Delivery:
        if self.name_of(table) != SIMULATION:
            return self._shop.read(table, first_day, end_day)
        simulated, currency = self._simulated(end_day)
        rows: pd.DataFrame = getattr(simulated, table)
        if table == "payments":
            delivered = readable_orders(self._shop.read("orders", first_day, end_day))
            rows = rows[rows["order_id"].isin(delivered["order_id"])]
        else:
            moments = rows[_MOMENTS[table]]
            bounds = self._settings.day_start(first_day), self._settings.day_start(end_day)
            rows = rows[(moments >= bounds[0]) & (moments < bounds[1])]
        rows = rows.assign(currency=rows["order_id"].map(currency))
        made = pa.Table.from_pandas(rows, CONTRACT[table].schema, preserve_index=False)
        return Delivery(table, made.replace_schema_metadata(None), "typed")

    def _simulated(self, end_day: date) -> tuple[Simulated, pd.Series]:
        """What is simulated over all orders before a day, and the orders' currencies."""
        if self._made is None or self._made[0] != end_day:
            first_day = min(self._settings.first_day, end_day)
            orders = readable_orders(self._shop.read("orders", first_day, end_day))
            orders = self._with_amounts(orders, first_day, end_day)
            config = SimulationConfig(
                seed=self._settings.seed,
                fraud_rate=self._settings.simulated_fraud_rate,
                timezone=self._settings.timezone,
            )
            simulated = simulate(orders, config, self._decisions() if self._decisions else None)
            currencies = orders.set_index("order_id")["currency"].fillna(self._settings.currency)
            self._made = (end_day, simulated, currencies)
        return self._made[1], self._made[2]

    def _with_amounts(self, orders: pd.DataFrame, first_day: date, end_day: date) -> pd.DataFrame:
        """Orders without a total are paid what their lines add up to."""
        if not orders["total_amount_cents"].isna().any():
            return orders
        lines = self._shop.read("order_lines", first_day, end_day).rows.select(["order_id", "amount_cents"]).to_pandas()
        lines["amount_cents"] = pd.to_numeric(lines["amount_cents"], errors="coerce")
        totals = lines.groupby("order_id")["amount_cents"].sum()
        return orders.assign(
            total_amount_cents=orders["total_amount_cents"].fillna(orders["order_id"].map(totals)).astype("Float64")
        )


def readable_orders(delivery: Delivery) -> pd.DataFrame:
    """The orders that can be paid: rows with an id and a time; of an order that stands twice the last one.

    Returns:
        The columns that `simulate` takes, and currency.
    """
    found = delivery.rows.to_pandas()
    empty = pd.Series(None, index=found.index, dtype=object)
    rows = pd.DataFrame({name: found.get(name, empty) for name in (*ORDER_COLUMNS, "currency")}, index=found.index)
    rows["ordered_at"] = pd.to_datetime(rows["ordered_at"], utc=True, errors="coerce", format="ISO8601")
    amounts = pd.to_numeric(rows["total_amount_cents"], errors="coerce")
    rows["total_amount_cents"] = amounts.where(amounts >= 0).round()
    if "_op" in found:
        rows = rows[found["_op"].fillna("upsert") != "delete"]
    rows = rows[rows["order_id"].notna() & rows["ordered_at"].notna()]
    return rows.drop_duplicates("order_id", keep="last").reset_index(drop=True)
