"""What it may cost to explain an answer: exact contributions of what is shown, on one thread, in the same response.

A model that costs more is trained again with fewer trees, and is named for it.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

M = TypeVar("M")

BUDGET_MS = 3.0
"""Milliseconds for the ten products that are shown, or for one order."""
FEWEST_TREES = 10
_REPEATS, _ROUNDS = 21, 3
_HEADROOM = 0.9  # the time of a model is not quite in proportion to its trees
_ATTEMPTS = 4


@dataclass(frozen=True)
class Budgeted(Generic[M]):
    """A model with what its explanations cost.

    Attributes:
        trees: That it was trained with.
        is_shortened: Fewer than were asked for, to stay within the budget.
    """

    model: M
    trees: int
    milliseconds: float
    is_shortened: bool


def explanation_milliseconds(explain: Callable[[], object]) -> float:
    """Median time of repeated runs, counting only when this thread runs; the smallest of some such medians.

    Other load on the machine makes a run longer and never shorter, and must not change a verdict.
    """
    return min(statistics.median(_timed(explain) for _ in range(_REPEATS)) for _ in range(_ROUNDS))


def _timed(explain: Callable[[], object]) -> float:
    started = time.thread_time()
    explain()
    return 1000.0 * (time.thread_time() - started)


def within_budget(
    train: Callable[[int], M], trees: int, measure: Callable[[M], float], budget_ms: float = BUDGET_MS
) -> Budgeted[M]:
    """Train, and train smaller models for as long as one costs more than the budget. The last may still do so.

    Args:
        train: A model of so many trees.
        measure: Milliseconds to explain with it, as `explanation_milliseconds` tells.
    """
    asked = trees
    model = train(trees)
    milliseconds = measure(model)
    for _ in range(_ATTEMPTS):
        if milliseconds <= budget_ms or trees <= FEWEST_TREES:
            break
        trees = max(FEWEST_TREES, int(trees * _HEADROOM * budget_ms / milliseconds))
        model = train(trees)
        milliseconds = measure(model)
    return Budgeted(model, trees, milliseconds, trees < asked)
