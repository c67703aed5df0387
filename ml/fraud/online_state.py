"""The online half of the counted features: what the state, kept up to date by each event, tells of an order.

Records are bytes under keys; `ml/stores/state_store.py` keeps them and `ml/fraud/state_updates.py` makes them. What the
features mean is told by `ml/fraud/declaration.py` and docs/fraud_features.md; dbt computes the same for training.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from ml.fraud.declaration import EVER, Declaration
from ml.fraud.entity_view import EntityView, Sums
from ml.fraud.events import OrderEvent
from ml.fraud.spans import span_suffixes
from ml.fraud.state_records import SHOP, StateReader, digests_of, head_key, pair_keys, retention
from ml.fraud.tiles import DAY, SECOND, decode
from ml.outcomes import ToolFailed

PRIOR_FRAUDS, PRIOR_ORDERS = 1.0, 1 / 0.005
"""The weak prior of the whole shop's rate: as if one fraud in 200 orders had been seen."""

Feature = int | float | None


def features_of(state: StateReader, order: OrderEvent, declaration: Declaration) -> dict[str, Feature]:
    """The counted features of an order at its place, in the order of `counted_features()`.

    The order itself may have been applied already or not; what came after it does not count.

    Raises:
        ToolFailed: The state cannot be read, or has gone on for more than a day since.
    """
    return features_in(state.read(keys_of(order, declaration)), order, declaration)


def keys_of(order: OrderEvent, declaration: Declaration) -> list[str]:
    """The keys of the records that `features_in` needs."""
    plan, digests, at = _plan(declaration), digests_of(order, declaration), order.attempted_at
    around = {moments: _suffixes(at, moments) for moments in plan.moments}
    keys = list(pair_keys(digests, declaration).values())
    for entity, digest in digests.items():
        head = head_key(entity, digest)
        keys.append(head)
        keys += [head + suffix for suffix in around[plan.entities[entity].moments]]
    return keys


def _suffixes(at: int, moments: tuple[int, ...]) -> list[str]:
    """Of the keys of the spans around a place and the moments so long before it."""
    return list(dict.fromkeys(suffix for ago in moments for suffix in span_suffixes(at - ago)))


def features_in(records: Mapping[str, bytes], order: OrderEvent, declaration: Declaration) -> dict[str, Feature]:
    """The counted features of an order from its records, those of `keys_of`; see `features_of`."""
    return _Reading(records, order, declaration).values()


@dataclass(frozen=True)
class _Window:
    """A window of an entity, and the features that are told of it; "" for those that are not declared."""

    name: str
    orders: str
    amount_cents: str
    failed: str
    frauds: str
    rate: str


@dataclass(frozen=True)
class _Entity:
    """What is told of an entity.

    Attributes:
        moments: How long before the place its windows begin within a span, microseconds; 0 is the place itself.
        sharing: (feature, other entity, window).
    """

    moments: tuple[int, ...]
    windows: tuple[_Window, ...]
    sharing: tuple[tuple[str, str, str], ...]
    orders_ever: str
    frauds_ever: str
    rate_ever: str
    first: str
    last: str
    mean: str
    deviation: str


@dataclass(frozen=True)
class _Plan:
    """What follows from the declaration alone.

    Attributes:
        names: Of all features, in order.
        lengths: Window -> its length in microseconds, and whether it is tiled.
        moments: Every entity's, each once.
    """

    entities: Mapping[str, _Entity]
    names: tuple[str, ...]
    lengths: Mapping[str, tuple[int, bool]]
    moments: frozenset[tuple[int, ...]]
    ahead_us: int


_PLANS: dict[int, tuple[Declaration, _Plan]] = {}


def _plan(declaration: Declaration) -> _Plan:
    """Made once; a declaration holds mappings, so it is told by its identity."""
    known = _PLANS.get(id(declaration))
    if known is None:
        known = _PLANS[id(declaration)] = (declaration, _planned(declaration))
    return known[1]


def _planned(declaration: Declaration) -> _Plan:
    lengths = {
        window: (seconds * SECOND, declaration.is_tiled(window))
        for window, seconds in declaration.window_seconds.items()
    }
    names = declaration.counted_features()
    entities = {entity: _planned_entity(entity, declaration, lengths) for entity in (*declaration.entities, SHOP)}
    moments = frozenset(one.moments for one in entities.values())
    return _Plan(entities, names, lengths, moments, retention(declaration).ahead_us)


