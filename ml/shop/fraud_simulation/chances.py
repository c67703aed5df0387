"""What whoever reads the simulated payments keeps in mind: the chances, and what was seen so far."""

from dataclasses import dataclass, field

from ml.shop.fraud_simulation.attacks import PARCEL_ADDRESS_LASTS
from ml.shop.fraud_simulation.config import ENTITIES
from ml.shop.fraud_simulation.methods import METHODS, Behaviour, Ways

# Normal life, the attacks, an unusual day: as in `behaviours`.
KINDS = len(METHODS) + 1


@dataclass
class Seen:
    """What is known of one card, device, network or parcel address."""

    persons: set[int] = field(default_factory=set)
    last: float = 0.0
    ring: list[float] = field(default_factory=lambda: [0.0] * KINDS)
    """Belief that it belongs to a ring, by method; `belief` is their sum."""
    belief: float = 0.0


@dataclass(frozen=True)
class Chances:
    """The chances of one kind of entity, each by kind of order."""

    known: list[float]
    new: list[float]
    new_or_known: list[float]
    shared: list[float]
    ring: list[float]
    ring_hours: list[float]
    foreign: list[float]


def chances_of(every: list[Behaviour]) -> dict[str, Chances]:
    found = {}
    for entity in ENTITIES:
        ways: list[Ways] = [getattr(behaviour, entity) for behaviour in every]
        lasts = PARCEL_ADDRESS_LASTS if entity == "shipping_address" else 1
        found[entity] = Chances(
            known=[one.known for one in ways],
            new=[one.new for one in ways],
            new_or_known=[one.new + one.known for one in ways],
            shared=[one.shared for one in ways],
            ring=[one.ring for one in ways],
            ring_hours=[1.0, *(method.ring_hours * lasts for method in METHODS)],
            foreign=[behaviour.foreign for behaviour in every],
        )
    return found
