"""How well anybody could find the simulated fraud: the likelihood ratio of the simulation's own processes.

It knows every number of `config.py`, and of an order what a shop knows when it is placed: the fields of its first
payment, earlier orders, and labels that are known by then. It never reads the truth. What it cannot know it infers:
that a device belongs to a ring is believed as far as the earlier orders on it looked like fraud.

Two simplifications keep it below the exact value: that a ring is at work just now is not inferred from the last hours
of the whole shop, and what one order tells about its ring's device and network is used as if it were told twice.
"""

import heapq
import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ml.shop.fraud_simulation.attacks import average_chances
from ml.shop.fraud_simulation.config import (
    ATTACK_WEIGHTS,
    COUNTRIES,
    ENTITIES,
    FAMILY_SHARE,
    FRIENDLY_POSITION,
    METHODS,
    SHARED_BY,
    SHARED_COUNT,
    THROWAWAY_DOMAINS,
    TRAVEL_ORDERS,
    TRAVEL_WEIGHTS,
    TRAVELLING,
    UNUSUAL_DAYS,
    Behaviour,
    SimulationConfig,
)
from ml.shop.fraud_simulation.context import context_of
from ml.shop.fraud_simulation.entities import behaviours

# Normal life, the attacks, an unusual day: as in `behaviours`.
_KINDS = len(METHODS) + 1
_HONEST = (0, _KINDS - 1)
_COLUMNS = {
    "instrument": "instrument_hash",
    "device": "device_hash",
    "ip": "ip_hash",
    "shipping_address": "shipping_address_hash",
}
_UNSEEN_SHARED = 0.1
_SURE = 0.98
_FORTNIGHT_DAYS = 14
_TINY = 1e-9
_TRAVEL = dict(zip(COUNTRIES, TRAVEL_WEIGHTS, strict=True))
_ATTACK = dict(zip(COUNTRIES, ATTACK_WEIGHTS, strict=True))


@dataclass
class _Seen:
    """What is known of one card, device, network or parcel address."""

    persons: set[int] = field(default_factory=set)
    last: float = 0.0
    ring: list[float] = field(default_factory=lambda: [0.0] * _KINDS)
    """Belief that it belongs to a ring, by method."""


def attainable_scores(
    orders: pd.DataFrame, payments: pd.DataFrame, labels: pd.DataFrame, config: SimulationConfig
) -> pd.Series:
    """Probability of fraud of each order, as of its first payment.

    Args:
        orders: As given to `simulate`.
        payments: As simulated.
        labels: order_id, known_at of the orders known to be fraud (the earliest label of each).

    Returns:
        Probabilities, indexed by order_id.
    """
    return _Reader(orders, payments, labels, config).scores()


