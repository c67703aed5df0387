"""A small share of answers is drawn by chance, so that what was shown says something about what was not.

With chance `share` the products of an answer are a uniform ordered draw, without repetition, from the best `POOL` that
could be shown; else they are the best in their order. So the chance that a product stands at a place is known exactly:
share / pool, and 1 - share more for the product that the order puts there.
"""

import random
from dataclasses import dataclass

POOL = 50


@dataclass(frozen=True)
class Choice:
    """What is shown of an ordering.

    Attributes:
        places: Places of the shown products in the ordering, first shown first.
        propensities: Chance that this product stood at this place, of each.
        is_explored: They were drawn.
    """

    places: tuple[int, ...]
    propensities: tuple[float, ...]
    is_explored: bool


def choose(available: int, k: int, share: float, chance: random.Random) -> Choice:
    """Choose what is shown.

    Args:
        available: Length of the ordering.
        k: Products to show, at most `POOL`.
        share: Of answers that are drawn.
    """
    assert 0 <= k <= POOL, f"at most {POOL} products are shown, not {k}"
    pool = min(POOL, available)
    shown = min(k, pool)
    # One number is drawn in any case: whether the next answer explores does not depend on how long this one is.
    is_explored = chance.random() < share and shown > 0
    places = tuple(chance.sample(range(pool), shown)) if is_explored else tuple(range(shown))
    propensities = tuple(share / pool + (1.0 - share if place == at else 0.0) for at, place in enumerate(places))
    return Choice(places, propensities, is_explored)


def as_ordered(shown: int) -> Choice:
    """The first of an ordering, never drawn."""
    return Choice(tuple(range(shown)), (1.0,) * shown, is_explored=False)
