"""How orders are paid in normal life, and by each method of fraud.

Every number here is made up to be plausible; none was measured at a shop. `docs/fraud_simulation.md` says what each
stands for.
"""

import math
from dataclasses import dataclass

FRIENDLY = "friendly_fraud"
NORMAL = "normal"


@dataclass(frozen=True)
class Ways:
    """Where an order's card, device, network address or parcel address comes from; the chances add up to 1.

    Attributes:
        known: One that the customer has used before; a new one while there is none.
        new: One that nobody has used.
        shared: That of the customer's family, office, carrier or parcel shop.
        ring: That of the criminals who are at work (never in normal life).
    """

    known: float
    new: float
    shared: float
    ring: float = 0.0

    def __post_init__(self) -> None:
        total = self.known + self.new + self.shared + self.ring
        if not math.isclose(total, 1.0) or min(self.known, self.new, self.shared, self.ring) < 0:
            raise ValueError(f"chances of known, new, shared, ring must not be negative and add up to 1, not {total}")


@dataclass(frozen=True)
class Behaviour:
    """How orders of one kind are paid.

    Attributes:
        foreign: Chance that the network address lies abroad (of a ring: of all its addresses).
        throwaway: Chance of an e-mail domain that gives addresses away.
        bill_to_shipping: Chance that the payer's address is stated as the one shipped to.
        fails: Chance that an attempt to pay fails.
    """

    instrument: Ways
    device: Ways
    ip: Ways
    shipping_address: Ways
    foreign: float
    throwaway: float
    bill_to_shipping: float
    fails: float


@dataclass(frozen=True)
class Method:
    """A method of fraud.

    Attributes:
        share: Part of all fraud that it is, over a year.
        likes_large: How much its odds grow with the order's log amount against the shop's usual one.
        likes_unusual: The same against the customer's usual one.
        likes_night: Factor on its odds between midnight and six in the shop's time zone.
        likes_dormant: Growth of its odds per ten days since the customer's last order, up to sixty days.
        likes_young: Factor on its odds for accounts younger than sixty days.
        store: Factor on its odds in a physical store.
        ring_hours: How long a ring keeps its card, device and network address; its parcel address for four times that.
        at_work: Share of the time at which a ring is at work.
        season: Where in the year (0 to 1) the method peaks; None for no season.
        challenge_stops: Chance that a challenge (a code sent to the customer) stops it.
        reported_after_days: Median days until it becomes known.
    """

    name: str
    share: float
    behaviour: Behaviour
    likes_large: float
    likes_unusual: float
    likes_night: float
    likes_dormant: float
    likes_young: float
    store: float
    ring_hours: float
    at_work: float
    season: float | None
    challenge_stops: float
    reported_after_days: float


NORMAL_LIFE = Behaviour(
    instrument=Ways(known=0.91, new=0.05, shared=0.04),
    device=Ways(known=0.86, new=0.08, shared=0.06),
    ip=Ways(known=0.53, new=0.18, shared=0.29),
    shipping_address=Ways(known=0.86, new=0.07, shared=0.07),
    foreign=0.006,
    throwaway=0.025,
    bill_to_shipping=0.05,
    fails=0.05,
)

# A new phone or card, a gift, an order from a hotel or a friend's house: what is unusual comes together.
UNUSUAL_DAY = Behaviour(
    instrument=Ways(known=0.55, new=0.35, shared=0.10),
    device=Ways(known=0.45, new=0.45, shared=0.10),
    ip=Ways(known=0.25, new=0.45, shared=0.30),
    shipping_address=Ways(known=0.50, new=0.40, shared=0.10),
    foreign=0.03,
    throwaway=0.05,
    bill_to_shipping=0.15,
    fails=0.08,
)
UNUSUAL_DAYS = 0.02
"""Share of honest orders that are paid on such a day."""

