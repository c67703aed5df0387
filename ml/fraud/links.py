"""What else is known around an order: orders that share an entity with it, and cases that were judged for like reasons.

Entities that name a crowd (a country, an e-mail domain) link nothing: those are counted over long windows only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ml.fraud.declaration import Declaration, declaration
from ml.fraud.feature_names import group_of
from ml.fraud.protocols import BIAS
from ml.fraud.reason_titles import entity_words

_PARTICULAR_SECONDS = 86_400


def linking_entities(declared: Declaration | None = None) -> dict[str, str]:
    """Entity -> its column in `fct_order_payments`, for those that name somebody or something particular."""
    of = declared or declaration()
    return {
        entity: of.entities[entity]
        for entity, windows in of.entity_windows.items()
        if min(of.window_seconds[window] for window in windows) <= _PARTICULAR_SECONDS
    }


def linked_entities(
    order: Mapping[str, Any], others: pd.DataFrame, is_fraud: Mapping[str, bool]
) -> list[dict[str, Any]]:
    """For each entity of the order, how many other orders share it and how they turned out.

    Args:
        order: Its row of `fct_order_payments`.
        others: Rows of other orders, with any of the entities' columns, `order_id`, `attempted_at`.
        is_fraud: Orders whose label is known.

    Returns:
        entity, words, count_orders, count_frauds, count_customers, first_at, last_at; entities without a value or
        without other orders are left out. No identifier is among them.
    """
    found = []
    for entity, column in linking_entities().items():
        value = order.get(column)
        if value is None or value != value or column not in others.columns:
            continue
        shared = others[others[column] == value]
        if shared.empty:
            continue
        customers = int(shared["customer_id"].nunique()) if "customer_id" in shared else None
        found.append(
            {
                "entity": entity,
                "words": entity_words(entity),
                "count_orders": len(shared),
                "count_frauds": sum(is_fraud.get(str(one), False) for one in shared["order_id"]),
                "count_customers": customers,
                "first_at": shared["attempted_at"].min(),
                "last_at": shared["attempted_at"].max(),
            }
        )
    return found


def linked_orders(
    order: Mapping[str, Any], others: pd.DataFrame, is_fraud: Mapping[str, bool], limit: int = 20
) -> list[dict[str, Any]]:
    """Other orders that share an entity: known frauds first, then other customers' orders, then those that share most.

    Returns:
        order_id, attempted_at, amount_cents, shared (entities), is_fraud (null: not known).
    """
    if others.empty:
        return []
    columns = {entity: column for entity, column in linking_entities().items() if column in others.columns}
    same = pd.DataFrame(
        {entity: _equals(others[column], order.get(column)) for entity, column in columns.items()}, index=others.index
    )
    ranked = others.assign(count_shared=same.sum(axis=1))
    ranked = ranked[ranked["count_shared"] > 0]
    ranked = ranked.assign(
        is_known_fraud=[is_fraud.get(str(one), False) for one in ranked["order_id"]],
        is_own=same["customer"].reindex(ranked.index) if "customer" in same else False,
    ).sort_values(
        ["is_known_fraud", "is_own", "count_shared", "attempted_at", "order_id"],
        ascending=[False, True, False, False, True],
        kind="stable",
    )
    return [
        {
            "order_id": str(row["order_id"]),
            "attempted_at": row["attempted_at"],
            "amount_cents": int(row["amount_cents"]),
            "shared": [entity for entity in columns if same.at[at, entity]],
            "is_fraud": is_fraud.get(str(row["order_id"])),
        }
        for at, row in ranked.head(limit).iterrows()
    ]


def similar_cases(
    contributions: Mapping[str, float], others: Mapping[str, Mapping[str, float]], limit: int = 5
) -> list[tuple[str, float]]:
    """Orders that were judged for like reasons: the nearest by contributions, summed by group.

    Groups, not features, are compared, so that cases of different model versions stand side by side.

    Args:
        contributions: Of the order, feature -> log-odds.
        others: The same of other orders.

    Returns:
        (order, distance in log-odds), the nearest first; ties by order id.
    """
    mine = _by_group(contributions)
    if not mine:
        return []
    grouped = {order: _by_group(of) for order, of in others.items() if of}
    codes = sorted(set(mine).union(*grouped.values()))
    if not grouped:
        return []
    own = np.array([mine.get(code, 0.0) for code in codes])
    matrix = np.array([[of.get(code, 0.0) for code in codes] for of in grouped.values()])
    distances = np.sqrt(((matrix - own) ** 2).sum(axis=1))
    ranked = sorted(zip(grouped, distances.tolist(), strict=True), key=lambda one: (one[1], one[0]))
    return ranked[:limit]


def _by_group(contributions: Mapping[str, float]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for feature, value in contributions.items():
        if feature != BIAS and value:
            sums[group_of(feature)] = sums.get(group_of(feature), 0.0) + float(value)
    return sums


def _equals(column: "pd.Series[Any]", value: Any) -> Sequence[bool]:
    if value is None or value != value:
        return [False] * len(column)
    return [bool(same) for same in column.eq(value).fillna(False)]
