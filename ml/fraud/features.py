"""The model's inputs: what the mart counts of earlier orders, and what follows from one order's row alone.

What follows from the row is computed here for batch and online alike, so it cannot differ between them. All inputs are
float32; missing is NaN. A column that a shop does not have is all missing, and training leaves it out.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.fraud.declaration import EVER, Declaration, declaration

Values = npt.NDArray[np.float32]
Computed = npt.NDArray[np.floating[Any]]
Columns = Mapping[str, Values]

# Columns of the order itself that go in as they are.
ORDER_FEATURES = ("hour_of_day", "day_of_week", "account_age_days", "is_billing_shipping_same")
CHANNEL_CODES: Mapping[str, int] = {"web": 0, "app": 1, "store": 2, "phone": 3}
OTHER_CHANNEL = 4
# The whole shop's rate tells the time rather than the order; it only enters the rates over it.
_SHOP_RATE = f"fraud_rate_shop_{EVER}"


@dataclass(frozen=True)
class Derived:
    """An input computed from columns of the same row."""

    name: str
    inputs: tuple[str, ...]
    compute: Callable[[Columns], Computed]


def model_features(columns: Collection[str]) -> tuple[str, ...]:
    """Names of the model's inputs in order, given the columns at hand of `feat_order_risk`."""
    at_hand = set(columns)
    counted = [name for name in declaration().counted_features() if name in at_hand and name != _SHOP_RATE]
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
    raw = {name: numbers(rows[name]) for name in _read_columns(rows.columns)}
    inputs: dict[str, Values] = {}
    with np.errstate(all="ignore"):
        for one in _derived():
            if raw.keys() >= set(one.inputs):
                inputs[one.name] = one.compute(raw).astype(np.float32, copy=False)
    kept = rows[[name for name in rows.columns if name not in set(names)]]
    values = pd.DataFrame({name: inputs[name] if name in inputs else raw[name] for name in names}, index=rows.index)
    return pd.concat([kept, values], axis=1)


def monotone_features(names: Collection[str]) -> dict[str, int]:
    """Inputs whose growth may only raise (+1) or only lower (-1) the probability, everything else equal.

    Known frauds, failed attempts and shared entities never speak for an order; earlier orders with the same pair of
    customer and card (or device, country, address) never speak against it.
    """
    found = {}
    pairs = {f"count_orders_{first}_{second}_{EVER}" for first, second in declaration().pairs if first == "customer"}
    sharing = {one.feature for one in declaration().sharing}
    raising = ("count_frauds_", "fraud_rate_", "most_frauds_", "highest_fraud_rate", "count_failed_", "is_new_")
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


def _read_columns(columns: Collection[str]) -> list[str]:
    wanted = {*ORDER_FEATURES, *declaration().counted_features(), "amount_cents", "channel"}
    return [name for name in columns if name in wanted]


@lru_cache(maxsize=1)
def _derived() -> tuple[Derived, ...]:
    return tuple(derived_from(declaration()))


def derived_from(declared: Declaration) -> Iterator[Derived]:
    """Everything that is computed from a row, by the declaration of what is counted."""
    yield Derived("log_amount", ("amount_cents",), lambda row: np.log1p(np.maximum(row["amount_cents"], 0)))
    yield Derived("channel_code", ("channel",), lambda row: row["channel"])
    for entity, windows in declared.entity_windows.items():
        yield from _amounts(entity)
        yield from _velocities(entity, windows, declared)
        yield from _fraud_rates(entity, windows, declared)
        yield _is_first(entity)
    for first, second in declared.pairs:
        yield from _pair(first, second)
    yield _count_new(declared)
    yield from _over_entities(declared)


def _amounts(entity: str) -> Iterator[Derived]:
    """The amount beside the entity's normal."""
    amount, mean, deviation = (
        "amount_cents",
        f"mean_amount_cents_{entity}_ever",
        f"deviation_amount_cents_{entity}_ever",
    )
    yield Derived(f"amount_over_mean_{entity}", (amount, mean), lambda row: np.log((row[amount] + 1) / (row[mean] + 1)))
    # A tenth of the mean keeps the distance finite for an entity that always pays the same.
    yield Derived(
        f"amount_distance_{entity}",
        (amount, mean, deviation),
        lambda row: (row[amount] - row[mean]) / (row[deviation] + row[mean] / 10 + 1),
    )


