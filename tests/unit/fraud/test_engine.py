"""One engine for one request and for a batch: the same decisions, reasons and hints, on every step of the ladder."""

import itertools
import math
from collections import Counter
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from ml.fraud.attempt_rows import COUNTED, OWN_COLUMNS, own_fields
from ml.fraud.decide import decide
from ml.fraud.engine import NO_LIMIT, DayUse, FraudEngine, RuleHistory
from ml.fraud.features import with_derived
from ml.fraud.hints import what_would_change
from ml.fraud.lists import ListEntry
from ml.fraud.policy_file import default_policy
from ml.fraud.reasons import reason_codes
from ml.fraud.standin import VELOCITIES
from ml.outcomes import DataFailed
from tests.unit.fraud.attempts import START, ZONE, as_read, attempt, random_attempts, random_counts, trained
from tests.unit.fraud.policies import policy

RULES = """
rules:
  - {name: large, when: amount_cents >= 50000 and not is_billing_shipping_same, action: review, why: Large}
  - {name: stolen, when: count_frauds_device_30d >= 1 or score > 0.6, action: decline, why: Stolen,
     breaker: {declines: 3, share: 0.02, window_hours: 6}}
  - {name: far, when: "amount_cents > 2 * mean_amount_cents_customer_ever and ip_country in ['FR']",
     action: challenge, why: Far}
  - {name: unknown, when: channel is missing or account_age_days < 30, action: challenge, why: Unknown}
"""
SEGMENTS = """
segments:
  - {name: kiosk, when: channel == 'kiosk', standin: {amount_cents: 1000, over_limits: decline}}
"""
POLICIES = [
    default_policy(),
    policy(RULES),
    policy("actions: [approve, review, decline]\nexploration: {share: 0.5, per_day: 3}\n"
           + RULES.replace("action: challenge", "action: review")),
    policy("reviews: {per_day: 4, minimum_saving_cents: 20}\n" + RULES + SEGMENTS),
]  # fmt: skip
DAY = "2026-02-28"  # of the first attempt, in the shop's time zone
LISTS = [
    ListEntry("block", "device", "d3"),
    ListEntry("allow", "customer", "c4", START + timedelta(days=2)),
    ListEntry("watch", "ip_country", "FR", START + timedelta(days=1)),
    ListEntry("block", "billing_address", "h1", START + timedelta(hours=3)),
]


@pytest.fixture(scope="module")
def model():
    return trained()


@pytest.fixture(scope="module")
def blind():
    return replace(trained(columns=OWN_COLUMNS), name="fallback")


def engine(model=None, fallback=None, the_policy=None, lists=()):
    return FraudEngine.prepare(model, fallback, the_policy or default_policy(), lists, 7, ZONE)


def one(the_engine, attempt_, counts, *, use=None, history=None, velocities=None):
    return the_engine.decide([attempt_], [counts], [velocities], use or {}, history or RuleHistory())[0]


def shifted(model, log_odds):
    """The model, of another mean."""
    return replace(model, calibration=replace(model.calibration, intercept=log_odds))


