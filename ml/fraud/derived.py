"""Inputs of the model that are computed from columns of the same row: a few forms, each over many columns at once.

An input is a form and the columns that it takes; inputs of one form are computed together, for one order as for
millions, so batch and online cannot differ. All values are float32; missing is NaN.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.fraud.declaration import EVER, Declaration

Values = npt.NDArray[np.float32]
Computed = npt.NDArray[np.floating[Any]]

SHOP_RATE = f"fraud_rate_shop_{EVER}"
"""The whole shop's rate tells the time rather than the order; it only enters the rates over it."""
_DAY_SECONDS = 86_400
_CUSTOMER = "customer"


@dataclass(frozen=True)
class Form:
    """How inputs of one kind are computed.

    Attributes:
        compute: Of arrays of one shape, one for each of an input's columns, and of the inputs' own factors.
        is_many: Takes any number of columns, as one array of rows x columns; such inputs are computed one by one.
        is_stacked: Takes its columns as one array of rows x columns x inputs: one look-up for all of them.
    """

    name: str
    compute: Callable[..., Computed]
    is_many: bool = False
    is_stacked: bool = False


@dataclass(frozen=True)
class Derived:
    """An input computed from columns of the same row.

    Attributes:
        factor: What the form needs beside the columns; 1 where it needs nothing.
    """

    name: str
    inputs: tuple[str, ...]
    form: Form
    factor: float = 1.0


def derived_from(declared: Declaration) -> Iterator[Derived]:
    """Everything that is computed from a row, by the declaration of what is counted."""
    yield Derived("log_amount", ("amount_cents",), _LOG)
    yield Derived("channel_code", ("channel",), _SAME)
    for entity, windows in declared.entity_windows.items():
        yield from _amounts(entity)
        yield from _velocities(entity, windows, declared)
        yield from _fraud_rates(entity, windows, declared)
        yield Derived(f"is_first_order_{entity}", (f"count_orders_{entity}_{EVER}",), _IS_FIRST)
    for first, second in declared.pairs:
        yield from _pair(first, second)
    yield _count_new(declared)
    yield from _over_entities(declared)
    yield from _over_own_entities(declared)


def _amounts(entity: str) -> Iterator[Derived]:
    """The amount beside the entity's normal."""
    mean, deviation = f"mean_amount_cents_{entity}_{EVER}", f"deviation_amount_cents_{entity}_{EVER}"
    yield Derived(f"amount_over_mean_{entity}", ("amount_cents", mean), _OVER_MEAN)
    yield Derived(f"amount_distance_{entity}", ("amount_cents", mean, deviation), _DISTANCE)


def _velocities(entity: str, windows: tuple[str, ...], declared: Declaration) -> Iterator[Derived]:
    """How the short windows compare with the longest, and how many attempts failed."""
    seconds = declared.window_seconds
    long = max(windows, key=lambda window: seconds[window])
    for window in windows:
        orders, failed = f"count_orders_{entity}_{window}", f"count_failed_{entity}_{window}"
        yield Derived(f"failed_share_{entity}_{window}", (orders, failed), _SHARE)
        if window != long:
            usual, share = f"count_orders_{entity}_{long}", seconds[window] / seconds[long]
            yield Derived(f"velocity_{entity}_{window}_over_{long}", (orders, usual), _VELOCITY, share)


def _fraud_rates(entity: str, windows: tuple[str, ...], declared: Declaration) -> Iterator[Derived]:
    """The entity's rate over the whole shop's, as a difference of logarithms."""
    for window in (*(one for one in declared.fraud_windows if one in windows), EVER):
        rate = f"fraud_rate_{entity}_{window}"
        yield Derived(f"fraud_rate_over_shop_{entity}_{window}", (rate, SHOP_RATE), _LOG_RATIO)


def _pair(first: str, second: str) -> Iterator[Derived]:
    """Whether the second is new to a first that is not new itself, and how usual it is."""
    orders, together = f"count_orders_{first}_{EVER}", f"count_orders_{first}_{second}_{EVER}"
    yield Derived(f"is_new_{second}_for_{first}", (orders, together), _IS_NEW)
    yield Derived(f"share_{first}_with_{second}", (orders, together), _SHARE)


