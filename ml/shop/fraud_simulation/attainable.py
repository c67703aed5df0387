"""How well anybody could find the simulated fraud: the likelihood ratio of the simulation's own processes.

It knows every number of `config.py`, and of an order what a shop knows when it is placed: the fields of its first
payment, earlier orders, and labels that are known by then. It never reads the truth. What it cannot know it infers:
that a device belongs to a ring is believed as far as the earlier orders on it looked like fraud.

Two simplifications keep it below the exact value: that a ring is at work just now is not inferred from the last hours
of the whole shop, and what one order tells about its ring's device and network is used as if it were told twice.
"""

import heapq
import math

import numpy as np
import pandas as pd

from ml.shop.fraud_simulation.attacks import average_chances
from ml.shop.fraud_simulation.chances import KINDS, Seen, chances_of
from ml.shop.fraud_simulation.config import (
    ATTACK_WEIGHTS,
    COUNTRIES,
    ENTITIES,
    FAMILY_SHARE,
    SHARED_BY,
    SHARED_COUNT,
    THROWAWAY_DOMAINS,
    TRAVEL_ORDERS,
    TRAVEL_WEIGHTS,
    TRAVELLING,
    SimulationConfig,
)
from ml.shop.fraud_simulation.context import context_of
from ml.shop.fraud_simulation.entities import behaviours
from ml.shop.fraud_simulation.methods import FRIENDLY_POSITION, METHODS, UNUSUAL_DAYS, Behaviour

