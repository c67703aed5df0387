"""What a soak is judged by: a planted loss, a second copy, growth, silence and a fault that missed each fail it."""

import importlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml.settings import Settings
from ml.stores.fraud_tables import decisions
from ml.stores.operations import Operations
from ml.stores.serving_log import Entry, ServingLog
from tests.fraud_serving import of_shop

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
AT = datetime(2024, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def verdict(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("serving_verdict")


@pytest.fixture
def told(monkeypatch):
    """A history with two decisions, one exposure and one event."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    history = importlib.import_module("serving_history").History()
    history.decisions = {f"p{number}": (f"o{number}", f"d{number}", "approve") for number in (1, 2)}
    history.exposures, history.events = {"x1"}, {"view-1"}
    return history


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return of_shop(tmp_path)


def _entry(kind, key, **answer):
    return Entry(kind, key, json.dumps({"answer": answer}), f"digest of {key}", AT)


def _decision(number, key=None, action="approve"):
    decision_id = f"d{number}"
    return _entry("decision", key or decision_id, decision_id=decision_id, payment_id=f"p{number}", action=action)


REMEMBERED = (_decision(1), _decision(2), _entry("exposure", "x1"), _entry("interaction", "view-1"))


def _hold(history, settings, entries=REMEMBERED, orders=("o1", "o2")):
    held = importlib.import_module("serving_history").hold_against_installation
    ServingLog.from_settings(settings).append(entries)
    operations = Operations.from_settings(settings)
    fixed = {"ordered_at": AT, "decided_at": AT, "recorded_at": AT, "partition": "2024-03-10", "amount_cents": 1}
    fixed |= {"action": "approve", "source": "model", "would_decline": False, "propensity": 1.0, "policy_version": "p"}
    fixed |= {"expected_costs": {}, "reasons": [], "rule_trace": [], "contributions": {}}
    with operations.transaction() as connection:
        for order in orders:
            connection.execute(decisions.insert().values(decision_id=f"of {order}", order_id=order, **fixed))
    return held(history, settings)


def test_all_that_was_acknowledged_is_remembered(told, settings, verdict):
    kept = _hold(told, settings)
    assert (kept["lost"], kept["doubled"]) == ([], [])
    assert kept["acknowledged"] == {"decisions": 2, "recommendations": 1, "events": 1}
    assert verdict.judge_kept(kept["count_lost"], kept["acknowledged"], "lost").verdict == "passed"


@pytest.mark.parametrize(
    ("entries", "orders", "lost"),
    [
        (REMEMBERED[1:], ("o1", "o2"), ["decision of p1 in the log"]),
        ((_decision(1, action="decline"), *REMEMBERED[1:]), ("o1", "o2"), ["decision of p1 in the log"]),
        (REMEMBERED, ("o1",), ["decision of o2 in the record"]),
        (REMEMBERED[:3], ("o1", "o2"), ["event view-1"]),
        ((*REMEMBERED[:2], REMEMBERED[3]), ("o1", "o2"), ["exposure x1"]),
    ],
)
def test_a_planted_loss_is_found(told, settings, verdict, entries, orders, lost):
    kept = _hold(told, settings, entries, orders)
    assert (kept["lost"], kept["count_lost"]) == (lost, 1)
    assert verdict.judge_kept(1, kept["acknowledged"], "lost").verdict == "failed"


def test_a_payment_decided_twice_is_found_whatever_its_keys(told, settings):
    kept = _hold(told, settings, (*REMEMBERED, _decision(1, key="other")))
    assert (kept["doubled"], kept["count_doubled"]) == (["decision p1"], 1)


def test_two_answers_to_one_payment_are_doubled(told, settings):
    told.contradictions.append("p1")
    assert _hold(told, settings)["doubled"] == ["p1"]


@pytest.mark.parametrize("acknowledged", [{}, {"decisions": 5, "events": 0}])
def test_nothing_lost_of_nothing_is_unknown(verdict, acknowledged):
    assert verdict.judge_kept(0, acknowledged, "lost").verdict == "unknown"


@pytest.mark.parametrize(
    ("due", "answered", "expected"),
    [
        ({"decisions": 200.0, "events": 100.0}, {"decisions": 180, "events": 100}, "passed"),
        ({"decisions": 200.0, "events": 100.0}, {"decisions": 179, "events": 100}, "failed"),
        ({"decisions": 200.0, "events": 100.0}, {"decisions": 200}, "failed"),
        ({"decisions": 200.0, "events": 99.0}, {"decisions": 200, "events": 99}, "unknown"),
        ({}, {}, "unknown"),
    ],
)
def test_too_few_answers_fail(verdict, due, answered, expected):
    assert verdict.judge_answered(due, answered).verdict == expected


def _fault(name, *, struck=True, at=10.0, versions=()):
    return {"fault": name, "at": at, "struck": struck, "versions": versions}


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ([_fault("kill"), _fault("promote", versions=("v2",))], "passed"),
        ([_fault("kill"), _fault("promote", versions=("v2",)), _fault("kill", struck=False)], "failed"),
        ([_fault("kill"), _fault("promote", versions=("v3",))], "failed"),  # no answer ever named it
        ([_fault("kill"), _fault("promote", versions=("v2",), at=20.0)], "failed"),  # none after the switch
        ([_fault("kill")], "unknown"),
        ([], "unknown"),
    ],
)
def test_a_fault_that_never_struck_does_not_pass(verdict, done, expected):
    assert verdict.judge_faults(done, ("kill", "promote"), {"v2": 15.0}).verdict == expected


SETTLED_SECONDS = 120.0


def _samples(mb_per_minute, minutes=6):
    return [(5.0 * n, 300.0 + mb_per_minute * 5.0 * n / 60) for n in range(minutes * 12)]


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"worker": {1: _samples(0.5)}, "follower": {2: _samples(0.0)}}, "passed"),
        ({"worker": {1: _samples(0.5), 3: _samples(1.5)}, "follower": {2: _samples(0.0)}}, "failed"),
        ({"worker": {1: _samples(1.5)}, "follower": {}}, "failed"),
        ({"worker": {1: _samples(9.0, minutes=4)}, "follower": {2: _samples(0.0)}}, "unknown"),
        ({"worker": {1: _samples(0.5)}, "follower": {}}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_memory_that_grows_or_could_not_be_judged_does_not_pass(verdict, memory, expected):
    assert verdict.judge_memory(memory, SETTLED_SECONDS)[0].verdict == expected


def test_the_slope_is_in_mb_a_minute(verdict):
    _, slopes = verdict.judge_memory({"worker": {1: _samples(0.75)}}, SETTLED_SECONDS)
    assert slopes == {"worker": [pytest.approx(0.75)]}


MINUTES = 8
LEAK = 1.5  # MB a minute
SHAPES = {
    "a step of 60 MB while it settles": (lambda at: 60.0 * (at > 100), "passed"),
    "a saw-tooth of 15 s": (lambda at: 40.0 * (at % 15) / 15, "passed"),
    "a fall": (lambda at: -60.0 * (at > 300), "passed"),
    "a step of 60 MB afterwards": (lambda at: 60.0 * (at > 300), "failed"),
    "a step late": (lambda at: 60.0 * (at > 440), "failed"),
    "a leak": (lambda at: LEAK * at / 60, "failed"),
    "a leak that the system gives whole MB": (lambda at: LEAK * at // 60, "failed"),
    "a leak after a step": (lambda at: LEAK * at / 60 + 60.0 * (at > 100), "failed"),
    "a leak beside a fall": (lambda at: LEAK * at / 60 - 60.0 * (at > 300), "failed"),
    "a leak below a saw-tooth": (lambda at: LEAK * at / 60 + 40.0 * (at % 15) / 15, "failed"),
    "two steps": (lambda at: 10.0 * (at > 240) + 10.0 * (at > 360), "failed"),
    "a step at each of four events": (lambda at: 5.0 * (at // 100), "failed"),
}


@pytest.mark.parametrize(("shape", "expected"), SHAPES.values(), ids=SHAPES)
def test_growth_is_told_from_what_settles_or_comes_and_goes(verdict, shape, expected):
    noise = random.Random(1)  # noqa: S311 - no secret
    samples = [(at, 300.0 + shape(at) + noise.gauss(0.0, 0.3)) for at in range(0, MINUTES * 60, 5)]
    assert verdict.judge_memory({"worker": {1: samples}}, SETTLED_SECONDS)[0].verdict == expected


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_of_little_more_than_the_limit_fails_whatever_the_noise(verdict, seed):
    noise = random.Random(seed)  # noqa: S311 - no secret
    samples = [(at, 300.0 + 1.15 * at / 60 + noise.gauss(0.0, 0.3)) for at in range(0, MINUTES * 60, 5)]
    assert verdict.judge_memory({"worker": {1: samples}}, SETTLED_SECONDS)[0].verdict == "failed"


@pytest.mark.parametrize("seed", range(5))
def test_every_fault_comes_twice_and_processes_live_long_at_the_end(verdict, seed):
    faults = importlib.import_module("serving_faults")
    made = [faults.nth_fault(number, seed) for number in range(30)]
    assert set(made[:10]) == set(faults.FAULTS)
    assert min(made.count(name) for name in faults.FAULTS) >= 2
    assert not faults.ENDING.intersection(made[14:])
    assert set(made[14:20]) == faults.FAULTS.keys() - faults.ENDING


def test_the_worst_point_decides(verdict):
    points = {word: verdict.Point(word, "") for word in ("passed", "unknown", "failed")}
    assert verdict.in_all(points) == "failed"
    del points["failed"]
    assert verdict.in_all(points) == "unknown"
    assert [verdict.EXIT_CODES[word] for word in ("passed", "failed", "unknown")] == [0, 1, 2]