def same(found, expected):
    """Equal, with numbers to the rounding of a sum."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        return all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(same(a, b) for a, b in zip(found, expected, strict=True))
    if isinstance(expected, float):
        return (math.isnan(found) and math.isnan(expected)) or math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9)
    return found == expected


MANY = [pytest.param(at, seed, 700, marks=pytest.mark.full) for at, seed in itertools.product(range(4), (2, 3))]


@pytest.mark.parametrize(("at", "seed", "count"), [*((at, 1, 150) for at in range(len(POLICIES))), *MANY])
def test_a_batch_through_the_engine_is_the_batch_through_pandas(model, at, seed, count):
    """Decisions, traces, costs, reasons, contributions and hints; the caps of a day shared by all."""
    the_policy = POLICIES[at]
    attempts, counts = random_attempts(count, seed), random_counts(count, seed + 50)
    orders = as_read(attempts, counts)
    inputs = with_derived(orders)
    probabilities = model.probabilities(inputs)
    expected = decide(orders, probabilities, the_policy, LISTS, None, None, 7)
    found = engine(model, None, the_policy, LISTS).decide(attempts, counts, [None] * count, {}, RuleHistory())
    assert Counter(expected["source"]).keys() >= {"model", "list"}
    contributions = model.contributions(inputs)
    reasons = reason_codes(inputs, contributions)
    for place, (row, got) in enumerate(zip(expected.to_dict("records"), found, strict=True)):
        told = {name: getattr(got, name) for name in row if name != "expected_cost_cents"}
        assert same(told, {name: value for name, value in row.items() if name != "expected_cost_cents"}), place
        assert got.step == "model"
        assert got.probability == probabilities[place]
        assert got.fault == ""
        assert same(got.reasons, reasons[place])
        shares = {name: float(value) for name, value in contributions.iloc[place].items() if value != 0.0}
        assert same(dict(got.contributions), shares)
        if place < 15:
            hint = None if got.action == "approve" else what_would_change(orders.iloc[[place]], model, the_policy, row)
            assert got.hint == hint


def test_one_at_a_time_is_the_batch(model):
    """With what the day has used and what rules declined handed on, as a service does."""
    the_policy = POLICIES[3]
    attempts = sorted(random_attempts(200, 9), key=lambda a: (a.event.attempted_at, a.event.order_id))
    counts = random_counts(200, 10)
    the_engine = engine(model, None, replace(the_policy, reviews=replace(the_policy.reviews, per_day=10**6)), LISTS)
    together = the_engine.decide(attempts, counts, [None] * 200, {}, RuleHistory())
    declines, times, use = [], [], {}
    capped = 0
    for attempt_, count, expected in zip(attempts, counts, together, strict=True):
        # A share counts the whole batch's earlier orders; one at a time they are the history.
        history = RuleHistory({"stolen": declines}, times)
        got = one(the_engine, attempt_, count, use=use, history=history)
        assert same(asdict(got), asdict(expected))
        moment = attempt_.event.attempted_at * 1000
        times.append(moment)
        trace = {entry["rule"]: entry for entry in got.rule_trace if entry["kind"] == "rule"}
        capped += trace["stolen"]["capped"]
        if trace["stolen"]["matched"] and not trace["stolen"]["capped"]:
            declines.append(moment)
        day = use.setdefault(the_engine.shop_day(attempt_), DayUse())
        spent = {name: amount for name, amount, _ in got.spends}
        use[the_engine.shop_day(attempt_)] = DayUse(
            day.reviews + spent.get("reviews", 0), day.explored + spent.get("explored", 0),
            day.standin_cents + spent.get("standin_cents", 0),
        )  # fmt: skip
    assert capped > 0, "no circuit breaker opened: nothing was compared"


def test_rows_that_pandas_has_in_another_precision_are_noticed(model):
    """The positive control: counts that were not rounded to what the model reads would decide differently."""
    attempts, counts = random_attempts(60, 3), random_counts(60, 4)
    changed = [{**one, "count_failed_device_1h": 9} for one in counts]
    found = engine(model).decide(attempts, changed, [None] * 60, {}, RuleHistory())
    expected = model.probabilities(with_derived(as_read(attempts, counts)))
    assert (np.array([got.probability for got in found]) != expected).any()


def test_the_step_goes_down_with_what_is_known(model, blind):
    counts = random_counts(1, 1)[0]
    full = engine(model, blind)
    assert one(full, attempt(), counts).step == "model"
    without = one(full, attempt(), None, velocities=dict.fromkeys(VELOCITIES, 0))
    assert (without.step, without.source, without.fault) == ("fallback_model", "model", "features_missing")
    assert without.reasons
    assert set(without.row).isdisjoint(set(COUNTED) - set(VELOCITIES))
    alone = one(engine(model), attempt(), None, velocities=dict.fromkeys(VELOCITIES, 0))
    assert (alone.step, alone.source, alone.probability) == ("standin", "standin", None)
    assert (alone.action, alone.reasons, dict(alone.contributions)) == ("approve", [], {})
    assert alone.spends == (("standin_cents", 10_000, 500_000),)
    nobody = one(engine(), attempt(), counts)
    assert (nobody.step, nobody.fault) == ("standin", "no_model")


def test_counts_that_cannot_be_are_not_scored(model):
    absurd = random_counts(1, 1)[0] | {"count_orders_customer_1d": 10**30}
    got = one(engine(model), attempt(), absurd)
    assert (got.step, got.fault) == ("standin", "implausible")


def test_the_fallback_model_is_never_milder_than_the_stand_in(model, blind):
    """Within the limits the model decides; over them the stand-in asks at least for what it would."""
    full, few = engine(model, shifted(blind, -9.0)), dict.fromkeys(VELOCITIES, 0)
    within = one(full, attempt(amount_cents=4_000), None, velocities=few)
    assert (within.action, within.source) == ("approve", "model")
    assert within.spends == (("standin_cents", 4_000, 500_000),)
    busy = one(full, attempt(amount_cents=4_000), None, velocities={VELOCITIES[2]: 3})
    assert (busy.action, busy.source) == ("review", "standin")
    assert busy.spends == (("reviews", 1, NO_LIMIT),)
    assert "stand-in" in busy.hint
    nothing_known = one(full, attempt(amount_cents=4_000), None)
    assert (nothing_known.action, nothing_known.source) == ("review", "standin")
    spent = one(
        full, attempt(amount_cents=4_000), None, velocities=few, use={"2026-02-28": DayUse(standin_cents=497_000)}
    )
    assert spent.action == "review", "the day's value is spent"
    # A probability that says decline is not held back by the limits.
    sure = shifted(blind, 9.0)
    assert one(engine(model, sure, policy()), attempt(amount_cents=4_000), None, velocities=few).action == "decline"


def test_reviews_within_the_day_and_those_that_were_asked_for(model):
    the_policy = policy("reviews: {per_day: 2}\n" + RULES)
    the_engine = engine(model, None, the_policy)
    suspect = random_counts(1, 1)[0] | {"count_failed_device_1h": 2, "count_frauds_device_30d": 0}
    day = the_engine.shop_day(attempt())
    free = one(the_engine, attempt(amount_cents=25_000), suspect)
    assert (free.action, free.spends) == ("review", (("reviews", 1, 2),))
    full = one(the_engine, attempt(amount_cents=25_000), suspect, use={day: DayUse(reviews=2)})
    assert full.action != "review"
    asked = one(
        engine(shifted(model, -9.0), None, the_policy),
        attempt(amount_cents=60_000, billing_address_hash="else"),
        suspect | {"count_failed_device_1h": 0},
        use={day: DayUse(reviews=2)},
    )
    assert (asked.action, asked.source, asked.spends) == ("review", "rule", (("reviews", 1, NO_LIMIT),))


def test_own_fields_are_of_the_shops_day():
    own = own_fields(attempt(attempted_at="2026-03-09T03:30:00+00:00"), ZONE)
    assert (own.day, own.hour_of_day, own.day_of_week) == ("2026-03-08", 23, 7)  # after the clocks went forward
    assert own_fields(attempt(attempted_at="2026-03-08T07:30:00+00:00"), ZONE).hour_of_day == 3
    assert own_fields(attempt(attempted_at="2026-03-08T06:30:00+00:00"), ZONE).hour_of_day == 1
    assert own_fields(attempt(attempted_at="2026-03-08T06:30:00.000001+05:30"), ZoneInfo("UTC")).hour_of_day == 1
    assert own.is_billing_shipping_same is True
    assert own_fields(attempt(billing_address_hash=None), ZONE).is_billing_shipping_same is None
    assert own_fields(attempt(shipping_address_hash="x"), ZONE).is_billing_shipping_same is False
    assert own_fields(attempt(account_created_at=None), ZONE).account_age_days is None
    created = datetime(2026, 3, 2, tzinfo=UTC)
    assert own_fields(attempt(account_created_at=created.isoformat()), ZONE).account_age_days == -1.0


def test_a_model_that_needs_what_no_request_tells_is_refused(model):
    with pytest.raises(DataFailed, match="inputs are not known online; retrain"):
        engine(model, model)
    unknown = replace(model, features=("moon_phase", *model.features[1:]))
    with pytest.raises(DataFailed, match="1 inputs"):
        engine(unknown)


def test_an_answer_holds_plain_values_only(model, blind):
    import json

    for counts in (random_counts(1, 1)[0], None):
        got = asdict(one(engine(model, blind), attempt(), counts))
        json.dumps(got, allow_nan=False)


def test_nobody_asked():
    assert engine().decide([], [], [], {}, RuleHistory()) == []


def test_a_group_is_decided_as_each_alone_where_no_cap_runs_out(model, blind):
    """To the last bit, on every step of the ladder: with counts, by the fallback model, and by velocities alone."""
    attempts, counts = random_attempts(16, 5), random_counts(16, 55)
    counted = [one if place % 3 else None for place, one in enumerate(counts)]
    velocities = [dict.fromkeys(VELOCITIES, 0)] * 16
    the_policy = policy(RULES.replace("declines: 3, share: 0.02", "declines: 100, share: 0.02"))
    many = engine(model, blind, replace(the_policy, reviews=replace(the_policy.reviews, per_day=1000)), LISTS)
    together = many.decide(attempts, counted, velocities, {}, RuleHistory())
    alone = [
        one(many, attempt_, given, velocities=known)
        for attempt_, given, known in zip(attempts, counted, velocities, strict=True)
    ]
    assert {found.step for found in together} == {"model", "fallback_model"}
    assert not many.has_shared_out(attempts, together, {})
    assert [asdict(found) for found in together] == [asdict(found) for found in alone]


@pytest.mark.parametrize(("used", "is_shared"), [(0, False), (1, True), (3, True), (4, False)])
def test_whether_the_reviews_of_a_day_ran_out_within_a_group(used, is_shared):
    """Three orders that the stand-in has reviewed, of a policy with four reviews a day."""
    the_policy = policy("reviews: {per_day: 4}\n")
    asked = engine(None, None, the_policy)
    attempts = [attempt(number, amount_cents=1_000_000) for number in range(3)]
    use = {asked.shop_day(attempts[0]): DayUse(reviews=used)}
    decided = asked.decide(attempts, [None] * 3, [None] * 3, use, RuleHistory())
    assert [found.action for found in decided] == ["review"] * 3
    assert asked.has_shared_out(attempts, decided, use) is is_shared
