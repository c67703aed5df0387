"""The online half of the counted features: what the state, kept up to date by each event, tells of an order.

Records are bytes under keys; `ml/stores/state_store.py` keeps them and `ml/fraud/state_updates.py` makes them. What the
features mean is told by `ml/fraud/declaration.py` and docs/fraud_features.md; dbt computes the same for training.
"""

from functools import cache
from math import sqrt

from ml.fraud.declaration import EVER, Declaration
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
from ml.fraud.tiles import DAY, HOUR, Bucket, Head, Tile, View
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
    values = _Reading(state, order, declaration).values()
    return {name: values[name] for name in declaration.counted_features()}


class _Reading:
    """One order's features, from one read of the state."""

    def __init__(self, state: StateReader, order: OrderEvent, declaration: Declaration) -> None:
        self._order, self._declaration = order, declaration
        self._digests = digests_of(order, declaration)
        self._pairs = pair_keys(self._digests, declaration)
        at, seconds = order.attempted_at, declaration.window_seconds
        self._starts = {window: self._start(window) for window in seconds}
        untiled = [window for window in seconds if not declaration.is_tiled(window)]
        hours = sorted({at // HOUR, *(self._starts[window] // HOUR for window in untiled)})
        heads = [head_key(entity, digest) for entity, digest in self._digests.items()]
        buckets = [bucket_key(head, hour) for head in heads for hour in hours]
        self._records = state.read([*heads, *buckets, *self._pairs.values()])
        self._views = {entity: self._view(entity) for entity in self._digests}

    def values(self) -> dict[str, Feature]:
        values: dict[str, Feature] = dict.fromkeys(self._declaration.counted_features())
        shop = self._views[SHOP].ever()
        shop_rate = (shop.frauds + PRIOR_FRAUDS) / (shop.orders + PRIOR_ORDERS)
        values[f"fraud_rate_{SHOP}_{EVER}"] = shop_rate
        for entity in self._digests:
            if entity != SHOP:
                values |= self._entity(entity, shop_rate)
        for one in self._declaration.sharing:
            if one.entity in self._digests:
                is_tiled = self._declaration.is_tiled(one.window)
                count = self._views[one.entity].different(one.of, self._starts[one.window], is_tiled=is_tiled)
                values[one.feature] = min(count, self._declaration.sharing_cap)
        for (first, second), key in self._pairs.items():
            values[f"count_orders_{first}_{second}_{EVER}"] = self._pair(key)
        return values

    def _entity(self, entity: str, shop_rate: float) -> dict[str, Feature]:
        declaration, view = self._declaration, self._views[entity]
        values: dict[str, Feature] = {}
        sums = {window: self._since(view, window) for window in declaration.entity_windows[entity]}
        for window, tile in sums.items():
            values[f"count_orders_{entity}_{window}"] = tile.orders
            values[f"amount_cents_{entity}_{window}"] = tile.amount_cents
            values[f"count_failed_{entity}_{window}"] = tile.failed
        sums[EVER] = ever = view.ever()
        frauds = {window: self._since(view, window).frauds for window in declaration.fraud_windows} | {
            EVER: ever.frauds
        }
        for window, count in frauds.items():
            values[f"count_frauds_{entity}_{window}"] = count
            if window in sums:
                smoothing = declaration.smoothing_orders
                rate = (count + smoothing * shop_rate) / (sums[window].orders + smoothing)
                values[f"fraud_rate_{entity}_{window}"] = rate
        return values | self._history(entity, view, ever)

    def _history(self, entity: str, view: View, ever: Tile) -> dict[str, Feature]:
        at, values = self._order.attempted_at, dict[str, Feature]()
        values[f"count_orders_{entity}_{EVER}"] = ever.orders
        if ever.orders:
            first, last = view.first_at(), view.last_at()
            values[f"seconds_since_first_{entity}"] = None if first is None else (at - first) / SECOND
            values[f"seconds_since_last_{entity}"] = None if last is None else (at - last) / SECOND
            values[f"mean_amount_cents_{entity}_{EVER}"] = ever.amount_cents / ever.orders
            spread = ever.orders * ever.squares - ever.amount_cents**2  # exact: these are whole numbers
            values[f"deviation_amount_cents_{entity}_{EVER}"] = sqrt(spread) / ever.orders
        return values

    def _start(self, window: str) -> int:
        start = self._order.attempted_at - self._declaration.window_seconds[window] * SECOND
        return start // DAY * DAY if self._declaration.is_tiled(window) else start

    def _since(self, view: View, window: str) -> Tile:
        return view.since(self._starts[window], is_tiled=self._declaration.is_tiled(window))

    def _view(self, entity: str) -> View:
        key = head_key(entity, self._digests[entity])
        raw = self._records.get(key)
        head = Head() if raw is None else Head.decode(raw)
        if head.newest - self._order.attempted_at > retention(self._declaration).ahead_us:
            raise ToolFailed("the state of fraud features has gone on for more than a day since the order was placed")

        @cache
        def bucket_at(hour: int) -> Bucket:
            raw = self._records.get(bucket_key(key, hour))
            return Bucket() if raw is None else Bucket.decode(raw)

        return View(head, bucket_at, self._order.place)

    def _pair(self, key: str) -> int:
        raw = self._records.get(key)
        pair = Pair() if raw is None else Pair.decode(raw)
        return pair.orders - sum(place >= self._order.place for place in pair.recent)