def _planned_entity(entity: str, declaration: Declaration, lengths: Mapping[str, tuple[int, bool]]) -> _Entity:
    declared = set(declaration.counted_features())
    sharing = tuple((one.feature, one.of, one.window) for one in declaration.sharing if one.entity == entity)
    counted = declaration.entity_windows.get(entity, ())
    frauds = declaration.fraud_windows if counted else ()

    def feature(name: str) -> str:
        return name if name in declared else ""

    windows = tuple(
        _Window(
            window,
            feature(f"count_orders_{entity}_{window}"),
            feature(f"amount_cents_{entity}_{window}"),
            feature(f"count_failed_{entity}_{window}"),
            feature(f"count_frauds_{entity}_{window}"),
            feature(f"fraud_rate_{entity}_{window}"),
        )
        for window in dict.fromkeys((*counted, *frauds))
    )
    used = {*(one.name for one in windows), *(window for _, _, window in sharing)}
    begins = {length for length, is_tiled in (lengths[window] for window in used) if not is_tiled}
    return _Entity(
        (0, *sorted(begins)), windows, sharing,
        f"count_orders_{entity}_{EVER}", f"count_frauds_{entity}_{EVER}", f"fraud_rate_{entity}_{EVER}",
        f"seconds_since_first_{entity}", f"seconds_since_last_{entity}",
        f"mean_amount_cents_{entity}_{EVER}", f"deviation_amount_cents_{entity}_{EVER}",
    )  # fmt: skip


class _Reading:
    """One order's features, from its records."""

    def __init__(self, records: Mapping[str, bytes], order: OrderEvent, declaration: Declaration) -> None:
        self._records, self._order, self._declaration = records, order, declaration
        self._plan, self._digests = _plan(declaration), digests_of(order, declaration)
        at = order.attempted_at
        self._starts = {
            window: ((at - length) // DAY * DAY if is_tiled else at - length, is_tiled)
            for window, (length, is_tiled) in self._plan.lengths.items()
        }

    def values(self) -> dict[str, Feature]:
        values: dict[str, Feature] = dict.fromkeys(self._plan.names)
        shop = self._view(SHOP).ever()
        shop_rate = (shop.frauds + PRIOR_FRAUDS) / (shop.orders + PRIOR_ORDERS)
        values[self._plan.entities[SHOP].rate_ever] = shop_rate
        for entity in self._digests:
            if entity != SHOP:
                self._entity(entity, shop_rate, values)
        for (first, second), key in pair_keys(self._digests, self._declaration).items():
            values[f"count_orders_{first}_{second}_{EVER}"] = self._pair(key)
        return values

    def _entity(self, entity: str, shop_rate: float, values: dict[str, Feature]) -> None:
        plan, view, smoothing = self._plan.entities[entity], self._view(entity), self._declaration.smoothing_orders
        for window in plan.windows:
            start, is_tiled = self._starts[window.name]
            found = view.since(start, is_tiled=is_tiled)
            if window.orders:
                values[window.orders] = found.orders
                values[window.amount_cents] = found.amount_cents
                values[window.failed] = found.failed
            if window.frauds:
                values[window.frauds] = found.frauds
            if window.rate:
                values[window.rate] = (found.frauds + smoothing * shop_rate) / (found.orders + smoothing)
        ever = view.ever()
        values[plan.frauds_ever] = ever.frauds
        values[plan.rate_ever] = (ever.frauds + smoothing * shop_rate) / (ever.orders + smoothing)
        self._history(plan, view, ever, values)
        for feature, of, name in plan.sharing:
            start, is_tiled = self._starts[name]
            count = view.different(of, start, is_tiled=is_tiled)
            values[feature] = min(count, self._declaration.sharing_cap)

    def _history(self, plan: _Entity, view: EntityView, ever: Sums, values: dict[str, Feature]) -> None:
        at = self._order.attempted_at
        values[plan.orders_ever] = ever.orders
        if ever.orders:
            first, last = view.first_at(), view.last_at()
            values[plan.first] = None if first is None else (at - first) / SECOND
            values[plan.last] = None if last is None else (at - last) / SECOND
            values[plan.mean] = ever.amount_cents / ever.orders
            spread = ever.orders * ever.squares - ever.amount_cents**2  # exact: these are whole numbers
            values[plan.deviation] = sqrt(spread) / ever.orders

    def _view(self, entity: str) -> EntityView:
        view = EntityView(head_key(entity, self._digests[entity]), self._records, self._order.place)
        if view.newest - self._order.attempted_at > self._plan.ahead_us:
            raise ToolFailed("the state of fraud features has gone on for more than a day since the order was placed")
        return view

    def _pair(self, key: str) -> int:
        raw = self._records.get(key)
        if raw is None:
            return 0
        orders, recent = decode(raw)  # as `Pair` has it
        return int(orders) - (len(recent) - bisect_left(recent, list(self._order.place)))
