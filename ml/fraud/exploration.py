"""A small share of would-be declines is let through to review, so that labels of such orders become known."""

import hashlib
from collections.abc import Mapping
from datetime import date

import numpy as np
import numpy.typing as npt

from ml.fraud.policy import Exploration

Flags = npt.NDArray[np.bool_]


def explore(
    order_ids: npt.NDArray[np.object_],
    would_decline: Flags,
    sequence: npt.NDArray[np.int64],
    days: npt.NDArray[np.object_],
    exploration: Exploration,
    explored: Mapping[date, int],
    seed: int,
) -> tuple[Flags, npt.NDArray[np.float64]]:
    """Which would-be declines are let through, and the chance that each had of it. Shapes: (n,).

    Once the day's cap is spent the chance is 0: such orders are outside of what a reweighted estimate speaks of. The
    draw depends on the seed and the order alone, so that a repeated run draws alike.

    Args:
        sequence: Positions of the orders in the order of events: the cap is spent in it.
        days: Shop day of each order.
        explored: How many were let through before, by shop day.
    """
    let_through = np.zeros(len(order_ids), dtype=np.bool_)
    chance = np.zeros(len(order_ids))
    count = dict(explored)
    for position in sequence[would_decline[sequence]].tolist():
        day = days[position]
        if count.get(day, 0) >= exploration.per_day:
            continue
        chance[position] = exploration.share
        let_through[position] = draw(seed, str(order_ids[position])) < exploration.share
        count[day] = count.get(day, 0) + int(let_through[position])
    return let_through, chance


def draw(seed: int, order_id: str) -> float:
    """A number of [0, 1), the same for the same seed and order."""
    digest = hashlib.sha256(f"{seed}:{order_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
