"""The model's inputs: what the mart counts of earlier orders, and what follows from one order's row alone.

What follows from the row is computed here for batch and online alike, so it cannot differ between them. All inputs are
float32; missing is NaN. A column that a shop does not have is all missing, and training leaves it out.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.declaration import EVER, declaration
from ml.fraud.derived import SHOP_RATE, Derived, Form, Values, derived_from

# Columns of the order itself that go in as they are.
ORDER_FEATURES = ("hour_of_day", "day_of_week", "account_age_days", "is_billing_shipping_same")
CHANNEL_CODES: Mapping[str, int] = {"web": 0, "app": 1, "store": 2, "phone": 3}
OTHER_CHANNEL = 4
_ROWS_AT_ONCE = 8192  # keeps what is computed within the processor's cache


class InputPlan:
    """How a row of columns becomes the model's inputs; made once, used for any number of rows.

    Attributes:
        columns: What is read of a row, in order: numbers of `ORDER_FEATURES`, counted features, amount_cents, channel.
        features: The inputs, in order.
    """

    def __init__(self, columns: Sequence[str], features: Sequence[str]) -> None:
        self.columns, self.features = tuple(columns), tuple(features)
        place = {name: at for at, name in enumerate(self.columns)}
        derived = {one.name: one for one in _derived()}
        plain = [(at, place[name]) for at, name in enumerate(self.features) if name not in derived]
        self._plain_to = np.array([to for to, _ in plain], dtype=np.intp)
        self._plain_from = np.array([at for _, at in plain], dtype=np.intp)
        groups: dict[tuple[str, ...], list[tuple[int, Derived]]] = {}
        for at, name in enumerate(self.features):
            if name in derived:
                form = derived[name].form
                groups.setdefault((form.name, name) if form.is_many else (form.name,), []).append((at, derived[name]))
        self._groups = [_group(members, place) for members in groups.values()]

    def compute(self, raw: Values) -> Values:
        """The inputs of rows.

        Args:
            raw: rows x `columns`, as `numbers` gives them.

        Returns:
            rows x `features`, contiguous.
        """
        inputs = np.empty((len(raw), len(self.features)), dtype=np.float32)
        with np.errstate(all="ignore"):
            for start in range(0, len(raw), _ROWS_AT_ONCE):
                some, into = raw[start : start + _ROWS_AT_ONCE], inputs[start : start + _ROWS_AT_ONCE]
                into[:, self._plain_to] = some.take(self._plain_from, axis=1)
                for form, places, sources, factors in self._groups:
                    into[:, places] = form.compute(*[some.take(one, axis=1) for one in sources], factors)
        return inputs


_Group = tuple[Form, int | npt.NDArray[np.intp], list[npt.NDArray[np.intp]], Values]


def _group(members: Sequence[tuple[int, Derived]], place: Mapping[str, int]) -> _Group:
    """Form, where its inputs go, for each of its arguments the columns that they take, and their factors."""
    columns = [[place[name] for name in one.inputs] for _, one in members]
    is_many = members[0][1].form.is_many
    sources = columns if is_many else [list(those) for those in zip(*columns, strict=True)]
    factors = np.array([one.factor for _, one in members], dtype=np.float32)
    places: int | npt.NDArray[np.intp] = np.array([at for at, _ in members], dtype=np.intp)
    if is_many:
        places = members[0][0]
    if members[0][1].form.is_stacked:
        return members[0][1].form, places, [np.array(columns, dtype=np.intp).T], factors
    return members[0][1].form, places, [np.array(one, dtype=np.intp) for one in sources], factors


@lru_cache(maxsize=64)
def input_plan(columns: tuple[str, ...], features: tuple[str, ...]) -> InputPlan:
    """The plan for rows of these columns; `features` have to be computable from them."""
    return InputPlan(columns, features)


def model_features(columns: Collection[str]) -> tuple[str, ...]:
    """Names of the model's inputs in order, given the columns at hand of `feat_order_risk`."""
    at_hand = set(columns)
    counted = [name for name in declaration().counted_features() if name in at_hand and name != SHOP_RATE]
    own = [name for name in ORDER_FEATURES if name in at_hand]
    return (*own, *(one.name for one in _derived() if at_hand.issuperset(one.inputs)), *counted)


def with_derived(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with all of the model's inputs as float32.

    Args:
        rows: Rows of `feat_order_risk`; a declared column that is absent leaves out what needs it.

    Returns:
        The columns that are no inputs as they were (ids, times, `amount_cents`, `channel`), then `model_features`.
    """
    names = model_features(rows.columns)
    kept = rows[[name for name in rows.columns if name not in set(names)]]
    values = input_plan(read_columns(rows.columns), names).compute(raw_values(rows))
    return pd.concat([kept, pd.DataFrame(values, columns=list(names), index=rows.index)], axis=1)


def raw_values(rows: pd.DataFrame) -> Values:
    """rows x `read_columns` of a frame, missing as NaN."""
    names = read_columns(rows.columns)
    raw = np.empty((len(rows), len(names)), dtype=np.float32)
    for at, name in enumerate(names):
        raw[:, at] = numbers(rows[name])
    return raw


def monotone_features(names: Collection[str]) -> dict[str, int]:
    """Inputs whose growth may only raise (+1) or only lower (-1) the probability, everything else equal.

    Known frauds, failed attempts and shared entities never speak for an order; earlier orders with the same pair of
    customer and card (or device, country, address) never speak against it.
    """
    found = {}
    pairs = {f"count_orders_{first}_{second}_{EVER}" for first, second in declaration().pairs if first == "customer"}
    sharing = {one.feature for one in declaration().sharing}
    raising: tuple[str, ...] = ("count_frauds_", "fraud_rate_", "most_frauds_", "highest_fraud_rate", "count_failed_")
    raising += ("is_new_", "most_failed_", "most_sharing")
    for name in names:
        if name.startswith(raising) or name in sharing or name == "count_new":
            found[name] = 1
        elif name in pairs:
            found[name] = -1
    return found


def signs(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """`monotone_features` of each name, 0 where it may go either way."""
    found = monotone_features(names)
    return np.array([found.get(name, 0) for name in names], dtype=np.int64)


def numbers(column: pd.Series) -> Values:
    """A column as float32, truth values as 0 and 1, missing as NaN."""
    if column.name == "channel":
        return _channel_codes(column)
    with np.errstate(over="ignore"):
        if isinstance(column.dtype, pd.api.extensions.ExtensionDtype):
            return column.to_numpy(np.float64, na_value=np.nan).astype(np.float32)
        return column.to_numpy().astype(np.float64, copy=False).astype(np.float32)


def _channel_codes(column: pd.Series) -> Values:
    codes = column.map(CHANNEL_CODES).to_numpy(np.float64, na_value=np.nan)
    return np.where(column.notna().to_numpy() & np.isnan(codes), OTHER_CHANNEL, codes).astype(np.float32)


def read_columns(columns: Collection[str]) -> tuple[str, ...]:
    """Those of these columns that inputs are computed from, in one order whatever theirs is."""
    wanted = (*ORDER_FEATURES, *declaration().counted_features(), "amount_cents", "channel")
    at_hand = set(columns)
    return tuple(name for name in wanted if name in at_hand)


@lru_cache(maxsize=1)
def _derived() -> tuple[Derived, ...]:
    return tuple(derived_from(declaration()))
