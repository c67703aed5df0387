"""The counted features of orders, slowly and by their definition: what dbt's SQL is compared with.

Every feature is recounted for every order from the list of all earlier ones. Shares nothing with dbt's SQL or with
the online state but the declaration.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ml.fraud.declaration import EVER, Declaration

Order = Mapping[str, Any]
Values = dict[str, float | int | None]


def counted(declared: Declaration, orders: Sequence[Order], frauds: Mapping[str, datetime]) -> dict[str, Values]:
    """Feature -> value, per order.

    Args:
        orders: order_id, attempted_at, amount_cents, is_failed, and the columns of the declaration's entities.
        frauds: Order -> when its first fraud label became known.
    """
    ordered = sorted(orders, key=lambda order: (order["attempted_at"], order["order_id"]))
    return {
        order["order_id"]: _of_order(declared, ordered[:place], order, frauds) for place, order in enumerate(ordered)
    }


def _of_order(declared: Declaration, earlier: Sequence[Order], order: Order, frauds: Mapping[str, datetime]) -> Values:
    moment = order["attempted_at"]
    # Labels of later orders cannot be known before the order; those of orders at the same moment can be neither.
    known = {
        each["order_id"]: max(frauds[each["order_id"]], each["attempted_at"])
        for each in earlier
        if each["order_id"] in frauds
    }
    known = {order_id: known_at for order_id, known_at in known.items() if known_at < moment}
    shop_rate = (len(known) + 1) / (len(earlier) + 200)
    values: Values = {}
    for entity, column in declared.entities.items():
        value = order[column]
        if value is None:
            continue
        own = [each for each in earlier if each[column] == value]
        values |= _of_entity(declared, entity, own, known, moment, shop_rate)
    values[f"fraud_rate_shop_{EVER}"] = shop_rate
    for sharing in declared.sharing:
        column, of = declared.entities[sharing.entity], declared.entities[sharing.of]
        if order[column] is not None:
            start = _start(declared, sharing.window, moment)
            seen = {each[of] for each in earlier if each[column] == order[column] and each["attempted_at"] >= start}
            values[sharing.feature] = min(len(seen - {None}), declared.sharing_cap)
    for first, second in declared.pairs:
        pair = [declared.entities[first], declared.entities[second]]
        if all(order[column] is not None for column in pair):
            same = [each for each in earlier if all(each[column] == order[column] for column in pair)]
            values[f"count_orders_{first}_{second}_{EVER}"] = len(same)
    return {name: values.get(name) for name in declared.counted_features()}


def _of_entity(
    declared: Declaration,
    entity: str,
    own: Sequence[Order],
    known: Mapping[str, datetime],
    moment: datetime,
    shop_rate: float,
) -> Values:
    values: Values = {}
    for window in declared.entity_windows[entity]:
        start = _start(declared, window, moment)
        inside = [each for each in own if each["attempted_at"] >= start]
        values[f"count_orders_{entity}_{window}"] = len(inside)
        values[f"amount_cents_{entity}_{window}"] = sum(each["amount_cents"] for each in inside)
        values[f"count_failed_{entity}_{window}"] = sum(each["is_failed"] for each in inside)
    values[f"count_orders_{entity}_{EVER}"] = len(own)
    if own:
        amounts = [each["amount_cents"] for each in own]
        mean = sum(amounts) / len(amounts)
        values[f"seconds_since_first_{entity}"] = (moment - own[0]["attempted_at"]).total_seconds()
        values[f"seconds_since_last_{entity}"] = (moment - own[-1]["attempted_at"]).total_seconds()
        values[f"mean_amount_cents_{entity}_{EVER}"] = mean
        variance = sum((amount - mean) ** 2 for amount in amounts) / len(amounts)
        values[f"deviation_amount_cents_{entity}_{EVER}"] = math.sqrt(variance)
    moments = [known[each["order_id"]] for each in own if each["order_id"] in known]
    smoothing = declared.smoothing_orders
    for window in (*declared.fraud_windows, EVER):
        start = datetime.min.replace(tzinfo=UTC) if window == EVER else _start(declared, window, moment)
        frauds = values[f"count_frauds_{entity}_{window}"] = sum(known_at >= start for known_at in moments)
        counted_orders = values.get(f"count_orders_{entity}_{window}")
        if counted_orders is not None:
            values[f"fraud_rate_{entity}_{window}"] = (frauds + smoothing * shop_rate) / (counted_orders + smoothing)
    return values


def _start(declared: Declaration, window: str, moment: datetime) -> datetime:
    start = moment - timedelta(seconds=declared.window_seconds[window])
    return start.replace(hour=0, minute=0, second=0, microsecond=0) if declared.is_tiled(window) else start
