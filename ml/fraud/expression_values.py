"""What an expression says of orders: of a whole frame at once, or of one order. Both agree, which a test holds.

Missing is NaN in arrays of numbers and truths, None among texts and for one order.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.expression import Expression
from ml.fraud.expression_nodes import (
    Arithmetic,
    Compared,
    Field,
    Kind,
    Literally,
    Logic,
    Missing,
    Negated,
    Node,
    Not,
    Within,
)
from ml.fraud.order_table import Orders, OrderTable, order_table

Values = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

_FEW = 6
"""Up to so many orders are looked at one by one."""


def truths(expression: Expression, orders: Orders) -> Floats:
    """What the condition says of each order: 1.0, 0.0, or NaN where a missing value leaves it open.

    A field that the orders have no column of is missing everywhere. Shape: (n,).
    """
    table = order_table(orders)
    if table.n <= _FEW:  # small arrays are slower than their values by far
        judge = compiled(expression)
        said = [judge(_At(table, at)) for at in range(table.n)]
        return np.array([np.nan if one is None else float(one) for one in said])
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(_values(expression.root, table), dtype=np.float64), (table.n,))


def truth(expression: Expression, order: Mapping[str, Any]) -> bool | None:
    """What the condition says of one order; None where a missing value leaves it open."""
    return compiled(expression)(_Held(order))


def _values(node: Node, table: OrderTable) -> Values:
    """Of each order; of what is the same for all, one value."""
    match node:
        case Literally(value=value, kind=kind):
            return np.array(value, dtype=object if kind == "text" else np.float64)
        case Field(name=name, kind=kind):
            return table.texts(name) if kind == "text" else table.numbers(name)
        case Negated(of=of):
            return np.asarray(-_values(of, table))
        case Arithmetic(sign=sign, left=left, right=right):
            computed = _SIGNS[sign](_values(left, table), _values(right, table))
            return np.where(np.isfinite(computed), computed, np.nan)
        case Compared(sign=sign, left=left, right=right):
            return _comparison(sign, left, right, table)
        case Within(of=of, values=values):
            asked = _values(of, table)
            found = np.isin(asked.astype(object), np.array(values, dtype=object)).astype(np.float64)
            return np.where(_is_missing(asked, of.kind), np.nan, found)
        case Missing(of=of):
            return _is_missing(_values(of, table), of.kind).astype(np.float64)
        case Not(of=of):
            return 1.0 - _values(of, table)
        case Logic(word=word, parts=parts):
            return _joined(word, [_values(part, table) for part in parts])


_SIGNS: Mapping[str, Any] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide,
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


def _joined(word: str, said: Sequence[Values]) -> Values:
    """The least truth decides an `and`, the greatest an `or`; beside a deciding one, missing does not matter."""
    least_or_most, fewest = (np.minimum, np.fmin) if word == "and" else (np.maximum, np.fmax)
    deciding = 0.0 if word == "and" else 1.0
    joined: Values = said[0]
    known: Values = said[0]
    for one in said[1:]:
        joined, known = least_or_most(joined, one), fewest(known, one)
    return np.where(known == deciding, deciding, joined)


def _comparison(sign: str, left: Node, right: Node, table: OrderTable) -> Values:
    first, second = _values(left, table), _values(right, table)
    said: Values = _SIGNS[sign](first, second).astype(np.float64)
    for node, values in ((left, first), (right, second)):
        if not isinstance(node, Literally):
            said = np.where(_is_missing(values, node.kind), np.nan, said)
    return said


def _is_missing(values: Values, kind: Kind) -> npt.NDArray[np.bool_]:
    missing: Any = values == np.array(None) if kind == "text" else np.isnan(values)
    return np.asarray(missing, dtype=np.bool_)


Value = float | str | bool | None


class OneOrder(Protocol):
    def value(self, name: str, kind: Kind) -> Value:
        """Of a field; None where it is missing, or a number that is not finite."""
        ...


def compiled(expression: Expression) -> Callable[[OneOrder], bool | None]:
    """The condition as a function of one order; made once for each expression."""
    known = _COMPILED.get(expression)
    if known is None:
        known = _COMPILED[expression] = _one(expression.root)
    return known


_COMPILED: WeakKeyDictionary[Expression, Callable[[OneOrder], Any]] = WeakKeyDictionary()


class _At:
    """One order of a table."""

    def __init__(self, table: OrderTable, at: int) -> None:
        self._table, self._at = table, at

    def value(self, name: str, kind: Kind) -> Value:
        return self._table.value(name, kind, self._at)


class _Held:
    """An order that is a mapping."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order

    def value(self, name: str, kind: Kind) -> Value:
        held = self._order.get(name)
        if pd.isna(held):
            return None
        if kind == "text":
            return str(held)
        if kind == "truth":
            return bool(held)
        number = float(held)
        return number if math.isfinite(number) else None


def _one(node: Node) -> Callable[[OneOrder], Any]:
    match node:
        case Literally(value=value):
            return lambda _order: value
        case Field(name=name, kind=kind):
            return lambda order: order.value(name, kind)
        case Negated(of=of):
            asked = _one(of)
            return lambda order: None if (number := asked(order)) is None else -number
        case Arithmetic(sign=sign, left=left, right=right):
            return _computed_one(sign, _one(left), _one(right))
        case Compared(sign=sign, left=left, right=right):
            return _comparison_one(_COMPARISONS[sign], _one(left), _one(right))
        case Within(of=of, values=values):
            asked, among = _one(of), frozenset(values)
            return lambda order: None if (value := asked(order)) is None else value in among
        case Missing(of=of):
            asked = _one(of)
            return lambda order: asked(order) is None
        case Not(of=of):
            asked = _one(of)
            return lambda order: None if (said := asked(order)) is None else not said
        case Logic(word=word, parts=parts):
            return _logic_one(word == "or", [_one(part) for part in parts])


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip


def _computed_one(
    sign: str, left: Callable[[OneOrder], Any], right: Callable[[OneOrder], Any]
) -> Callable[[OneOrder], float | None]:
    compute = _ARITHMETIC[sign]

    def computed(order: OneOrder) -> float | None:
        first, second = left(order), right(order)
        if first is None or second is None or (sign == "/" and second == 0.0):
            return None
        value = compute(first, second)
        return float(value) if math.isfinite(value) else None

    return computed


def _comparison_one(
    compare: Callable[[Any, Any], bool], left: Callable[[OneOrder], Any], right: Callable[[OneOrder], Any]
) -> Callable[[OneOrder], bool | None]:
    def compared(order: OneOrder) -> bool | None:
        first, second = left(order), right(order)
        return None if first is None or second is None else compare(first, second)

    return compared


def _logic_one(
    deciding: bool,
    parts: Sequence[Callable[[OneOrder], bool | None]],
) -> Callable[[OneOrder], bool | None]:
    def joined(order: OneOrder) -> bool | None:
        is_open = False
        for part in parts:
            said = part(order)
            if said is deciding:
                return deciding
            is_open = is_open or said is None
        return None if is_open else not deciding

    return joined
