"""When a store is left alone, and when it is tried again."""

from ml.serving.breaker import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> CircuitBreaker:
    breaker = CircuitBreaker(clock=clock)
    for _ in range(5):
        assert breaker.allows()
        breaker.failed()
    return breaker


def test_four_failures_in_a_row_change_nothing_the_fifth_opens() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    for _ in range(4):
        breaker.failed()
    assert (breaker.state, breaker.allows()) == ("closed", True)
    breaker.failed()
    assert (breaker.state, breaker.allows()) == ("open", False)


def test_a_success_in_between_begins_the_count_anew() -> None:
    breaker = CircuitBreaker(clock=Clock())
    for _ in range(4):
        breaker.failed()
    breaker.succeeded()
    for _ in range(4):
        breaker.failed()
    assert breaker.state == "closed"


def test_after_a_second_one_request_tries_and_no_other() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 0.99
    assert not breaker.allows()
    clock.now += 0.01
    assert breaker.state == "half_open"
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert (breaker.state, breaker.allows()) == ("closed", True)


def test_each_failed_try_doubles_the_pause_up_to_thirty_seconds() -> None:
    clock = Clock()
    breaker = opened(clock)
    pauses = []
    for _ in range(7):
        pause = 0.0
        while not breaker.allows():
            clock.now += 0.5
            pause += 0.5
        pauses.append(pause)
        breaker.failed()
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_after_a_successful_try_the_pause_is_short_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.0
    assert breaker.allows()
    breaker.failed()
    clock.now += 2.0
    assert breaker.allows()
    breaker.succeeded()
    for _ in range(5):
        breaker.failed()
    clock.now += 1.0
    assert breaker.allows()


def test_a_late_word_from_before_does_not_close_it() -> None:
    breaker = opened(Clock())
    breaker.succeeded()
    assert breaker.state == "open"


def test_a_try_that_was_given_up_lets_the_next_one_try() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 1.0
    assert breaker.allows()
    breaker.abandoned()
    assert breaker.allows()
