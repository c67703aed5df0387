"""The online half of the counted features: what the state, kept up to date by each event, tells of an order.

Records are bytes under keys; `ml/stores/state_store.py` keeps them and `ml/fraud/state_updates.py` makes them. What the
features mean is told by `ml/fraud/declaration.py` and docs/fraud_features.md; dbt computes the same for training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from ml.fraud.declaration import EVER, Declaration, Sharing
from ml.fraud.entity_view import EntityView, Sums
from ml.fraud.events import OrderEvent
from ml.fraud.state_records import (
    SECOND,
    SHOP,
    Pair,
    StateReader,
    bucket_key,
    digests_of,
    head_key,
    pair_keys,
    retention,
)
from ml.fraud.tiles import DAY, HOUR
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
    plan, digests = _plan(declaration), digests_of(order, declaration)
    keys = list(pair_keys(digests, declaration).values())
    for entity, digest in digests.items():
        head = head_key(entity, digest)
        keys.append(head)
        keys += [bucket_key(head, hour) for hour in plan.hours(entity, order.attempted_at)]
    return keys


def features_in(records: Mapping[str, bytes], order: OrderEvent, declaration: Declaration) -> dict[str, Feature]:
    """The counted features of an order from its records, those of `keys_of`; see `features_of`."""
    return _Reading(records, order, declaration).values()


@dataclass(frozen=True)
class _Plan:
    """What follows from the declaration alone.

    Attributes:
        untiled: Entity -> lengths of the windows that begin within an hour, microseconds.
        names: Of all features, in order.
    """

    untiled: Mapping[str, tuple[int, ...]]
    names: tuple[str, ...]
    sharing: Mapping[str, tuple[Sharing, ...]]
    ahead_us: int

    def hours(self, entity: str, at: int) -> set[int]:
        """The hours whose single orders are looked at."""
        return {at // HOUR, *[(at - length) // HOUR for length in self.untiled[entity]]}


_PLANS: dict[int, tuple[Declaration, _Plan]] = {}


def _plan(declaration: Declaration) -> _Plan:
    """Made once; a declaration holds mappings, so it is told by its identity."""
    known = _PLANS.get(id(declaration))
    if known is None:
        seconds = declaration.window_seconds
        used = {
            entity: {*windows, *declaration.fraud_windows}
            | {one.window for one in declaration.sharing if one.entity == entity}
            for entity, windows in declaration.entity_windows.items()
        } | {SHOP: set()}
        plan = _Plan(
            {
                entity: tuple(seconds[window] * SECOND for window in windows if not declaration.is_tiled(window))
                for entity, windows in used.items()
            },
            declaration.counted_features(),
            {
                entity: tuple(one for one in declaration.sharing if one.entity == entity)
                for entity in declaration.entities
            },
            retention(declaration).ahead_us,
        )
        known = _PLANS[id(declaration)] = (declaration, plan)
    return known[1]


class _Reading:
    """One order's features, from its records."""

    def __init__(self, records: Mapping[str, bytes], order: OrderEvent, declaration: Declaration) -> None:
        self._records, self._order, self._declaration = records, order, declaration
        self._plan, self._digests = _plan(declaration), digests_of(order, declaration)
        at = order.attempted_at
        self._starts = {
            window: (at - seconds * SECOND) // DAY * DAY if declaration.is_tiled(window) else at - seconds * SECOND
            for window, seconds in declaration.window_seconds.items()
        }

    def values(self) -> dict[str, Feature]:
        values: dict[str, Feature] = dict.fromkeys(self._plan.names)
        shop = self._view(SHOP).ever()
        shop_rate = (shop.frauds + PRIOR_FRAUDS) / (shop.orders + PRIOR_ORDERS)
        values[f"fraud_rate_{SHOP}_{EVER}"] = shop_rate
        for entity in self._digests:
            if entity != SHOP:
                self._entity(entity, shop_rate, values)
        for (first, second), key in pair_keys(self._digests, self._declaration).items():
            values[f"count_orders_{first}_{second}_{EVER}"] = self._pair(key)
        return values

    def _entity(self, entity: str, shop_rate: float, values: dict[str, Feature]) -> None:
        declaration, view = self._declaration, self._view(entity)
        ever = view.ever()
        sums = {window: self._since(view, window) for window in declaration.entity_windows[entity]}
        for window, found in sums.items():
            values[f"count_orders_{entity}_{window}"] = found.orders
            values[f"amount_cents_{entity}_{window}"] = found.amount_cents
            values[f"count_failed_{entity}_{window}"] = found.failed
        frauds = {
            window: (sums[window] if window in sums else self._since(view, window)).frauds
            for window in declaration.fraud_windows
        }
        sums[EVER], frauds[EVER] = ever, ever.frauds
        for window, count in frauds.items():
            values[f"count_frauds_{entity}_{window}"] = count
            if window in sums:
                smoothing = declaration.smoothing_orders
                rate = (count + smoothing * shop_rate) / (sums[window].orders + smoothing)
                values[f"fraud_rate_{entity}_{window}"] = rate
        self._history(entity, view, ever, values)
        for one in self._plan.sharing[entity]:
            count = view.different(one.of, self._starts[one.window], is_tiled=declaration.is_tiled(one.window))
            values[one.feature] = min(count, declaration.sharing_cap)

    def _history(self, entity: str, view: EntityView, ever: Sums, values: dict[str, Feature]) -> None:
        at = self._order.attempted_at
        values[f"count_orders_{entity}_{EVER}"] = ever.orders
        if ever.orders:
            first, last = view.first_at(), view.last_at()
            values[f"seconds_since_first_{entity}"] = None if first is None else (at - first) / SECOND
            values[f"seconds_since_last_{entity}"] = None if last is None else (at - last) / SECOND
            values[f"mean_amount_cents_{entity}_{EVER}"] = ever.amount_cents / ever.orders
            spread = ever.orders * ever.squares - ever.amount_cents**2  # exact: these are whole numbers
            values[f"deviation_amount_cents_{entity}_{EVER}"] = sqrt(spread) / ever.orders

    def _since(self, view: EntityView, window: str) -> Sums:
        return view.since(self._starts[window], is_tiled=self._declaration.is_tiled(window))

    def _view(self, entity: str) -> EntityView:
        key = head_key(entity, self._digests[entity])
        hours = self._plan.hours(entity, self._order.attempted_at)
        buckets = {hour: raw for hour in hours if (raw := self._records.get(bucket_key(key, hour))) is not None}
        view = EntityView(self._records.get(key), buckets, self._order.place)
        if view.newest - self._order.attempted_at > self._plan.ahead_us:
            raise ToolFailed("the state of fraud features has gone on for more than a day since the order was placed")
        return view

    def _pair(self, key: str) -> int:
        raw = self._records.get(key)
        pair = Pair() if raw is None else Pair.decode(raw)
        return pair.orders - sum(place >= self._order.place for place in pair.recent)
