"""What the online state tells of an order, against values counted by hand and by brute force."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import sqrt

import pytest

from ml.fraud.declaration import Declaration, parse
from ml.fraud.events import LabelEvent, OrderEvent, microseconds
from ml.fraud.online_state import features_of, keys_of
from ml.fraud.spans import MOST_SINGLES
from ml.fraud.state_records import Pair, digest, head_key, state_digest
from ml.fraud.state_updates import apply_events
from ml.outcomes import ToolFailed

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
DECLARATION = parse(
    {
        "window_seconds": {"1h": 3600, "1d": 86400, "7d": 604800},
        "tiled_from_seconds": 604800,
        "entities": {
            "customer": {"column": "customer_id", "windows": ["1h", "1d", "7d"]},
            "device": {"column": "device_hash", "windows": ["1h", "7d"]},
        },
        "fraud_windows": ["7d"],
        "smoothing_orders": 20,
        "sharing": [
            {"entity": "device", "of": "customer", "window": "7d"},
            {"entity": "device", "of": "customer", "window": "1d"},
        ],
        "sharing_cap": 3,
        "pairs": [["customer", "device"]],
    }
)


class Kept:
    """A state in memory that applies batches and commits them."""

    def __init__(self, declaration: Declaration = DECLARATION) -> None:
        self.records: dict[str, bytes] = {}
        self.declaration = declaration

    def read(self, keys):
        return {key: self.records[key] for key in keys if key in self.records}

    def apply(self, *events):
        for key, record in apply_events(self, events, self.declaration).items():
            if record is None:
                self.records.pop(key, None)
            else:
                self.records[key] = record
        return self

    def features(self, event):
        return features_of(self, event, self.declaration)


def order(order_id, at, amount=100, customer="c1", device="d1", failed=False, payment=None):
    values = {"customer_id": customer, "device_hash": device}
    return OrderEvent(order_id, microseconds(at), values, payment or f"p-{order_id}", amount, failed)


def fraud(order_id, known_at):
    return LabelEvent(order_id, microseconds(known_at), is_fraud=True)


def before(**ago):
    return NOON - timedelta(**ago)


ASKED = order("o9", NOON)


def test_sums_of_windows_hold_what_is_earlier_and_not_too_old():
    kept = Kept().apply(
        order("edge", before(hours=1), 100),  # the window's older end is inside
        order("out", before(hours=1, microseconds=1), 1000, failed=True),
        order("day", before(hours=23), 10_000, failed=True),
        order("old", before(days=3), 100_000),
        order("o9", NOON, 7),  # the order itself
        order("p0", NOON, 70),  # a tie that comes after it by its id
        order("a0", NOON, 1),  # a tie that comes before
        order("next", NOON + timedelta(minutes=1), 700),
    )
    features = kept.features(ASKED)
    assert (features["count_orders_customer_1h"], features["amount_cents_customer_1h"]) == (2, 101)
    assert (features["count_orders_customer_1d"], features["amount_cents_customer_1d"]) == (4, 11_101)
    assert (features["count_failed_customer_1h"], features["count_failed_customer_1d"]) == (0, 2)
    assert (features["count_orders_customer_7d"], features["count_orders_customer_ever"]) == (5, 5)
    assert features["amount_cents_customer_7d"] == 111_101
    assert features["seconds_since_first_customer"] == 3 * 86_400
    assert features["seconds_since_last_customer"] == 0
    assert list(features) == list(DECLARATION.counted_features())


def test_a_tiled_window_begins_with_a_whole_utc_day():
    first_inside = datetime(2024, 3, 3, tzinfo=UTC)
    kept = Kept().apply(order("in", first_inside), order("out", first_inside - timedelta(microseconds=1)))
    assert kept.features(ASKED)["count_orders_customer_7d"] == 1
    assert kept.features(ASKED)["count_orders_customer_ever"] == 2


def test_mean_and_deviation_are_of_the_whole_history():
    kept = Kept().apply(order("o1", before(days=90), 100), order("o2", before(hours=2), 300))
    features = kept.features(ASKED)
    assert features["mean_amount_cents_customer_ever"] == 200
    assert features["deviation_amount_cents_customer_ever"] == 100


def test_a_null_entity_counts_nothing_and_a_new_one_counts_zero():
    kept = Kept().apply(order("o1", before(hours=2), device=None), order("o2", before(hours=1), customer=None))
    features = kept.features(order("o9", NOON, customer="new", device=None))
    assert features["count_orders_customer_7d"] == 0
    assert features["mean_amount_cents_customer_ever"] is None
    assert features["seconds_since_last_customer"] is None
    assert {features[name] for name in features if "device" in name} == {None}
    assert features["fraud_rate_shop_ever"] == 1 / 202


def test_frauds_count_from_the_moment_they_became_known_and_once_per_order():
    kept = Kept().apply(
        order("o1", before(days=60)), fraud("o1", before(days=1)), fraud("o1", before(days=2)), fraud("o1", NOON)
    )
    kept.apply(order("o2", before(days=50)), fraud("o2", before(days=20)))
    kept.apply(order("o3", before(days=2)), fraud("o3", NOON))  # known at the very moment: not before it
    kept.apply(order("o4", before(days=2)), LabelEvent("o4", microseconds(before(days=1)), is_fraud=False))
    features = kept.features(ASKED)
    assert (features["count_frauds_customer_7d"], features["count_frauds_customer_ever"]) == (1, 2)
    shop_rate = (2 + 1) / (4 + 200)
    assert features["fraud_rate_shop_ever"] == pytest.approx(shop_rate)
    assert features["fraud_rate_customer_7d"] == pytest.approx((1 + 20 * shop_rate) / (2 + 20))
    assert features["fraud_rate_customer_ever"] == pytest.approx((2 + 20 * shop_rate) / (4 + 20))


def test_a_label_older_than_its_order_counts_from_the_order_on():
    kept = Kept().apply(order("o1", before(hours=1)), fraud("o1", before(days=30)))
    assert kept.features(order("o0", before(hours=1)))["count_frauds_customer_ever"] == 0
    assert kept.features(ASKED)["count_frauds_customer_7d"] == 1


def test_a_label_that_comes_before_its_order_finds_it_later():
    kept = Kept().apply(fraud("o1", before(days=1)))
    assert kept.features(ASKED)["count_frauds_device_7d"] == 0
    kept.apply(order("o1", before(days=9)))
    assert kept.features(ASKED)["count_frauds_device_7d"] == 1


def test_different_customers_of_a_device_are_counted_up_to_the_cap():
    kept = Kept().apply(
        order("o1", before(days=2), customer="a"),
        order("o2", before(days=2, hours=1), customer="a"),
        order("o3", before(hours=1), customer="b"),
        order("o4", before(hours=2), customer=None),
    )
    features = kept.features(ASKED)
    assert (features["count_customers_device_7d"], features["count_customers_device_1d"]) == (2, 1)
    kept.apply(*(order(f"x{number}", before(days=3), customer=f"x{number}") for number in range(5)))
    assert kept.features(ASKED)["count_customers_device_7d"] == 3


def test_pairs_are_counted_without_end():
    kept = Kept().apply(
        order("o1", before(days=300)), order("o2", before(days=1), device="d2"), order("z", NOON + timedelta(seconds=1))
    )
    assert kept.features(ASKED)["count_orders_customer_device_ever"] == 1
    assert kept.features(order("o9", NOON, device="d3"))["count_orders_customer_device_ever"] == 0


def test_an_order_is_its_first_attempt_whichever_is_heard_of_first():
    second = order("o1", before(minutes=50), 500, device="d2", failed=False, payment="p2")
    first = order("o1", before(minutes=55), 400, device="d1", failed=True, payment="p1")
    kept = Kept().apply(second).apply(fraud("o1", before(minutes=5))).apply(first).apply(second)
    features = kept.features(ASKED)
    assert features["count_orders_device_1h"] == features["count_failed_device_1h"] == 1
    assert (features["amount_cents_device_1h"], features["count_frauds_device_ever"]) == (400, 1)
    assert kept.features(order("o9", NOON, device="d2"))["count_orders_device_ever"] == 0
    assert kept.features(order("o9", NOON, device="d2"))["count_frauds_device_ever"] == 0
    assert features["fraud_rate_shop_ever"] == (1 + 1) / (1 + 200)


def test_an_attempt_taken_back_leaves_first_and_last_as_they_were():
    early, late = before(days=20), before(days=10)
    kept = Kept().apply(order("o1", early, customer="c1"), order("o2", late, customer="c1"))
    kept.apply(order("o3", before(days=5), customer="c1", payment="p9"), order("o4", before(hours=1), customer="c1"))
    kept.apply(order("o3", before(days=5, minutes=1), customer="c2", payment="p1"))
    kept.apply(order("o4", before(hours=1, minutes=1), customer="c2", payment="p1"))
    features = kept.features(ASKED)
    assert features["count_orders_customer_ever"] == 2
    assert features["seconds_since_last_customer"] == 10 * 86_400
    assert features["seconds_since_first_customer"] == 20 * 86_400


def test_a_question_from_more_than_a_day_ago_is_refused():
    kept = Kept().apply(order("o1", NOON))
    assert kept.features(order("o0", NOON - timedelta(days=1)))["count_orders_customer_ever"] == 0
    with pytest.raises(ToolFailed, match="more than a day"):
        kept.features(order("o0", NOON - timedelta(days=1, microseconds=1)))


def test_what_is_too_old_is_forgotten():
    kept = Kept().apply(*(order(f"o{day}", NOON + timedelta(days=day)) for day in range(40)))
    last = NOON + timedelta(days=39)
    hours = {key for key in kept.records if key.startswith(f"{head_key('customer', '')}") and key.count(":") == 2}
    assert len(hours) == 3  # two days and a day: what a question of a day ago needs
    assert kept.features(order("o99", last))["count_orders_customer_7d"] == 8
    assert kept.features(order("o99", last))["count_orders_customer_ever"] == 40


def test_another_declaration_makes_another_state():
    wider = parse(
        {
            "window_seconds": {"1h": 3660},
            "tiled_from_seconds": 604800,
            "entities": {"customer": {"column": "customer_id", "windows": ["1h"]}},
            "fraud_windows": [],
            "smoothing_orders": 20,
            "sharing": [],
            "sharing_cap": 3,
            "pairs": [],
        }
    )
    assert state_digest(wider) != state_digest(DECLARATION)
    assert state_digest(DECLARATION) == state_digest(DECLARATION)


def random_events(seed):
    draw = random.Random(seed)  # noqa: S311 - made-up orders
    events, labels = [], []
    for number in range(60):
        at = NOON + timedelta(minutes=draw.choice([0, 1, 59, 60, 61]), hours=draw.randrange(24 * 12))
        customer, device = draw.choice(["a", "b", "c", "d", None]), draw.choice(["x", "y", None])
        events.append(order(f"o{number:02}", at, draw.randrange(5000), customer, device, draw.random() < 0.2))
        if draw.random() < 0.3:
            labels.append(fraud(f"o{number:02}", at + timedelta(hours=draw.randrange(100))))
    return events, labels


def brute_force(asked, events, labels):
    """Every feature of DECLARATION from its words, without any state."""
    first_known = {}
    for label in labels:
        first_known[label.order_id] = min(label.known_at, first_known.get(label.order_id, label.known_at))
    earlier = [one for one in events if one.place < asked.place]
    at, day = asked.attempted_at, 86_400_000_000
    starts = {"1h": at - day // 24, "1d": at - day, "7d": (at - 7 * day) // day * day, "ever": 0}
    known = sum(known_at < at for known_at in first_known.values())
    shop = (known + 1) / (len(earlier) + 200)
    found = {"fraud_rate_shop_ever": shop}
    for entity, column in DECLARATION.entities.items():
        value = asked.values[column]
        if value is None:
            continue
        own = [one for one in earlier if one.values[column] == value]
        ids = {one.order_id for one in events if one.values[column] == value}
        for window in (*DECLARATION.entity_windows[entity], "ever"):
            inside = [one for one in own if one.attempted_at >= starts[window]]
            frauds = sum(order_id in ids and starts[window] <= when < at for order_id, when in first_known.items())
            found[f"count_orders_{entity}_{window}"] = len(inside)
            found[f"amount_cents_{entity}_{window}"] = sum(one.amount_cents for one in inside)
            found[f"count_failed_{entity}_{window}"] = sum(one.is_failed for one in inside)
            found[f"count_frauds_{entity}_{window}"] = frauds
            found[f"fraud_rate_{entity}_{window}"] = (frauds + 20 * shop) / (len(inside) + 20)
        if own:
            amounts = [one.amount_cents for one in own]
            mean = sum(amounts) / len(own)
            found[f"mean_amount_cents_{entity}_ever"] = mean
            spread = sum((amount - mean) ** 2 for amount in amounts)
            found[f"deviation_amount_cents_{entity}_ever"] = sqrt(spread / len(own))
            found[f"seconds_since_first_{entity}"] = (at - own_first(own)) / 1e6
            found[f"seconds_since_last_{entity}"] = (at - max(one.attempted_at for one in own)) / 1e6
    customer, device = asked.values["customer_id"], asked.values["device_hash"]
    shared = [one for one in earlier if device is not None and one.values["device_hash"] == device]
    if device is not None:
        for window in ("7d", "1d"):
            seen = {one.values["customer_id"] for one in shared if one.attempted_at >= starts[window]}
            found[f"count_customers_device_{window}"] = min(3, len(seen - {None}))
        if customer is not None:
            together = sum(one.values["customer_id"] == customer for one in shared)
            found["count_orders_customer_device_ever"] = together
    return {name: found.get(name) for name in DECLARATION.counted_features()}


def own_first(own):
    return min(one.attempted_at for one in own)


def crowded_events(seed):
    """Hundreds of orders in some minutes, so that records of hours and of minutes are divided; some twice."""
    draw = random.Random(seed)  # noqa: S311 - made-up orders
    events, labels, later = [], [], []
    for number in range(300):
        ago = draw.choice([0, 1, 20, 21]) * 3600 + draw.choice([0, 0, 60, 90, 3500]) + draw.randrange(3)
        at = NOON + timedelta(days=1, seconds=-ago, microseconds=draw.randrange(3) * 300_000)
        customer, device = draw.choice(["a", "b", "c", None]), draw.choice(["x", "x", "x", "y", None])
        amount, is_failed = draw.choice([draw.randrange(5000), 10**12]), draw.random() < 0.2
        events.append(order(f"o{number:03}", at, amount, customer, device, is_failed, payment="p1"))
        if draw.random() < 0.3:
            second = at + timedelta(seconds=draw.randrange(1, 90))
            later.append(order(f"o{number:03}", second, 1, draw.choice("abc"), "x", payment="p2"))
        if draw.random() < 0.3:
            labels.append(fraud(f"o{number:03}", at + timedelta(seconds=draw.choice([0, 0, 1, 70, 4000]))))
    return events, labels, later


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_gives_the_brute_force_values_in_any_order_of_arrival(seed):
    events, labels, later = crowded_events(seed)
    draw = random.Random(seed)  # noqa: S311 - made-up orders
    shuffled, in_order = Kept(), Kept()
    for kept, stream in ((shuffled, [*events, *labels]), (shuffled_with_later := Kept(), [*events, *labels, *later])):
        draw.shuffle(stream)
        for start in range(0, len(stream), 11):
            kept.apply(*stream[start : start + 11])
    for event in sorted(events, key=lambda event: event.place):
        in_order.apply(event)
    in_order.apply(*labels)
    assert shuffled.records == in_order.records
    for event in events[::3]:
        asked = replace(event, order_id=draw.choice([event.order_id, "a", "z"]))
        others = [one for one in events if one.order_id != asked.order_id]
        expected = pytest.approx(brute_force(asked, others, labels), nan_ok=True)
        assert shuffled.features(asked) == expected, asked
        assert shuffled_with_later.features(asked) == expected, asked


def test_records_are_divided_and_united_by_what_they_hold():
    few = [order(f"o{number}", NOON + timedelta(seconds=number)) for number in range(MOST_SINGLES)]
    more = [order(f"x{number}", NOON + timedelta(seconds=number, milliseconds=1)) for number in range(100)]
    kept = Kept().apply(*few)
    before_more = dict(kept.records)
    kept.apply(*more)
    assert len(kept.records) > len(before_more) + 3 * len(more)  # of minutes and seconds beside the orders' own
    # Each of the others turns out to be a later attempt of an order that nobody asks about.
    kept.apply(
        *(order(f"x{number}", before(days=30), customer="c2", device=None, payment="a") for number in range(100))
    )
    hour = f"{head_key('device', digest('d1'))}:h"
    assert {key: one for key, one in kept.records.items() if hour in key} == {
        key: one for key, one in before_more.items() if hour in key
    }
    assert not [key for key in kept.records if key.startswith(head_key("device", digest("d1"))) and ":s" in key]


def test_a_crowd_is_read_in_small_records_and_forgotten_whole():
    kept = Kept()
    for start in range(0, 6000, 500):
        kept.apply(
            *(order(f"o{at}", NOON + timedelta(seconds=at / 4), customer=f"c{at}") for at in range(start, start + 500))
        )
    asked = order("o99999", NOON + timedelta(seconds=1490))
    read = kept.read(keys_of(asked, DECLARATION))
    assert max(map(len, read.values())) < 10_000
    assert kept.features(asked)["count_orders_device_1h"] == 4 * 1490 + 1  # and the tie with a smaller id
    kept.apply(order("late", NOON + timedelta(days=4), customer="c9"))
    spans = {key for key in kept.records if key.count(":") == 2}
    assert len({key for key in spans if not key.startswith("customer")}) == 2  # the new order's device and shop


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_arrival_gives_the_brute_force_values(seed):
    events, labels = random_events(seed)
    draw = random.Random(seed)  # noqa: S311 - made-up orders
    stream = [*events, *labels, *draw.sample(events, 10)]
    draw.shuffle(stream)
    shuffled, in_order = Kept(), Kept()
    for start in range(0, len(stream), 7):
        shuffled.apply(*stream[start : start + 7])
    for event in sorted(events, key=lambda event: event.place):
        in_order.apply(event)
    in_order.apply(*labels)
    assert shuffled.records == in_order.records
    newest = max([event.attempted_at for event in events] + [label.known_at for label in labels])
    asked = [event for event in events if event.attempted_at >= newest - 86_400_000_000]
    asked.append(OrderEvent("later", newest + 1, {"customer_id": "a", "device_hash": "x"}))
    for event in asked:
        assert shuffled.features(event) == pytest.approx(brute_force(event, events, labels), nan_ok=True), event


def test_a_pair_knows_its_newest_orders_singly_and_in_their_order():
    pair = Pair()
    for place in [(500, "b"), (100, "a"), (500, "a"), (900, "c")]:
        pair.count(place, 1, 400)
    assert pair == Pair(4, [(500, "a"), (500, "b"), (900, "c")])  # what is 400 older stays, what is older yet goes
    pair.count((500, "a"), 1, 400)
    pair.count((500, "a"), -1, 400)
    pair.count((100, "a"), -1, 400)  # no longer there singly
    assert pair == Pair(3, [(500, "b"), (900, "c")])
    assert Pair.decode(pair.encode()) == pair
    pair.count((900, "c"), -1, 400)
    pair.count((500, "b"), -1, 400)
    assert pair == Pair(1, [])