METHODS = (
    Method(
        "card_testing",
        share=0.17,
        behaviour=Behaviour(
            instrument=Ways(known=0.10, new=0.85, shared=0.05),
            device=Ways(known=0.15, new=0.20, shared=0.05, ring=0.60),
            ip=Ways(known=0.10, new=0.30, shared=0.20, ring=0.40),
            shipping_address=Ways(known=0.65, new=0.20, shared=0.15),
            foreign=0.25,
            throwaway=0.20,
            bill_to_shipping=0.20,
            fails=0.60,
        ),
        likes_large=-0.9,
        likes_unusual=0.0,
        likes_night=1.5,
        likes_dormant=0.0,
        likes_young=1.5,
        store=0.0,
        ring_hours=2.0,
        at_work=0.010,
        season=0.20,
        challenge_stops=0.9,
        reported_after_days=14.0,
    ),
    Method(
        "stolen_instrument",
        share=0.26,
        behaviour=Behaviour(
            instrument=Ways(known=0.05, new=0.85, shared=0.0, ring=0.10),
            device=Ways(known=0.20, new=0.45, shared=0.05, ring=0.30),
            ip=Ways(known=0.15, new=0.45, shared=0.15, ring=0.25),
            shipping_address=Ways(known=0.30, new=0.50, shared=0.10, ring=0.10),
            foreign=0.25,
            throwaway=0.20,
            bill_to_shipping=0.30,
            fails=0.25,
        ),
        likes_large=0.8,
        likes_unusual=0.5,
        likes_night=2.0,
        likes_dormant=0.0,
        likes_young=2.5,
        store=0.15,
        ring_hours=36.0,
        at_work=0.5,
        season=0.35,
        challenge_stops=0.8,
        reported_after_days=18.0,
    ),
    Method(
        "account_takeover",
        share=0.17,
        behaviour=Behaviour(
            instrument=Ways(known=0.65, new=0.30, shared=0.05),
            device=Ways(known=0.15, new=0.60, shared=0.05, ring=0.20),
            ip=Ways(known=0.10, new=0.60, shared=0.10, ring=0.20),
            shipping_address=Ways(known=0.25, new=0.60, shared=0.10, ring=0.05),
            foreign=0.35,
            throwaway=0.04,
            bill_to_shipping=0.15,
            fails=0.12,
        ),
        likes_large=0.2,
        likes_unusual=1.0,
        likes_night=2.0,
        likes_dormant=0.5,
        likes_young=0.5,
        store=0.0,
        ring_hours=24.0,
        at_work=0.5,
        season=0.85,
        challenge_stops=0.65,
        reported_after_days=12.0,
    ),
    Method(
        "promotion_ring",
        share=0.13,
        behaviour=Behaviour(
            instrument=Ways(known=0.25, new=0.55, shared=0.0, ring=0.20),
            device=Ways(known=0.10, new=0.25, shared=0.05, ring=0.60),
            ip=Ways(known=0.15, new=0.30, shared=0.15, ring=0.40),
            shipping_address=Ways(known=0.35, new=0.25, shared=0.10, ring=0.30),
            foreign=0.08,
            throwaway=0.35,
            bill_to_shipping=0.25,
            fails=0.08,
        ),
        likes_large=-0.2,
        likes_unusual=0.0,
        likes_night=1.0,
        likes_dormant=0.0,
        likes_young=3.0,
        store=0.0,
        ring_hours=72.0,
        at_work=0.4,
        season=0.60,
        challenge_stops=0.4,
        reported_after_days=25.0,
    ),
    Method(
        "reshipping",
        share=0.15,
        behaviour=Behaviour(
            instrument=Ways(known=0.10, new=0.80, shared=0.0, ring=0.10),
            device=Ways(known=0.20, new=0.60, shared=0.05, ring=0.15),
            ip=Ways(known=0.20, new=0.55, shared=0.15, ring=0.10),
            shipping_address=Ways(known=0.05, new=0.20, shared=0.05, ring=0.70),
            foreign=0.10,
            throwaway=0.15,
            bill_to_shipping=0.45,
            fails=0.15,
        ),
        likes_large=1.0,
        likes_unusual=0.3,
        likes_night=1.3,
        likes_dormant=0.0,
        likes_young=1.5,
        store=0.0,
        ring_hours=96.0,
        at_work=0.5,
        season=0.05,
        challenge_stops=0.7,
        reported_after_days=22.0,
    ),
    # A customer who disputes an order that they made: no feature can see it, because nothing differs.
    Method(
        FRIENDLY,
        share=0.12,
        behaviour=NORMAL_LIFE,
        likes_large=0.0,
        likes_unusual=0.0,
        likes_night=1.0,
        likes_dormant=0.0,
        likes_young=1.0,
        store=1.0,
        ring_hours=24.0,
        at_work=1.0,
        season=None,
        challenge_stops=0.0,
        reported_after_days=30.0,
    ),
)

# The last of the methods: where the lists of behaviours have the unusual day, because it has none of its own.
FRIENDLY_POSITION = len(METHODS) - 1
assert METHODS[FRIENDLY_POSITION].name == FRIENDLY