def _count_new(declared: Declaration) -> Derived:
    pairs = [(f"count_orders_{a}_{EVER}", f"count_orders_{a}_{b}_{EVER}") for a, b in declared.pairs if a == "customer"]
    return Derived("count_new", tuple(name for pair in pairs for name in pair), _COUNT_NEW)


def _over_entities(declared: Declaration) -> Iterator[Derived]:
    """The worst of the order's entities, whichever it is."""
    for window in (*declared.fraud_windows, EVER):
        counts = tuple(f"count_frauds_{entity}_{window}" for entity in _particular(declared))
        yield Derived(f"most_frauds_{window}", counts, _MOST)
    rates = tuple(f"fraud_rate_{entity}_{EVER}" for entity in _particular(declared))
    yield Derived("highest_fraud_rate_over_shop", (*rates, SHOP_RATE), _HIGHEST)


def _over_own_entities(declared: Declaration) -> Iterator[Derived]:
    """The most conspicuous of the customer and of what is the customer's own, whichever it is.

    A fraud gives itself away by one of them, and with few known frauds that is learnt once rather than for each.
    """
    own, seconds = _own(declared), declared.window_seconds
    shared = [window for window in seconds if all(window in declared.entity_windows[entity] for entity in own)]
    long = max(shared, key=lambda window: seconds[window])
    for window in shared:
        orders, failed = _of(own, "count_orders", window), _of(own, "count_failed", window)
        yield Derived(f"most_orders_{window}", orders, _MOST_OF_OWN)
        yield Derived(f"most_failed_{window}", failed, _MOST_OF_OWN)
        yield Derived(f"most_spent_{window}", _of(own, "amount_cents", window), _MOST_OF_OWN)
        yield Derived(f"highest_failed_share_{window}", (*orders, *failed), _MOST_SHARE)
        if window != long:
            usual = _of(own, "count_orders", long)
            yield Derived(
                f"highest_velocity_{window}", (*orders, *usual), _MOST_VELOCITY, seconds[window] / seconds[long]
            )
    yield Derived("fewest_orders_ever", _of(own, "count_orders", EVER), _LEAST_OF_OWN)
    for end in ("first", "last"):
        yield Derived(f"fewest_seconds_since_{end}", tuple(f"seconds_since_{end}_{one}" for one in own), _LEAST_OF_OWN)
    if long in declared.fraud_windows:
        rates = _of(own, "fraud_rate", long)
        yield Derived(f"highest_fraud_rate_over_shop_{long}", (*rates, *[SHOP_RATE] * len(own)), _MOST_LOG_RATIO)
    amounts, means = ("amount_cents",) * len(own), _of(own, "mean_amount_cents", EVER)
    yield Derived("largest_amount_over_mean", (*amounts, *means), _MOST_OVER_MEAN)
    yield Derived(
        "largest_amount_distance", (*amounts, *means, *_of(own, "deviation_amount_cents", EVER)), _MOST_DISTANCE
    )
    others = [entity for entity in own if entity != _CUSTOMER]
    together = tuple(f"count_orders_{_CUSTOMER}_{entity}_{EVER}" for entity in others)
    known = (f"count_orders_{_CUSTOMER}_{EVER}",) * len(others)
    yield Derived("lowest_share_with_customer", (*known, *together), _LEAST_SHARE)
    yield Derived("most_sharing", tuple(one.feature for one in declared.sharing), _MOST_SHARING)


def _own(declared: Declaration) -> list[str]:
    """The customer and the particular entities that are seen together with a customer: a terminal is everybody's."""
    seen_with = {second for first, second in declared.pairs if first == _CUSTOMER}
    return [entity for entity in _particular(declared) if entity == _CUSTOMER or entity in seen_with]


def _of(entities: list[str], what: str, window: str) -> tuple[str, ...]:
    return tuple(f"{what}_{entity}_{window}" for entity in entities)


def _particular(declared: Declaration) -> list[str]:
    """Entities that name somebody or something rather than a crowd: those that are counted over a day or less."""
    return [
        entity
        for entity, windows in declared.entity_windows.items()
        if min(declared.window_seconds[window] for window in windows) <= _DAY_SECONDS
    ]


def _log(values: Values, _factor: Values) -> Computed:
    return np.asarray(np.log1p(np.maximum(values, 0)))