class _Reader:
    def __init__(
        self, orders: pd.DataFrame, payments: pd.DataFrame, labels: pd.DataFrame, config: SimulationConfig
    ) -> None:
        self._config = config
        self._context = context_of(orders, config)
        first = payments.sort_values(["attempted_at", "payment_id"]).drop_duplicates("order_id").set_index("order_id")
        self._rows = first.reindex(self._context.orders["order_id"])
        self._prior = average_chances(self._context, config)
        self._behaviours = behaviours(config)
        self._labels = labels
        self._seen: dict[str, dict[str, _Seen]] = {entity: {} for entity in ENTITIES}
        self._persons_with: dict[str, set[int]] = {entity: set() for entity in ENTITIES}
        self._trips: dict[tuple[int, int], tuple[float, str | None]] = {}
        self._home: dict[int, str] = {}
        self._posterior: dict[str, list[float]] = {}

    def scores(self) -> pd.Series:
        context, rows = self._context, self._rows
        known = (pd.to_datetime(self._labels["known_at"], utc=True).astype("datetime64[us, UTC]")).astype("int64")
        waiting = list(zip((known / 86_400e6).tolist(), self._labels["order_id"].tolist(), strict=True))
        heapq.heapify(waiting)
        planted = context.is_from(self._config.plant_from) & (self._config.plant == "drift")
        per_hour = np.arange(1, len(rows) + 1) / np.maximum((context.days - context.days[:1]) * 24, 24.0)
        entity_lists = {entity: rows[column].tolist() for entity, column in _COLUMNS.items()}
        fields = [rows[name].tolist() for name in ("billing_address_hash", "ip_country", "email_domain", "outcome")]
        prior = self._prior.tolist()
        persons, days = context.person.tolist(), context.days.tolist()
        by_order = {order: at for at, order in enumerate(rows.index)}
        result = []
        for at, order in enumerate(rows.index):
            while waiting and waiting[0][0] < days[at]:
                self._learn(by_order[heapq.heappop(waiting)[1]], entity_lists, rows.index)
            every = self._behaviours[_KINDS:] if planted[at] else self._behaviours[:_KINDS]
            names = {entity: values[at] for entity, values in entity_lists.items()}
            attacks, friendly = prior[at][:FRIENDLY_POSITION], prior[at][FRIENDLY_POSITION]
            honest = 1.0 - sum(attacks)
            weight = [honest * (1 - UNUSUAL_DAYS), *attacks, honest * UNUSUAL_DAYS]
            person, day = persons[at], days[at]
            first_use: dict[str, list[float]] = {}
            for entity, name in names.items():
                if name is None:
                    continue
                likelihood, first_use[entity] = self._entity(
                    entity, name, person, day, every, fields[1][at], per_hour[at]
                )
                weight = [one * other for one, other in zip(weight, likelihood, strict=True)]
            likelihood = self._stated(names["shipping_address"], fields[0][at], fields[2][at], person, every)
            weight = [one * other for one, other in zip(weight, likelihood, strict=True)]
            total = sum(weight)
            paid = (weight[0] + weight[-1]) / total
            result.append(1.0 - paid + paid * friendly / honest)
            has_failed = fields[3][at] != "approved"
            after = [
                one * (kind.fails if has_failed else 1 - kind.fails) for one, kind in zip(weight, every, strict=True)
            ]
            self._remember(order, names, person, day, [one / sum(after) for one in after], first_use, fields[1][at])
        return pd.Series(result, index=rows.index, name="score")

    def _entity(
        self,
        entity: str,
        name: str,
        person: int,
        day: float,
        every: list[Behaviour],
        country: str | None,
        per_hour: float,
    ) -> tuple[list[float], list[float]]:
        """Likelihood of the value under each kind of order, and the part of it that a ring's first use is."""
        seen = self._seen[entity].get(name)
        has = person in self._persons_with[entity]
        homes = [self._at_home(person, day, every[k], country) if entity == "ip" else 1.0 for k in _HONEST]
        is_abroad = entity == "ip" and country != self._config.home_country
        likelihood, first_use = [], []
        for kind, behaviour in enumerate(every):
            ways = getattr(behaviour, entity)
            is_attack = kind not in _HONEST
            place = homes[0 if kind == 0 else 1]
            if entity == "ip" and is_attack:
                place = behaviour.foreign * _ATTACK.get(country or "", 0.0) if is_abroad else 1.0 - behaviour.foreign
            ring = 0.0
            if seen is None:
                new = ways.new + (0.0 if has else ways.known)
                if is_attack or not is_abroad:
                    ring = ways.ring * self._first_use(kind, per_hour, ways.ring) * place
                    value = new * place + ring
                    if not is_abroad:
                        value += ways.shared * _UNSEEN_SHARED
                else:
                    value = place
            else:
                belief = min(sum(seen.ring), _SURE)
                usual = 0.0 if is_abroad else self._usual(entity, seen, person, has, ways)
                usual *= 1.0 if is_attack else place
                hours = METHODS[kind - 1].ring_hours * (4 if entity == "shipping_address" else 1) if is_attack else 1.0
                ring = ways.ring * seen.ring[kind] * math.exp(-(day - seen.last) * 24 / hours) if is_attack else 0.0
                value = (1 - belief) * usual + ring
            likelihood.append(max(value, _TINY))
            first_use.append(ring / value if value > 0 else 0.0)
        return likelihood, first_use

    def _usual(self, entity: str, seen: _Seen, person: int, has: bool, ways: object) -> float:
        """Chance that a value seen before is used again in the ways of normal life."""
        known, shared = getattr(ways, "known"), getattr(ways, "shared") / SHARED_COUNT[entity]  # noqa: B009
        if person in seen.persons:
            return float(known if len(seen.persons) == 1 else 0.5 * known + shared)
        if len(seen.persons) == 1:
            chance = shared / max(len(self._seen[entity]), 1)
        else:
            chance = shared * SHARED_BY[entity] / max(len(self._persons_with[entity]), SHARED_BY[entity])
        if not has and person - 1 in seen.persons:
            chance += known * FAMILY_SHARE[entity]
        return float(chance)

    def _first_use(self, kind: int, per_hour: float, ring_share: float) -> float:
        """Chance that a ring's use of its device is the first one, from how many orders it is expected to place."""
        if kind in _HONEST or not ring_share:
            return 0.0
        method = METHODS[kind - 1]
        uses = per_hour * self._config.fraud_rate * method.share / method.at_work * method.ring_hours * ring_share
        return float(-math.expm1(-uses) / uses)

    def _at_home(self, person: int, day: float, normal: Behaviour, country: str | None) -> float:
        """Chance that an honest order comes from where it comes from."""
        belief, where = self._trips.get((person, int(day // _FORTNIGHT_DAYS)), (TRAVELLING, None))
        abroad = belief * TRAVEL_ORDERS + (1 - belief) * normal.foreign
        if country == self._config.home_country:
            return 1.0 - abroad
        weight = _TRAVEL.get(country or "", _TINY)
        return (
            belief * TRAVEL_ORDERS * (float(where == country) if where else weight)
            + (1 - belief) * normal.foreign * weight
        )

    def _stated(
        self, shipped_to: str | None, payer: str | None, domain: str | None, person: int, every: list[Behaviour]
    ) -> list[float]:
        """Likelihood of the e-mail domain and of the payer's address."""
        is_throwaway = domain in THROWAWAY_DOMAINS
        home = self._home.get(person)
        likelihood = []
        for kind, behaviour in enumerate(every):
            value = behaviour.throwaway if is_throwaway else 1 - behaviour.throwaway
            if shipped_to is not None and shipped_to != home:
                is_honest = kind in _HONEST
                same = 0.95 if home is None and is_honest else behaviour.bill_to_shipping
                value *= same if shipped_to == payer else 1 - same
            likelihood.append(value)
        return likelihood

    def _remember(
        self,
        order: str,
        names: dict[str, str | None],
        person: int,
        day: float,
        posterior: list[float],
        first_use: dict[str, list[float]],
        country: str | None,
    ) -> None:
        self._posterior[order] = posterior
        for entity, name in names.items():
            if name is None:
                continue
            seen = self._seen[entity].setdefault(name, _Seen())
            seen.ring = [one * part for one, part in zip(posterior, first_use[entity], strict=True)]
            seen.persons.add(person)
            seen.last = day
            self._persons_with[entity].add(person)
        if names["shipping_address"] is not None:
            self._home.setdefault(person, names["shipping_address"])
        if country is not None:
            trip = (person, int(day // _FORTNIGHT_DAYS))
            belief, where = self._trips.get(trip, (TRAVELLING, None))
            normal = self._behaviours[0].foreign
            if country != self._config.home_country:
                honest = posterior[0] + posterior[-1]
                there, not_there = belief * TRAVEL_ORDERS, (1 - belief) * normal
                self._trips[trip] = (honest * there / (there + not_there) + (1 - honest) * belief, country)
            else:
                there, not_there = belief * (1 - TRAVEL_ORDERS), (1 - belief) * (1 - normal)
                self._trips[trip] = (there / (there + not_there), where)

    def _learn(self, at: int, entity_lists: dict[str, list[str | None]], index: pd.Index) -> None:
        """An order turned out to be fraud: so its ring's devices are a ring's."""
        posterior = self._posterior[index[at]]
        fraud = max(1.0 - posterior[0] - posterior[-1], _TINY)
        for entity, values in entity_lists.items():
            name = values[at]
            if name is None:
                continue
            seen = self._seen[entity][name]
            if len(seen.persons) > 1 or sum(seen.ring) > _TINY:
                believed = sum(seen.ring)
                sure = min(believed / fraud, _SURE) if believed < fraud else _SURE
                seen.ring = [one / max(believed, _TINY) * max(sure, believed) for one in seen.ring]
