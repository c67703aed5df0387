"""Orders as columns of arrays, read from a frame or given as they are: what rules, costs, lists and limits look at.

A column is read once, when it is first asked for; one that is absent is missing everywhere.
"""

from collections.abc import Callable, Mapping
from typing import Any, Union

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.expression_nodes import Kind

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]


class OrderTable:
    """n orders.

    Args:
        columns: Name -> array of n: float64 with NaN for missing (also for truth values), or objects with None.
        read: Gives a column that is not among them as numbers (True) or texts; None where there is none.
    """

    def __init__(
        self,
        n: int,
        columns: Mapping[str, npt.NDArray[Any]],
        read: Callable[[str, bool], npt.NDArray[Any] | None] | None = None,
    ) -> None:
        self.n = n
        self._columns = dict(columns)
        self._read = read

    def numbers(self, name: str) -> Floats:
        """A column as numbers; what is not finite is missing. Shape (n,)."""
        return self._column(name, is_number=True)

    def texts(self, name: str) -> Texts:
        """A column as texts. Shape (n,)."""
        return self._column(name, is_number=False)

    def value(self, name: str, kind: Kind, at: int) -> float | str | bool | None:
        """The value of the order `at`; None where it is missing."""
        if kind == "text":
            text: str | None = self.texts(name)[at]
            return text
        number = float(self.numbers(name)[at])
        if number != number:
            return None
        return number != 0.0 if kind == "truth" else number

    def with_numbers(self, **columns: Floats) -> "OrderTable":
        """The same orders with other columns of numbers."""
        return OrderTable(self.n, self._columns | columns, self._read)

    def repeated(self, times: int, **columns: Floats) -> "OrderTable":
        """One order many times, with columns of numbers of its own."""
        assert self.n == 1, f"one order is repeated, not {self.n}"

        def read(name: str, is_number: bool) -> npt.NDArray[Any] | None:
            return np.repeat(self._column(name, is_number=is_number), times)

        return OrderTable(times, columns, read)

    def _column(self, name: str, *, is_number: bool) -> npt.NDArray[Any]:
        values = self._columns.get(name)
        if values is None:
            values = self._read(name, is_number) if self._read is not None else None
            if values is None:
                values = np.full(self.n, np.nan) if is_number else np.full(self.n, None, dtype=object)
            self._columns[name] = values
        return values


Orders = Union["OrderTable", pd.DataFrame]


def order_table(orders: Orders) -> OrderTable:
    """The columns of a frame, read when they are asked for; a table as it is."""
    if isinstance(orders, OrderTable):
        return orders

    def read(name: str, is_number: bool) -> npt.NDArray[Any] | None:
        if name not in orders.columns:
            return None
        return _numbers(orders[name]) if is_number else _texts(orders[name])

    return OrderTable(len(orders), {}, read)


def _numbers(column: pd.Series) -> Floats:
    if column.dtype == object or isinstance(column.dtype, pd.BooleanDtype):
        known = column.dropna()
        if len(known) and known.map(lambda one: isinstance(one, bool | np.bool_)).all():
            column = column.astype("boolean").astype("Float64")
    values = pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


def _texts(column: pd.Series) -> Texts:
    texts = column.astype(object).map(str, na_action="ignore")
    return np.asarray(texts.where(column.notna(), None).to_numpy(dtype=object))
