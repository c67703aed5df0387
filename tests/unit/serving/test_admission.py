"""How many requests are answered at the same time. Deadline 100 ms: the quickest of a while may take 50 ms."""

import pytest

from ml.serving.admission import FEWEST, FIRST, MOST, Admission


class Clock:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(0.1, clock)


def a_while(admission: Admission, clock: Clock, under_way: int, *seconds: float) -> None:
    """So many under way at once; the first ones are answered after the given times, the others tell nothing.

    The last one leaves when the while has ended.
    """
    start = clock.now
    for _ in range(under_way):
        admission.enter()
    for one in sorted(seconds):
        clock.now = start + one
        admission.leave(start)
    clock.now = start + 0.2
    for _ in range(under_way - len(seconds)):
        admission.leave(None)
    assert admission.under_way == 0


def test_it_is_full_at_its_limit(admission):
    for _ in range(FIRST - 1):
        admission.enter()
    assert not admission.is_full
    admission.enter()
    assert admission.is_full
    admission.leave(None)
    assert not admission.is_full


def test_a_queue_that_stands_makes_room_for_as_many_as_fit(admission, clock):
    # 20 under way, the quickest answered after 80 ms: at that rate 20 x 50 / 80 = 12.5 fit into 50 ms.
    a_while(admission, clock, 20, 0.08, 0.09, 0.19)
    assert admission.limit == 12


def test_one_quick_answer_shows_that_no_queue_stands(admission, clock):
    a_while(admission, clock, 20, 0.004, 0.15, 0.19)
    assert admission.limit == FIRST


def test_it_grows_by_a_quarter_where_it_was_felt_and_all_is_quick(admission, clock):
    a_while(admission, clock, 24, 0.03)
    assert admission.limit == 30
    a_while(admission, clock, 29, 0.03)
    assert admission.limit == 30
    a_while(admission, clock, 30, 0.03)
    assert admission.limit == 37


def test_it_stays_between_its_bounds(admission, clock):
    a_while(admission, clock, 20, 0.19)
    assert admission.limit == FEWEST  # 20 x 50 / 190 = 5
    for _ in range(30):
        a_while(admission, clock, admission.limit, 0.01)
    assert admission.limit == MOST


def test_what_has_no_deadline_tells_nothing(admission, clock):
    a_while(admission, clock, 30)
    assert admission.limit == FIRST


def test_a_slow_while_never_raises_the_limit(admission, clock):
    # A burst from before the limit fell: 60 x 50 / 60 = 50 would fit, but 24 were allowed.
    a_while(admission, clock, 60, 0.06)
    assert admission.limit == FIRST


def test_what_is_under_way_when_a_while_ends_counts_in_the_next(admission, clock):
    for _ in range(FIRST):
        admission.enter()
    clock.now += 0.2
    admission.leave(None)  # ends the first while: nothing was answered in it
    clock.now += 0.2
    admission.leave(clock.now - 0.3)  # 23 x 50 / 300 = 3.8
    assert admission.limit == FEWEST


def test_at_twice_what_can_be_answered_all_that_are_taken_are_in_time(admission, clock):
    # Each millisecond one is asked for, every second one the oldest is answered: for three seconds.
    queue: list[float] = []
    took: list[float] = []
    for millisecond in range(3000):
        clock.now = 10.0 + millisecond / 1000
        if millisecond % 2 and queue:
            received = queue.pop(0)
            took.append(clock.now - received)
            admission.leave(received)
        if not admission.is_full:
            admission.enter()
            queue.append(clock.now)
    assert len(took) == 1500  # nobody was idle
    assert max(took) <= 0.1
    assert max(took[-500:]) > 0.04  # and no fewer were let in than fit
