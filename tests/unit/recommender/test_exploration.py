"""The chances that are logged are those that things are shown with."""

import random
from collections import Counter

import pytest

from ml.recommender.exploration import POOL, choose


def _chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - tests draw the same every time


def test_without_exploration_the_best_are_shown_for_certain() -> None:
    choice = choose(100, 3, 0.0, _chance(1))
    assert (choice.places, choice.propensities, choice.is_explored) == ((0, 1, 2), (1.0, 1.0, 1.0), False)


def test_propensities_by_hand() -> None:
    # Two of four products, half of the answers drawn: each product stands at each place in 1/4 of those.
    drawn = next(one for one in (choose(4, 2, 0.5, _chance(seed)) for seed in range(100)) if one.is_explored)
    expected = tuple(0.125 + (0.5 if place == at else 0.0) for at, place in enumerate(drawn.places))
    assert drawn.propensities == expected
    assert choose(4, 2, 0.0, _chance(1)).propensities == (1.0, 1.0)


@pytest.mark.parametrize("available", [3, 8, POOL + 20])
def test_frequencies_are_the_logged_propensities(available: int) -> None:
    chance, share, answers, k = _chance(5), 0.3, 40_000, 3
    seen: Counter[tuple[int, int]] = Counter()
    logged: dict[tuple[int, int], float] = {}
    for _ in range(answers):
        choice = choose(available, k, share, chance)
        assert len(set(choice.places)) == k
        for at, (place, propensity) in enumerate(zip(choice.places, choice.propensities, strict=True)):
            seen[at, place] += 1
            assert logged.setdefault((at, place), propensity) == propensity
    assert {place for _, place in seen} == set(range(min(POOL, available)))
    for key, propensity in logged.items():
        spread = (propensity * (1 - propensity) / answers) ** 0.5
        assert abs(seen[key] / answers - propensity) < 5 * spread + 1e-9
    for at in range(k):
        assert sum(value for (place, _), value in logged.items() if place == at) == pytest.approx(1.0)


def test_no_more_is_shown_than_there_is() -> None:
    assert choose(2, 10, 0.0, _chance(1)).places == (0, 1)
    assert choose(0, 10, 0.5, _chance(1)).places == ()
