"""What the marts know around one order: its payment, its features, orders that share a value with it, labels."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import pandas as pd

_CHUNK = 500
_COLUMNS = ("order_id", "customer_id", "attempted_at", "amount_cents")


def payment_of(connection: duckdb.DuckDBPyConnection, order_id: str) -> dict[str, Any] | None:
    """The order's row of `fct_order_payments`; None when it has none."""
    return _row(connection, "fct_order_payments", order_id)


def features_of(connection: duckdb.DuckDBPyConnection, order_id: str) -> dict[str, Any] | None:
    """The order's row of `feat_order_risk`; None when it has none."""
    return _row(connection, "feat_order_risk", order_id)


def orders_sharing(
    connection: duckdb.DuckDBPyConnection, order: Mapping[str, Any], columns: Iterable[str]
) -> pd.DataFrame:
    """Other orders whose value in any of some columns is the order's.

    Args:
        order: Its row of `fct_order_payments`.
        columns: Columns of that mart; those that the order has no value in link nothing.

    Returns:
        order_id, customer_id, attempted_at, amount_cents and the columns.
    """
    present = [name for name in columns if order.get(name) is not None]
    chosen = list(dict.fromkeys([*_COLUMNS, *present]))
    quoted = ", ".join(f'"{name}"' for name in chosen)
    if not present:
        return pd.DataFrame(columns=chosen)
    same = " or ".join(f'"{name}" = ?' for name in present)
    statement = f"select {quoted} from fct_order_payments where ({same}) and order_id <> ?"  # noqa: S608 - our columns
    values = [*(order[name] for name in present), order["order_id"]]
    found: pd.DataFrame = connection.execute(statement, values).df()
    return found


def known_labels(connection: duckdb.DuckDBPyConnection, orders: Sequence[str]) -> dict[str, bool]:
    """Whether an order was fraud, of those of which it is known; fraud outweighs what was thought before."""
    found: dict[str, bool] = {}
    for start in range(0, len(orders), _CHUNK):
        chunk = list(orders[start : start + _CHUNK])
        marks = ", ".join("?" for _ in chunk)
        statement = f"select order_id, bool_or(is_fraud) from fct_fraud_labels where order_id in ({marks}) group by 1"  # noqa: S608 - marks
        found |= {str(order): bool(is_fraud) for order, is_fraud in connection.execute(statement, chunk).fetchall()}
    return found


def _row(connection: duckdb.DuckDBPyConnection, mart: str, order_id: str) -> dict[str, Any] | None:
    found = connection.execute(f"select * from {mart} where order_id = ?", [order_id])  # noqa: S608 - our marts
    names = [column[0] for column in found.description]
    rows = found.fetchall()
    return dict(zip(names, rows[0], strict=True)) if rows else None
