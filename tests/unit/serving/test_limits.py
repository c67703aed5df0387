"""Buckets of tokens: what a key may ask in a second, and what may be asked about a customer in a minute."""

import pytest

from ml.serving.errors import Refusal
from ml.serving.limits import Buckets, Limits


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_bucket_empties_and_fills(clock):
    buckets = Buckets(2.0, 3.0, clock)
    assert [buckets.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    clock.now += 0.5
    assert buckets.take("a") == 0.0
    assert buckets.take("a") == 0.5
    assert buckets.take("b") == 0.0  # another name's is full


def test_a_bucket_holds_no_more_than_its_size(clock):
    buckets = Buckets(1.0, 2.0, clock)
    clock.now += 3600
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 1.0]


def test_a_refused_request_takes_nothing(clock):
    buckets = Buckets(1.0, 1.0, clock)
    buckets.take("a")
    for _ in range(10):
        assert buckets.take("a") == 1.0
    clock.now += 1.0
    assert buckets.take("a") == 0.0


def test_a_large_batch_is_paid_off(clock):
    buckets = Buckets(10.0, 10.0, clock)
    assert buckets.take("a", 30) == 0.0
    assert buckets.take("a") == pytest.approx(2.1)  # 20 of debt, and the one token wanted
    clock.now += 2.1
    assert buckets.take("a") == 0.0


def test_the_names_asked_for_longest_ago_are_forgotten(clock):
    buckets = Buckets(1.0, 1.0, clock, most=2)
    buckets.take("a")
    buckets.take("b")
    assert buckets.take("a") == 1.0  # still known, and asked for last
    buckets.take("c")
    assert buckets.take("b") == 0.0  # forgotten: full again
    assert len(buckets._buckets) == 2


def test_processes_share_the_limits_in_equal_parts(clock):
    alone, shared = Limits(4, 60, 1, clock), Limits(4, 60, 2, clock)

    def taken(limits: Limits) -> int:
        for count in range(100):
            try:
                limits.take_key("anna")
            except Refusal as refusal:
                assert (refusal.status, refusal.headers) == (429, {"Retry-After": "1"})
                return count
        return 100

    assert (taken(alone), taken(shared)) == (4, 2)


def test_more_processes_than_requests_still_answer(clock):
    limits = Limits(1, 1, 64, clock)
    limits.take_key("anna")
    limits.take_customer("c1")
    with pytest.raises(Refusal):
        limits.take_customer("c1")


def test_nobody_s_requests_are_not_counted(clock):
    limits = Limits(10, 1, 1, clock)
    for _ in range(5):
        limits.take_customer(None)
