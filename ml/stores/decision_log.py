"""The log of decisions: one row per order, never changed once made.

A step that runs again offers its decisions again; what was decided first stays, also when a newer model or policy
would now decide otherwise. What a shadow policy would have done lies beside it.
"""

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Table, select

from ml.outcomes import DataFailed
from ml.settings import wall_clock
from ml.stores.fraud_tables import decisions, shadow_decisions
from ml.stores.operations import Operations

ACTIONS = ("approve", "challenge", "review", "decline")
SOURCES = ("model", "rule", "list", "standin")
# Bound variables of one statement: SQLite takes 32,766, PostgreSQL 65,535.
_CHUNK = 500

_MADE_HERE = {"id", "recorded_at"}
_EMPTY: Mapping[str, Any] = {"expected_costs": {}, "reasons": [], "rule_trace": [], "contributions": {}}
_JSON = tuple(_EMPTY)


def record_decisions(operations: Operations, frame: pd.DataFrame) -> list[str]:
    """Store decisions; an order that has one keeps it.

    Args:
        frame: One row per order with the columns of `ml.stores.fraud_tables.decisions`. `decision_id` is made from
            the order's id where it is missing; columns that may be null, and the explanations, may be missing.

    Returns:
        The orders whose decision is the one given now, in the order given.

    Raises:
        DataFailed: A column is missing, or holds what a decision cannot be.
    """
    rows = [_row(record) for record in frame.to_dict("records")]
    _check_once([str(row["order_id"]) for row in rows])
    return _insert_new(operations, decisions, rows, ("order_id",))


def record_shadow_decisions(operations: Operations, frame: pd.DataFrame) -> int:
    """Store what a policy in shadow would have done; the same order and policy again change nothing.

    Args:
        frame: order_id, policy_version, partition, action, expected_cost_cents.

    Returns:
        How many are new.
    """
    wanted = _columns(shadow_decisions)
    _check_columns(frame.columns, wanted, "shadow decisions")
    rows = [{name: _plain(row[name]) for name in wanted} for row in frame.to_dict("records")]
    for row in rows:
        _check_allowed(row, "action", ACTIONS)
        row["partition"] = str(row["partition"])[:10]
    return len(_insert_new(operations, shadow_decisions, rows, ("order_id", "policy_version")))


def read(
    operations: Operations,
    *,
    orders: Sequence[str] | None = None,
    first: date | None = None,
    last: date | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Decisions of some orders or of shop days, both ends included, in the order in which they were recorded.

    Args:
        columns: Only these; all without. Explanations are large: name what you need.
    """
    names = list(columns) if columns is not None else list(decisions.c.keys())
    statement = select(*(decisions.c[name] for name in names)).order_by(decisions.c.id)
    if first is not None:
        statement = statement.where(decisions.c.partition >= first.isoformat())
    if last is not None:
        statement = statement.where(decisions.c.partition <= last.isoformat())
    statements = [statement]
    if orders is not None:
        statements = [statement.where(decisions.c.order_id.in_(chunk)) for chunk in _chunks(orders)]
    with operations.transaction() as connection:
        found = [dict(row._mapping) for one in statements for row in connection.execute(one)]
    return pd.DataFrame(found, columns=names)


def decision_of(operations: Operations, order_id: str) -> dict[str, Any] | None:
    """An order's decision with all that explains it; None when it has none."""
    found = operations.rows(decisions, order_id=order_id)
    return found[0] if found else None


def decided_orders(operations: Operations, orders: Iterable[str]) -> set[str]:
    """Those of some orders that have a decision."""
    return {key[0] for key in _present(operations, decisions, [(order,) for order in orders])}


def _row(record: Mapping[Hashable, Any]) -> dict[str, Any]:
    names = _columns(decisions)
    filled: dict[str, Any] = {
        **dict.fromkeys(_nullable()),
        **_EMPTY,
        **{str(k): v for k, v in record.items()},
    }
    if not filled.get("decision_id"):
        filled["decision_id"] = f"decision-{filled.get('order_id')}"[:80]
    _check_columns(filled, names, "decisions")
    row = {name: (_json if name in _JSON else _plain)(filled[name]) for name in names}
    for name in _JSON:
        row[name] = _EMPTY[name] if row[name] is None else row[name]
    row["partition"] = str(row["partition"])[:10]
    _check_allowed(row, "action", ACTIONS)
    _check_allowed(row, "source", SOURCES)
    for name in ("score", "propensity"):
        if row[name] is not None and not 0 <= row[name] <= 1:
            raise DataFailed(f"decisions.{name}: expected a number from 0 to 1")
    missing = [name for name in names if row[name] is None and not decisions.c[name].nullable]
    if missing:
        raise DataFailed(f"decisions: {', '.join(missing)} must not be null")
    return row


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns if column.name not in _MADE_HERE]


def _nullable() -> list[str]:
    return [column.name for column in decisions.columns if column.nullable]


def _check_columns(given: Iterable[Any], wanted: Iterable[str], what: str) -> None:
    missing = sorted(set(wanted) - {str(name) for name in given})
    if missing:
        raise DataFailed(f"{what}: missing {', '.join(missing)}")


def _check_allowed(row: Mapping[str, Any], name: str, allowed: Sequence[str]) -> None:
    if row[name] not in allowed:
        raise DataFailed(f"decisions.{name}: expected one of {', '.join(allowed)}")


def _check_once(orders: Sequence[str]) -> None:
    if len(set(orders)) != len(orders):
        raise DataFailed(f"decisions: {len(orders) - len(set(orders))} orders have more than one row")


def _plain(value: Any) -> Any:
    """A value as the database takes it: no numpy types, no NaN, moments with their zone."""
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        moment = value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return value


def _json(value: Any) -> Any:
    """The same inside lists and dictionaries; JSON knows no NaN."""
    if type(value) is float:  # most of what there is: a contribution for each feature
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _json(one) for name, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_json(one) for one in value]
    plain = _plain(value)
    return plain.isoformat() if isinstance(plain, datetime | date) else plain


def _insert_new(
    operations: Operations, table: Table, rows: Sequence[dict[str, Any]], key: tuple[str, ...]
) -> list[str]:
    """Insert rows whose key is new, whoever else inserts; return the first part of the keys that were new here."""
    now = wall_clock()
    statement = operations.insert(table).on_conflict_do_nothing(index_elements=list(key)).returning(table.c[key[0]])
    added: list[str] = []
    for start in range(0, len(rows), _CHUNK):
        chunk = [{"recorded_at": now, **row} for row in rows[start : start + _CHUNK]]
        present = _present(operations, table, [tuple(row[name] for name in key) for row in chunk])
        waiting = [row for row in chunk if tuple(row[name] for name in key) not in present]
        if waiting:
            with operations.transaction() as connection:
                added += [str(order) for order in connection.execute(statement, waiting).scalars()]
    return added


def _present(operations: Operations, table: Table, keys: Sequence[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Those of some keys that the table has."""
    if not keys:
        return set()
    names = ("order_id", "policy_version")[: len(keys[0])]
    columns = [table.c[name] for name in names]
    found: set[tuple[Any, ...]] = set()
    with operations.transaction() as connection:
        for chunk in _chunks([key[0] for key in keys]):
            found |= {tuple(row) for row in connection.execute(select(*columns).where(columns[0].in_(chunk)))}
    return found & set(keys)


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
