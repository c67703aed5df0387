"""What an expression says of orders: of a whole frame at once, or of one order. Both agree, which a test holds.

Missing is NaN in arrays of numbers and truths, None among texts and for one order.
"""

import math
from collections.abc import Mapping
from typing import Any

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

Values = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def truths(expression: Expression, orders: pd.DataFrame) -> Floats:
    """What the condition says of each order: 1.0, 0.0, or NaN where a missing value leaves it open.

    A field that the frame has no column of is missing everywhere. Shape: (len(orders),).
    """
    with np.errstate(all="ignore"):
        return np.asarray(_values(expression.root, orders), dtype=np.float64)


def truth(expression: Expression, order: Mapping[str, Any]) -> bool | None:
    """What the condition says of one order; None where a missing value leaves it open."""
    said = _value(expression.root, order)
    assert said is None or isinstance(said, bool), f"a condition gave {type(said).__name__}"
    return said


def _values(node: Node, orders: pd.DataFrame) -> Values:
    match node:
        case Literally(value=value, kind=kind):
            return np.full(len(orders), value, dtype=object if kind == "text" else np.float64)
        case Field(name=name, kind=kind):
            return _column(orders, name, kind)
        case Negated(of=of):
            return -_values(of, orders)
        case Arithmetic(sign=sign, left=left, right=right):
            return _computed(sign, _values(left, orders), _values(right, orders))
        case Compared(sign=sign, left=left, right=right):
            return _comparison(sign, _values(left, orders), _values(right, orders))
        case Within(of=of, values=values):
            asked = _values(of, orders)
            found = np.isin(asked.astype(object), np.array(values, dtype=object)).astype(np.float64)
            return _known(found, _is_missing(asked))
        case Missing(of=of):
            return _is_missing(_values(of, orders)).astype(np.float64)
        case Not(of=of):
            return 1.0 - _values(of, orders)
        case Logic(word=word, parts=parts):
            # The least truth decides an `and`, the greatest an `or`; beside a deciding one, missing does not matter.
            said = np.stack([_values(part, orders) for part in parts])
            deciding = 0.0 if word == "and" else 1.0
            joined = said.min(axis=0) if word == "and" else said.max(axis=0)
            return np.where((said == deciding).any(axis=0), deciding, joined)


def _column(orders: pd.DataFrame, name: str, kind: Kind) -> Values:
    if name not in orders.columns:
        return np.full(len(orders), None if kind == "text" else np.nan, dtype=object if kind == "text" else np.float64)
    column = orders[name]
    if kind == "text":
        texts = column.astype(object).map(str, na_action="ignore")
        return np.asarray(texts.where(column.notna(), None).to_numpy(dtype=object))
    if kind == "truth":
        column = column.astype("boolean").astype("Float64")
    numbers = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _computed(sign: str, left: Values, right: Values) -> Values:
    computed = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[sign](left, right)
    return np.where(np.isfinite(computed), computed, np.nan)


def _comparison(sign: str, left: Values, right: Values) -> Values:
    compare: Any = {
        "==": np.equal,
        "!=": np.not_equal,
        "<": np.less,
        "<=": np.less_equal,
        ">": np.greater,
        ">=": np.greater_equal,
    }[sign]
    return _known(compare(left, right).astype(np.float64), _is_missing(left) | _is_missing(right))


def _is_missing(values: Values) -> npt.NDArray[np.bool_]:
    return np.asarray(pd.isna(values), dtype=np.bool_)


def _known(said: Values, missing: npt.NDArray[np.bool_]) -> Values:
    return np.where(missing, np.nan, said)


def _value(node: Node, order: Mapping[str, Any]) -> float | str | bool | None:
    match node:
        case Literally(value=value):
            return value
        case Field(name=name, kind=kind):
            return _held(order.get(name), kind)
        case Negated(of=of):
            number = _value(of, order)
            return None if number is None else -number  # type: ignore[operator]  # kinds were checked on reading
        case Arithmetic(sign=sign, left=left, right=right):
            return _computed_one(sign, _value(left, order), _value(right, order))
        case Compared(sign=sign, left=left, right=right):
            return _comparison_one(sign, _value(left, order), _value(right, order))
        case Within(of=of, values=values):
            asked = _value(of, order)
            return None if asked is None else asked in values
        case Missing(of=of):
            return _value(of, order) is None
        case Not(of=of):
            said = _value(of, order)
            return None if said is None else not said
        case Logic(word=word, parts=parts):
            said_of = [_value(part, order) for part in parts]
            deciding = word == "or"
            if deciding in said_of:
                return deciding
            return None if None in said_of else not deciding


def _held(value: Any, kind: Kind) -> float | str | bool | None:
    if pd.isna(value):
        return None
    if kind == "text":
        return str(value)
    if kind == "truth":
        return bool(value)
    number = float(value)
    return number if math.isfinite(number) else None


def _computed_one(sign: str, left: Any, right: Any) -> float | None:
    if left is None or right is None:
        return None
    if sign == "/":
        computed = left / right if right != 0.0 else math.inf
    else:
        computed = {"+": left + right, "-": left - right, "*": left * right}[sign]
    return float(computed) if math.isfinite(computed) else None


def _comparison_one(sign: str, left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    if sign in ("==", "!="):
        return bool((left == right) == (sign == "=="))
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign])
