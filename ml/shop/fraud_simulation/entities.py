"""Which card, device, network address and parcel address pays each order."""

from dataclasses import dataclass

import numpy as np

from ml.shop.fraud_simulation.attacks import Attacks
from ml.shop.fraud_simulation.config import (
    ATTACK_WEIGHTS,
    ENTITIES,
    FAMILY_SHARE,
    KEPT_NEW,
    SHARED_BY,
    SHARED_COUNT,
    TRAVEL_ORDERS,
    TRAVEL_WEIGHTS,
    TRAVELLING,
    SimulationConfig,
)
from ml.shop.fraud_simulation.context import Context
from ml.shop.fraud_simulation.draws import chosen, mixed, uniforms
from ml.shop.fraud_simulation.drift import behaviours_from_plant
from ml.shop.fraud_simulation.methods import (
    FRIENDLY_POSITION,
    METHODS,
    NORMAL_LIFE,
    UNUSUAL_DAY,
    UNUSUAL_DAYS,
    Behaviour,
)

KNOWN, NEW, SHARED, RING = range(4)
_FORTNIGHT_DAYS = 14
_FAVOURITE = 0.75


@dataclass(frozen=True)
class Entities:
    """Per order: uint64 names by kind, the country's position (-1: home), the customer's own parcel address."""

    names: dict[str, np.ndarray]
    country: np.ndarray
    home_address: np.ndarray
    has_home: np.ndarray


def behaviours(config: SimulationConfig) -> list[Behaviour]:
    """Normal life, the attacks, an unusual day; and all again as they are from the planted day on."""
    before = [NORMAL_LIFE, *(method.behaviour for method in METHODS[:FRIENDLY_POSITION]), UNUSUAL_DAY]
    if config.plant != "drift":
        return before * 2
    return [*before, *behaviours_from_plant()]


def behaviour_of(context: Context, attacks: Attacks, config: SimulationConfig) -> np.ndarray:
    """Each order's position in `behaviours(config)`; friendly fraud has no behaviour of its own."""
    is_unusual = uniforms(context.key, "unusual day", config.seed) < UNUSUAL_DAYS
    kind = np.where(is_honest(attacks), np.where(is_unusual, len(METHODS), 0), attacks.method + 1)
    is_planted = context.is_from(config.plant_from) if config.plant == "drift" else np.zeros(len(context.key), bool)
    return np.asarray(kind + np.where(is_planted, len(METHODS) + 1, 0))


def is_honest(attacks: Attacks) -> np.ndarray:
    """Whether the customer paid; so also in friendly fraud."""
    return np.asarray((attacks.method < 0) | (attacks.method == FRIENDLY_POSITION))


def entities_of(context: Context, attacks: Attacks, config: SimulationConfig) -> Entities:
    """Draw them, in the order of time: `known` needs to know what the customer used before."""
    every = behaviours(config)
    kind = behaviour_of(context, attacks, config)
    honest = is_honest(attacks)
    travel_country = _travels(context, [one.foreign for one in every], kind, config.seed)
    names, home, has_home = {}, np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=bool)
    country = np.full(len(context.key), -1)
    for entity in ENTITIES:
        table = np.array([_weights(one, entity) for one in every])
        way = _ways(table, kind, uniforms(context.key, f"way of {entity}", config.seed))
        if entity == "ip":
            country = np.where(honest, travel_country, _attack_country(way, attacks, kind, every, config.seed))
            way = np.where(honest & (country >= 0), NEW, way)
        names[entity], first, has_first = _draw(entity, way, context, attacks, honest, country, config.seed)
        if entity == "shipping_address":
            home, has_home = first, has_first
    return Entities(names, country, home, has_home)


def _weights(behaviour: Behaviour, entity: str) -> tuple[float, float, float, float]:
    ways = getattr(behaviour, entity)
    return ways.known, ways.new, ways.shared, ways.ring


def _ways(table: np.ndarray, kind: np.ndarray, draw: np.ndarray) -> np.ndarray:
    bounds = np.cumsum(table, axis=1)[kind][:, :3]
    return np.asarray((draw[:, None] >= bounds).sum(axis=1))


def _travels(context: Context, foreign: list[float], kind: np.ndarray, seed: int) -> np.ndarray:
    """Country of an honest order: -1 for home."""
    fortnight = (context.days // _FORTNIGHT_DAYS).astype(np.int64).astype(np.uint64)
    trip = mixed(context.person_key ^ mixed(fortnight, "fortnight", seed), "trip", seed)
    is_travelling = uniforms(trip, "travels", seed) < TRAVELLING
    draw = uniforms(context.key, "abroad", seed)
    is_abroad = draw < np.where(is_travelling, TRAVEL_ORDERS, np.asarray(foreign)[kind])
    where = chosen(uniforms(np.where(is_travelling, trip, context.key), "country", seed), TRAVEL_WEIGHTS)
    return np.where(is_abroad, where, -1)


def _attack_country(
    way: np.ndarray, attacks: Attacks, kind: np.ndarray, every: list[Behaviour], seed: int
) -> np.ndarray:
    """A ring's addresses lie in its country; an address of the customer's own or of the carrier lies at home."""
    foreign = np.asarray([one.foreign for one in every])[kind]
    is_abroad = uniforms(attacks.ring, "abroad", seed) < foreign
    where = chosen(uniforms(attacks.ring, "country", seed), ATTACK_WEIGHTS)
    return np.where(is_abroad & ((way == NEW) | (way == RING)), where, -1)


def _draw(
    entity: str,
    way: np.ndarray,
    context: Context,
    attacks: Attacks,
    honest: np.ndarray,
    country: np.ndarray,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    fresh = mixed(context.key, f"new {entity}", seed)
    group = (context.person // SHARED_BY[entity]).astype(np.uint64)
    number = mixed(context.key, f"which shared {entity}", seed) % np.uint64(SHARED_COUNT[entity])
    shared = mixed(group * np.uint64(16) + number, f"shared {entity}", seed)
    ring_key = attacks.parcel_ring if entity == "shipping_address" else attacks.ring
    ring = mixed(ring_key, f"ring {entity}", seed)
    is_kept = honest & (uniforms(context.key, f"keeps {entity}", seed) < KEPT_NEW[entity])
    if entity == "ip":
        is_kept &= country < 0
    is_family = uniforms(context.person_key, f"family {entity}", seed) < FAMILY_SHARE[entity]
    skips = context.in_store if entity != "instrument" else np.zeros(len(way), dtype=bool)
    own: dict[int, list[int]] = {}
    names, homes, has_home = [], [], []
    columns = (way, context.person, fresh, shared, ring, honest, is_kept, is_family, skips)
    pick = uniforms(context.key, f"pick {entity}", seed).tolist()
    for at, (how, who, new, common, rings, pays, kept, family, skip) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        mine = own.get(who)
        if skip:
            name = 0
        elif how == SHARED:
            name = common
        elif how == RING:
            name = rings
        elif how == KNOWN and mine is not None:
            name = mine[-1] if pick[at] < _FAVOURITE else mine[int(pick[at] * 1e6) % len(mine)]
        elif mine is None and pays:
            beside = own.get(who - 1) if family else None
            name = beside[0] if beside is not None else new
            own[who] = [name]
        else:
            name = new
            if kept and mine is not None:
                mine.append(new)
        names.append(name)
        mine = own.get(who)
        homes.append(mine[0] if mine is not None else 0)
        has_home.append(mine is not None)
    return np.array(names, dtype=np.uint64), np.array(homes, dtype=np.uint64), np.array(has_home, dtype=bool)