def _velocities(entity: str, windows: tuple[str, ...], declared: Declaration) -> Iterator[Derived]:
    """How the short windows compare with the longest, and how many attempts failed."""
    long = max(windows, key=lambda window: declared.window_seconds[window])
    for window in windows:
        orders, failed = f"count_orders_{entity}_{window}", f"count_failed_{entity}_{window}"
        yield Derived(
            f"failed_share_{entity}_{window}",
            (orders, failed),
            lambda row, orders=orders, failed=failed: _ratio(row[failed], row[orders]),  # type: ignore[misc]
        )
        if window == long:
            continue
        usual, share = f"count_orders_{entity}_{long}", declared.window_seconds[window] / declared.window_seconds[long]
        yield Derived(
            f"velocity_{entity}_{window}_over_{long}",
            (orders, usual),
            lambda row, orders=orders, usual=usual, share=share: row[orders] / (row[usual] * share + 0.1),  # type: ignore[misc]
        )


def _fraud_rates(entity: str, windows: tuple[str, ...], declared: Declaration) -> Iterator[Derived]:
    """The entity's rate over the whole shop's, as a difference of logarithms."""
    for window in (*(one for one in declared.fraud_windows if one in windows), EVER):
        rate = f"fraud_rate_{entity}_{window}"
        yield Derived(
            f"fraud_rate_over_shop_{entity}_{window}",
            (rate, _SHOP_RATE),
            lambda row, rate=rate: np.log(row[rate] / row[_SHOP_RATE]),  # type: ignore[misc]
        )


def _is_first(entity: str) -> Derived:
    orders = f"count_orders_{entity}_{EVER}"
    return Derived(f"is_first_order_{entity}", (orders,), lambda row: _flag(row[orders] == 0, row[orders]))


def _pair(first: str, second: str) -> Iterator[Derived]:
    """Whether the second is new to a first that is not new itself, and how usual it is."""
    orders, together = f"count_orders_{first}_{EVER}", f"count_orders_{first}_{second}_{EVER}"
    yield Derived(
        f"is_new_{second}_for_{first}",
        (orders, together),
        lambda row: _flag((row[together] == 0) & (row[orders] > 0), row[together]),
    )
    yield Derived(f"share_{first}_with_{second}", (orders, together), lambda row: _ratio(row[together], row[orders]))


def _count_new(declared: Declaration) -> Derived:
    pairs = [(f"count_orders_{a}_{EVER}", f"count_orders_{a}_{b}_{EVER}") for a, b in declared.pairs if a == "customer"]

    def count(row: Columns) -> Values:
        new = [(row[together] == 0) & (row[orders] > 0) for orders, together in pairs]
        return np.asarray(np.sum(new, axis=0, dtype=np.float32), dtype=np.float32)

    return Derived("count_new", tuple(dict.fromkeys(name for pair in pairs for name in pair)), count)


def _over_entities(declared: Declaration) -> Iterator[Derived]:
    """The worst of the order's entities, whichever it is."""
    for window in (*declared.fraud_windows, EVER):
        counts = tuple(f"count_frauds_{entity}_{window}" for entity in _particular(declared))
        yield Derived(
            f"most_frauds_{window}",
            counts,
            lambda row, counts=counts: _largest([row[name] for name in counts]),  # type: ignore[misc]
        )
    rates = tuple(f"fraud_rate_{entity}_{EVER}" for entity in _particular(declared))
    yield Derived(
        "highest_fraud_rate_over_shop",
        (*rates, _SHOP_RATE),
        lambda row: np.log(_largest([row[name] for name in rates]) / row[_SHOP_RATE]),
    )


def _particular(declared: Declaration) -> list[str]:
    """Entities that name somebody or something rather than a crowd: those that are counted over a day or less."""
    return [
        entity
        for entity, windows in declared.entity_windows.items()
        if min(declared.window_seconds[window] for window in windows) <= 86_400
    ]


def _largest(columns: list[Values]) -> Values:
    largest = columns[0]
    for column in columns[1:]:
        largest = np.fmax(largest, column)
    return largest


def _ratio(part: Values, whole: Values) -> Values:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), np.nan).astype(np.float32)


def _flag(is_true: npt.NDArray[np.bool_], defined_where: Values) -> Values:
    return np.where(np.isnan(defined_where), np.nan, is_true).astype(np.float32)
