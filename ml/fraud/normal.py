"""The customer's normal beside an order's own values, from what was counted of the customer's earlier orders."""

from typing import Any

from ml.fraud.declaration import EVER, declaration
from ml.fraud.reason_texts import Row, number
from ml.fraud.reason_titles import entity_words

_CUSTOMER = "customer"
_DAY_SECONDS = 86_400.0


def customer_normal(row: Row) -> list[dict[str, Any]]:
    """What this customer usually does beside what the order is.

    Args:
        row: The order's row of `feat_order_risk`.

    Returns:
        what, unit (cents, orders or days), order, usual, spread (one standard deviation; null where there is none).
        Empty for a customer without earlier orders, and for a guest.
    """
    orders = number(row, f"count_orders_{_CUSTOMER}_{EVER}")
    if not orders:
        return []
    return [*_amount(row), *_pace(row), *_gap(row, orders), *_company(row, orders)]


def _line(what: str, unit: str, order: float, usual: float | None, spread: float | None = None) -> dict[str, Any]:
    return {"what": what, "unit": unit, "order": order, "usual": usual, "spread": spread}


def _amount(row: Row) -> list[dict[str, Any]]:
    amount, mean = number(row, "amount_cents"), number(row, f"mean_amount_cents_{_CUSTOMER}_{EVER}")
    if amount is None or mean is None:
        return []
    spread = number(row, f"deviation_amount_cents_{_CUSTOMER}_{EVER}")
    return [_line("Amount of the order", "cents", amount, mean, spread)]


def _pace(row: Row) -> list[dict[str, Any]]:
    """Orders of each window beside the share of the longest one that falls on it."""
    seconds, windows = declaration().window_seconds, declaration().entity_windows.get(_CUSTOMER, ())
    if not windows:
        return []
    longest = max(windows, key=lambda window: seconds[window])
    total, lines = number(row, f"count_orders_{_CUSTOMER}_{longest}"), []
    for window in sorted(windows, key=lambda window: seconds[window]):
        count = number(row, f"count_orders_{_CUSTOMER}_{window}")
        if count is not None and total is not None and window != longest:
            usual = total * seconds[window] / seconds[longest]
            lines.append(_line(f"Earlier orders, last {window}", "orders", count, usual))
    return lines


def _gap(row: Row, orders: float) -> list[dict[str, Any]]:
    first, last = number(row, f"seconds_since_first_{_CUSTOMER}"), number(row, f"seconds_since_last_{_CUSTOMER}")
    if first is None or last is None:
        return []
    usual = (first - last) / (orders - 1) / _DAY_SECONDS if orders > 1 else None
    return [_line("Days since the last order", "days", last / _DAY_SECONDS, usual)]


def _company(row: Row, orders: float) -> list[dict[str, Any]]:
    """In how many of the customer's earlier orders this order's instrument, device and so on was used."""
    lines = []
    for first, second in declaration().pairs:
        together = number(row, f"count_orders_{first}_{second}_{EVER}") if first == _CUSTOMER else None
        if together is not None:
            lines.append(_line(f"Earlier orders with this {entity_words(second)}", "orders", together, orders))
    return lines