_HONEST = (0, KINDS - 1)
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
_ANYWHERE = [1.0] * KINDS
_TRAVEL = dict(zip(COUNTRIES, TRAVEL_WEIGHTS, strict=True))
_ATTACK = dict(zip(COUNTRIES, ATTACK_WEIGHTS, strict=True))


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
        self._seen: dict[str, dict[str, Seen]] = {entity: {} for entity in ENTITIES}
        self._persons_with: dict[str, set[int]] = {entity: set() for entity in ENTITIES}
        self._trips: dict[tuple[int, int], tuple[float, str | None]] = {}
        self._home: dict[int, str] = {}
        self._posterior: dict[str, list[float]] = {}
        self._now = chances_of(self._behaviours[:KINDS])

    def scores(self) -> pd.Series:
        context, rows = self._context, self._rows
        known = (pd.to_datetime(self._labels["known_at"], utc=True).astype("datetime64[us, UTC]")).astype("int64")
        waiting = list(zip((known / 86_400e6).tolist(), self._labels["order_id"].tolist(), strict=True))
        heapq.heapify(waiting)
        planted = context.is_from(self._config.plant_from) & (self._config.plant == "drift")
        per_hour = np.arange(1, len(rows) + 1) / np.maximum((context.days - context.days[:1]) * 24, 24.0)
        entity_lists = {entity: rows[column].tolist() for entity, column in _COLUMNS.items()}
        fields = [rows[name].tolist() for name in ("billing_address_hash", "ip_country", "email_domain", "outcome")]
        first_uses = {entity: self._first_uses(per_hour, entity) for entity in ENTITIES}
        numbers = {
            False: chances_of(self._behaviours[:KINDS]),
            True: chances_of(self._behaviours[KINDS:]),
        }
        prior = self._prior.tolist()
        persons, days = context.person.tolist(), context.days.tolist()
        by_order = {order: at for at, order in enumerate(rows.index)}
        result = []
        for at, order in enumerate(rows.index):
            while waiting and waiting[0][0] < days[at]:
                self._learn(by_order[heapq.heappop(waiting)[1]], entity_lists, rows.index)
            every = self._behaviours[KINDS:] if planted[at] else self._behaviours[:KINDS]
            self._now = numbers[bool(planted[at])]
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
                    entity, name, person, day, fields[1][at], first_uses[entity][at]
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
            total = sum(after)
            self._remember(order, names, person, day, [one / total for one in after], first_use, fields[1][at])
        return pd.Series(result, index=rows.index, name="score")

    def _entity(
        self, entity: str, name: str, person: int, day: float, country: str | None, first: list[float]
    ) -> tuple[list[float], list[float]]:
        """Likelihood of the value under each kind of order, and the part of it that a ring's use is."""
        numbers = self._now[entity]
        seen = self._seen[entity].get(name)
        has = person in self._persons_with[entity]
        is_abroad = entity == "ip" and country != self._config.home_country
        place = self._places(person, day, country, is_abroad) if entity == "ip" else _ANYWHERE
        if seen is None:
            ring = [way * once * here for way, once, here in zip(numbers.ring, first, place, strict=True)]
            new = numbers.new if has else numbers.new_or_known
            likelihood = [one * here + own for one, here, own in zip(new, place, ring, strict=True)]
            if is_abroad:
                likelihood[0], likelihood[-1] = place[0], place[-1]
            else:
                likelihood = [
                    one + common * _UNSEEN_SHARED for one, common in zip(likelihood, numbers.shared, strict=True)
                ]
        else:
            hours = (day - seen.last) * 24
            ring = [
                way * belief * math.exp(-hours / lasts) if belief else 0.0
                for way, belief, lasts in zip(numbers.ring, seen.ring, numbers.ring_hours, strict=True)
            ]
            own_weight, shared_weight = (0.0, 0.0) if is_abroad else self._usual(entity, seen, person, has)
            others = 1 - min(seen.belief, _SURE)
            likelihood = [
                others * (own_weight * known + shared_weight * common) + mine
                for known, common, mine in zip(numbers.known, numbers.shared, ring, strict=True)
            ]
            likelihood[0] *= place[0] if entity == "ip" else 1.0
            likelihood[-1] *= place[-1] if entity == "ip" else 1.0
        likelihood = [max(one, _TINY) for one in likelihood]
        return likelihood, [mine / one if mine else 0.0 for mine, one in zip(ring, likelihood, strict=True)]

    def _usual(self, entity: str, seen: Seen, person: int, has: bool) -> tuple[float, float]:
        """Chances that a value seen before is used again as the customer's own, and as one that is shared."""
        if person in seen.persons:
            return (1.0, 0.0) if len(seen.persons) == 1 else (0.5, 1.0 / SHARED_COUNT[entity])
        if len(seen.persons) == 1:
            shared = 1.0 / max(len(self._seen[entity]), 1)
        else:
            shared = SHARED_BY[entity] / max(len(self._persons_with[entity]), SHARED_BY[entity])
        is_family = not has and person - 1 in seen.persons
        return FAMILY_SHARE[entity] if is_family else 0.0, shared / SHARED_COUNT[entity]

    def _places(self, person: int, day: float, country: str | None, is_abroad: bool) -> list[float]:
        """Likelihood of a new or a ring's network address lying where it lies."""
        foreign = self._now["ip"].foreign
        weight = _ATTACK.get(country or "", 0.0)
        places = [one * weight for one in foreign] if is_abroad else [1.0 - one for one in foreign]
        places[0] = self._at_home(person, day, foreign[0], country)
        places[-1] = self._at_home(person, day, foreign[-1], country)
        return places

    def _first_uses(self, per_hour: np.ndarray, entity: str) -> list[list[float]]:
        """Per order and kind: chance that a ring's use of its device is the first, from how many are expected."""
        columns = []
        for kind, behaviour in enumerate(self._behaviours[:KINDS]):
            share = getattr(behaviour, entity).ring
            if kind in _HONEST or not share:
                columns.append(np.zeros(len(per_hour)))
                continue
            method = METHODS[kind - 1]
            uses = per_hour * self._config.fraud_rate * method.share / method.at_work * method.ring_hours * share
            columns.append(-np.expm1(-uses) / uses)
        return [list(row) for row in np.column_stack(columns).tolist()]

    def _at_home(self, person: int, day: float, foreign: float, country: str | None) -> float:
        """Chance that an honest order comes from where it comes from."""
        belief, where = self._trips.get((person, int(day // _FORTNIGHT_DAYS)), (TRAVELLING, None))
        abroad = belief * TRAVEL_ORDERS + (1 - belief) * foreign
        if country == self._config.home_country:
            return 1.0 - abroad
        weight = _TRAVEL.get(country or "", _TINY)
        return belief * TRAVEL_ORDERS * (float(where == country) if where else weight) + (1 - belief) * foreign * weight

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
            seen = self._seen[entity].setdefault(name, Seen())
            seen.ring = [one * part for one, part in zip(posterior, first_use[entity], strict=True)]
            seen.belief = sum(seen.ring)
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
            believed = seen.belief
            if believed > _TINY:
                sure = min(believed / fraud, _SURE) if believed < fraud else _SURE
                seen.ring = [one / believed * max(sure, believed) for one in seen.ring]
                seen.belief = sum(seen.ring)