def _same(values: Values, _factor: Values) -> Computed:
    return values


def _over_mean(amount: Values, mean: Values, _factor: Values) -> Computed:
    return np.asarray(np.log((amount + 1) / (mean + 1)))


def _distance(amount: Values, mean: Values, deviation: Values, _factor: Values) -> Computed:
    # A tenth of the mean keeps the distance finite for an entity that always pays the same.
    return (amount - mean) / (deviation + mean / 10 + 1)


def _velocity(orders: Values, usual: Values, share: Values) -> Computed:
    return orders / (usual * share + np.float32(0.1))


def _share(whole: Values, part: Values, _factor: Values) -> Computed:
    return np.where(whole > 0, part / whole, np.float32(np.nan))


def _log_ratio(rate: Values, usual: Values, _factor: Values) -> Computed:
    return np.asarray(np.log(rate / usual))


def _is_first(orders: Values, _factor: Values) -> Computed:
    return np.where(np.isnan(orders), orders, (orders == 0).astype(np.float32))


def _is_new(orders: Values, together: Values, _factor: Values) -> Computed:
    return np.where(np.isnan(together), together, ((together == 0) & (orders > 0)).astype(np.float32))


def _count(pairs: Values, _factor: Values) -> Computed:
    orders, together = pairs[:, ::2], pairs[:, 1::2]
    return np.asarray(((together == 0) & (orders > 0)).sum(axis=1, dtype=np.float32))


def _most(columns: Values, _factor: Values) -> Computed:
    return np.asarray(np.fmax.reduce(columns, axis=1))


def _highest(columns: Values, _factor: Values) -> Computed:
    return np.asarray(np.log(np.fmax.reduce(columns[:, :-1], axis=1) / columns[:, -1]))


def _of_entities(choose: np.ufunc, compute: Callable[..., Computed], arguments: int) -> Callable[..., Computed]:
    """A form over several entities: of each entity's value the one that is chosen; missing ones are passed over.

    Args:
        choose: `np.fmax` or `np.fmin`.
        compute: Of one entity's `arguments` and the factors; here of all entities at once.
        arguments: The columns of the first for all entities come first, then those of the second.
    """

    def chosen(columns: Values, factor: Values) -> Computed:
        rows, count, inputs = columns.shape
        parts = columns.reshape(rows, arguments, count // arguments, inputs)
        return np.asarray(choose.reduce(compute(*[parts[:, one] for one in range(arguments)], factor), axis=1))

    return chosen


_LOG, _SAME = Form("log", _log), Form("same", _same)
_OVER_MEAN, _DISTANCE = Form("over_mean", _over_mean), Form("distance", _distance)
_VELOCITY, _SHARE = Form("velocity", _velocity), Form("share", _share)
_LOG_RATIO = Form("log_ratio", _log_ratio)
_IS_FIRST, _IS_NEW = Form("is_first", _is_first), Form("is_new", _is_new)
_COUNT_NEW = Form("count_new", _count, is_many=True)
_MOST, _HIGHEST = Form("most", _most, is_many=True), Form("highest", _highest, is_many=True)
_MOST_OF_OWN = Form("most_of_own", _of_entities(np.fmax, _same, 1), is_stacked=True)
_LEAST_OF_OWN = Form("least_of_own", _of_entities(np.fmin, _same, 1), is_stacked=True)
_MOST_SHARING = Form("most_sharing", _of_entities(np.fmax, _same, 1), is_stacked=True)
_MOST_SHARE = Form("most_share", _of_entities(np.fmax, _share, 2), is_stacked=True)
_LEAST_SHARE = Form("least_share", _of_entities(np.fmin, _share, 2), is_stacked=True)
_MOST_VELOCITY = Form("most_velocity", _of_entities(np.fmax, _velocity, 2), is_stacked=True)
_MOST_LOG_RATIO = Form("most_log_ratio", _of_entities(np.fmax, _log_ratio, 2), is_stacked=True)
_MOST_OVER_MEAN = Form("most_over_mean", _of_entities(np.fmax, _over_mean, 2), is_stacked=True)
_MOST_DISTANCE = Form("most_distance", _of_entities(np.fmax, _distance, 3), is_stacked=True)
