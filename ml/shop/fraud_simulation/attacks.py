"""Which orders are fraud, by which method, and which ring is behind them."""

from dataclasses import dataclass

import numpy as np

from ml.shop.fraud_simulation.config import ATTACK_BY_CHANNEL, SimulationConfig
from ml.shop.fraud_simulation.context import Context
from ml.shop.fraud_simulation.draws import mixed, uniforms
from ml.shop.fraud_simulation.drift import shares_from_plant
from ml.shop.fraud_simulation.methods import METHODS, Method

_LARGEST_CHANCE = 0.6
_LARGEST_DEVIATION = 1.5
_YOUNG_DAYS = 60
_DORMANT_DAYS = 60.0
_YEAR_DAYS = 365.25
_WEEK_DAYS = 7
_WEEKS_OF_VOLUME = 4
PARCEL_ADDRESS_LASTS = 4
"""A ring keeps its parcel address for this many times as long as its devices."""


@dataclass(frozen=True)
class Attacks:
    """Per order: the position in `METHODS` (-1: honest), and the keys of the ring and of its parcel address."""

    method: np.ndarray
    ring: np.ndarray
    parcel_ring: np.ndarray


def attacks_on(context: Context, config: SimulationConfig) -> Attacks:
    """The attacks; each depends on the order, the seed and earlier orders."""
    size = len(context.key)
    draw = uniforms(context.key, "attack", config.seed)
    lanes = _rings_at_once(context, config)
    method = np.full(size, -1)
    ring, parcel_ring = np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.uint64)
    below = np.zeros(size)
    average = average_chances(context, config)
    for position, one in enumerate(METHODS):
        ring_key, parcel_key = _rings(one, context, lanes, config.seed)
        is_at_work = uniforms(ring_key, "at work", config.seed) < one.at_work
        chance = np.minimum(np.where(is_at_work, average[:, position] / one.at_work, 0.0), _LARGEST_CHANCE)
        is_hit = (method < 0) & (draw >= below) & (draw < below + chance)
        method[is_hit] = position
        ring[is_hit], parcel_ring[is_hit] = ring_key[is_hit], parcel_key[is_hit]
        below = below + chance
    return Attacks(method, ring, parcel_ring)


def average_chances(context: Context, config: SimulationConfig) -> np.ndarray:
    """Chance of each method on each order, averaged over when rings are at work.

    Returns:
        float64, orders x methods.
    """
    shares = np.tile([method.share for method in METHODS], (len(context.key), 1))
    if config.plant == "drift":
        shares[context.is_from(config.plant_from)] = shares_from_plant()
    columns = [_appeal(method, context) * _season(method, context, config) for method in METHODS]
    return np.asarray(config.fraud_rate * shares * np.column_stack(columns))


def _appeal(method: Method, context: Context) -> np.ndarray:
    """How much an order attracts a method, against the mean of the orders so far."""
    shop = np.clip(context.deviation_shop, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    customer = np.clip(context.deviation_customer, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    appeal = np.exp(method.likes_large * shop + method.likes_unusual * customer)
    appeal *= np.where(context.hour < 6, method.likes_night, 1.0)
    appeal *= 1.0 + method.likes_dormant * np.minimum(context.gap_days, _DORMANT_DAYS) / 10.0
    is_young = context.days - context.account_days < _YOUNG_DAYS  # False for guests, whose account has no age
    appeal *= np.where(is_young, method.likes_young, 1.0)
    if method.store != 1.0:
        appeal *= np.where(context.in_store, method.store, np.asarray(ATTACK_BY_CHANNEL)[context.channel])
    mean = np.cumsum(appeal) / np.arange(1, len(appeal) + 1)
    return np.asarray(appeal / np.maximum(mean, 1e-9))


def _season(method: Method, context: Context, config: SimulationConfig) -> np.ndarray:
    if method.season is None:
        return np.ones(len(context.key))
    angle = 2 * np.pi * (context.days / _YEAR_DAYS - method.season)
    return np.asarray(np.exp(config.seasonal * np.cos(angle)) / np.i0(config.seasonal))


def _rings_at_once(context: Context, config: SimulationConfig) -> np.ndarray:
    """How many rings of one method are at work at once, from the orders of the four weeks before the order's week."""
    weeks = (context.days // _WEEK_DAYS).astype(np.int64)
    if not len(weeks):
        return weeks
    counts = np.bincount(weeks - weeks[0])
    total = np.concatenate([[0], np.cumsum(counts)])
    at = weeks - weeks[0]
    recent = (total[at] - total[np.maximum(at - _WEEKS_OF_VOLUME, 0)]) / np.clip(at, 1, _WEEKS_OF_VOLUME)
    return np.asarray(np.maximum(np.rint(recent / config.orders_per_ring), 1), dtype=np.int64)


def _rings(method: Method, context: Context, lanes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    lane = (mixed(context.key, f"lane of {method.name}", seed) % lanes.astype(np.uint64)).astype(np.int64)
    epoch = (context.days * 24 // method.ring_hours).astype(np.int64)
    ring = mixed((epoch * 100_000 + lane).astype(np.uint64), f"ring of {method.name}", seed)
    parcel = (epoch // PARCEL_ADDRESS_LASTS) * 100_000 + lane
    return ring, mixed(parcel.astype(np.uint64), f"parcel ring of {method.name}", seed)
