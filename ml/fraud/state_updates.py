"""What events make of the state of fraud features: each counts once, in whatever order and however late it comes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ml.fraud.declaration import Declaration
from ml.fraud.events import LabelEvent, OrderEvent
from ml.fraud.spans import Bucket, SpanRecords, span_suffixes
from ml.fraud.state_records import (
    OrderRecord,
    Pair,
    StateReader,
    digests_of,
    head_key,
    order_key,
    others_of,
    pair_keys,
    retention,
)
from ml.fraud.tiles import Head, SeenOrder


def apply_events(
    state: StateReader, events: Iterable[OrderEvent | LabelEvent], declaration: Declaration
) -> dict[str, bytes | None]:
    """What a batch of events makes of the state.

    Returns:
        Key -> new record, None for one that goes. To be committed together with the events' position in the log.
    """
    records = _Records(state)
    payments, frauds = _first_attempts(events)
    order_ids = sorted({*payments, *frauds})
    records.fetch(order_key(order_id) for order_id in order_ids)
    changes = []
    for order_id in order_ids:
        old = records.order(order_id)
        new = _with_fraud(_with_payment(old, payments.get(order_id), declaration), frauds.get(order_id))
        if new != old:
            changes.append((old, new))
    records.fetch(key for pair in changes for order in pair for key in _keys_written(order, declaration))
    counting = _Counting(records, declaration)
    for old, new in changes:
        counting.count(old, -1)
        records.keep(new)
        counting.count(new, 1)
    return records.encoded()


def _first_attempts(events: Iterable[OrderEvent | LabelEvent]) -> tuple[dict[str, OrderEvent], dict[str, int]]:
    """Of each order in a batch: its first attempt, and when its earliest fraud label became known."""
    payments: dict[str, OrderEvent] = {}
    frauds: dict[str, int] = {}
    for event in events:
        if isinstance(event, OrderEvent):
            known = payments.get(event.order_id)
            if known is not None and _is_same_attempt(known.attempted_at, known.payment_id, event):
                event = replace(event, is_failed=known.is_failed and event.is_failed)
                known = payments[event.order_id] = replace(known, is_failed=event.is_failed)
            if known is None or (event.attempted_at, event.payment_id) < (known.attempted_at, known.payment_id):
                payments[event.order_id] = event
        elif event.is_fraud:
            frauds[event.order_id] = min(event.known_at, frauds.get(event.order_id, event.known_at))
    return payments, frauds


def _with_payment(order: OrderRecord, event: OrderEvent | None, declaration: Declaration) -> OrderRecord:
    """An order is its first attempt; one that is heard of later takes the place of what was counted."""
    if event is None:
        return order
    if order.at is not None and _is_same_attempt(order.at, order.payment_id, event):
        event = replace(event, is_failed=order.is_failed and event.is_failed)
        order = replace(order, is_failed=event.is_failed)
    if order.at is not None and (order.at, order.payment_id) <= (event.attempted_at, event.payment_id):
        return order
    return replace(
        order,
        at=event.attempted_at,
        payment_id=event.payment_id,
        amount_cents=event.amount_cents,
        is_failed=event.is_failed,
        digests=digests_of(event, declaration),
    )


def _is_same_attempt(at: int, payment_id: str, event: OrderEvent) -> bool:
    """Whether an event tells of an attempt that is known already; of its outcomes, one that says approved holds.

    Asked about without an outcome, an attempt counts as failed until its payment is posted. Marts, which keep no
    payment's id, name it by its order's.
    """
    return payment_id == event.payment_id or (
        at == event.attempted_at and event.order_id in (payment_id, event.payment_id)
    )


def _with_fraud(order: OrderRecord, known_at: int | None) -> OrderRecord:
    if known_at is None or (order.fraud_at is not None and order.fraud_at <= known_at):
        return order
    return replace(order, fraud_at=known_at)


def _keys_written(order: OrderRecord, declaration: Declaration) -> list[str]:
    if order.at is None:
        return []
    heads = [head_key(entity, digest) for entity, digest in order.digests.items()]
    moments = [at for at in (order.at, order.fraud_counts_from) if at is not None]
    suffixes = dict.fromkeys(suffix for at in moments for suffix in span_suffixes(at))
    pairs = pair_keys(order.digests, declaration).values()
    return [*heads, *(head + suffix for head in heads for suffix in suffixes), *pairs]


class _Records:
    """Records being changed: each is read and decoded once, and encoded once at the end."""

    def __init__(self, state: StateReader) -> None:
        self._state = state
        self._fetched: dict[str, bytes | None] = {}
        self._changed: dict[str, OrderRecord | Head | Bucket | Pair | None] = {}

    def fetch(self, keys: Iterable[str]) -> None:
        wanted = sorted({key for key in keys if key not in self._fetched})
        found = self._state.read(wanted) if wanted else {}
        self._fetched.update({key: found.get(key) for key in wanted})

    def order(self, order_id: str) -> OrderRecord:
        raw = self._raw(order_key(order_id))
        return OrderRecord(order_id) if raw is None else OrderRecord.decode(raw)

    def keep(self, order: OrderRecord) -> None:
        self._changed[order_key(order.order_id)] = order

    def head(self, key: str) -> Head:
        head = self._changed.get(key)
        if head is None:
            raw = self._raw(key)
            head = self._changed[key] = Head() if raw is None else Head.decode(raw)
        assert isinstance(head, Head), key
        return head

    def pair(self, key: str) -> Pair:
        pair = self._changed.get(key)
        if pair is None:
            raw = self._raw(key)
            pair = self._changed[key] = Pair() if raw is None else Pair.decode(raw)
        assert isinstance(pair, Pair), key
        return pair

    def bucket(self, key: str) -> Bucket:
        bucket = self._changed.get(key)
        if bucket is None:
            raw = None if key in self._changed else self._raw(key)
            bucket = self._changed[key] = Bucket() if raw is None else Bucket.decode(raw)
        assert isinstance(bucket, Bucket), key
        return bucket

    def drop(self, key: str) -> None:
        self._changed[key] = None

    def note_absent(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._fetched.setdefault(key, None)

    def encoded(self) -> dict[str, bytes | None]:
        """Those that are other than they were, by key: who writes them goes through the store once, from end to end."""
        unknown = b""  # a record that goes may never have been read
        updates: dict[str, bytes | None] = {}
        for key in sorted(self._changed):
            record = self._changed[key]
            is_gone = record is None or (isinstance(record, Bucket) and record.size == 0)
            raw = None if record is None or is_gone else record.encode()
            if raw != self._fetched.get(key, unknown):
                updates[key] = raw
        return updates

    def _raw(self, key: str) -> bytes | None:
        if key not in self._fetched:
            self.fetch([key])
        return self._fetched[key]


class _Counting:
    """Counts orders, and their frauds, at all their entities."""

    def __init__(self, records: _Records, declaration: Declaration) -> None:
        self._records, self._declaration = records, declaration
        self._retention = retention(declaration)
        tiled = [one for one in declaration.sharing if declaration.is_tiled(one.window)]
        self._of_days = {entity: {one.of for one in tiled if one.entity == entity} for entity in declaration.entities}
        self._of = {entity: sorted(others_of(entity, declaration)) for entity in declaration.entities}
        self._spans = SpanRecords(records, declaration.sharing_cap)

    def count(self, order: OrderRecord, sign: int) -> None:
        """Put in (1) or take out (-1)."""
        if order.at is None:
            return
        for entity, digest in order.digests.items():
            of = self._of.get(entity, [])
            seen = {other: order.digests[other] for other in of if other in order.digests}
            one = SeenOrder(order.at, order.order_id, order.amount_cents, order.is_failed, seen)
            key = head_key(entity, digest)
            self._count_order(key, one, sign, of, self._of_days.get(entity, set()))
            if order.fraud_counts_from is not None:
                self._count_fraud(key, order.fraud_counts_from, sign, of)
        for key in pair_keys(order.digests, self._declaration).values():
            self._records.pair(key).count((order.at, order.order_id), sign, self._retention.ahead_us)

    def _count_order(self, key: str, order: SeenOrder, sign: int, of: Sequence[str], of_days: set[str]) -> None:
        head, cap = self._advanced(key, order.at), self._declaration.sharing_cap
        day, hour = head.tiles_at(order.at, self._retention)
        head.total.count(order, sign)
        if day is not None:
            day.count(order, sign, of_days, cap)
        if hour is not None:
            hour.count(order, sign, of, cap)
            self._spans.change(key, order, sign, of)
            hour.last = self._spans.newest_after(key, hour.last, order, sign, level=0)
        if sign > 0:
            head.place(order, is_single=hour is not None)
        else:
            head.displace(order)
        head.drop_empty(order.at)

    def _count_fraud(self, key: str, known_at: int, sign: int, of: Sequence[str]) -> None:
        head = self._advanced(key, known_at)
        day, hour = head.tiles_at(known_at, self._retention)
        for tile in (head.total, day, hour):
            if tile is not None:
                tile.frauds += sign
        if hour is not None:
            self._spans.change(key, known_at, sign, of)
        head.drop_empty(known_at)

    def _advanced(self, key: str, at: int) -> Head:
        head = self._records.head(key)
        for hour, tile in head.advance(at, self._retention).items():
            self._spans.forget(key, hour, tile)
        return head
