"""What one simulation is told, when fraud becomes known, and what normal life shares.

Every number here is made up to be plausible; none was measured at a shop. `docs/fraud_simulation.md` says what each
stands for.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

ENTITIES = ("instrument", "device", "ip", "shipping_address")


Plant = Literal["none", "group_bias", "drift"]


@dataclass(frozen=True)
class SimulationConfig:
    """What one simulation is told.

    Attributes:
        fraud_rate: Share of the orders that are fraud, over a year.
        timezone: IANA name of the shop's time zone.
        home_country: ISO 3166 country in which the shop's customers live.
        plant: "group_bias" makes one group's orders be reported as fraud without being it; "drift" changes the
            methods, and normal life, abruptly on `plant_from`.
        plant_from: First day of the plant.
        group_share: Share of the customers in the group of "group_bias".
        group_over_reported: Share of that group's honest orders that are reported as fraud.
        seasonal: How far the methods' shares swing over the year (logarithm of the factor at the peak).
        orders_per_ring: Orders a week for which one ring of each method is at work; more orders, more rings.
    """

    seed: int = 0
    fraud_rate: float = 0.007
    timezone: str = "UTC"
    home_country: str = "US"
    plant: Plant = "none"
    plant_from: date = date.min
    group_share: float = 0.25
    group_over_reported: float = 0.02
    seasonal: float = 0.6
    orders_per_ring: float = 3000.0

    def __post_init__(self) -> None:
        if not 0 < self.fraud_rate < 0.2:
            raise ValueError("fraud_rate must lie between 0 and 0.2")
        if self.plant not in ("none", "group_bias", "drift"):
            raise ValueError("plant must be none, group_bias or drift")


# When fraud becomes known: this many days at the least, a log-normal delay around the method's median, and the end.
DELAY_FIRST_DAY = 2.0
DELAY_SPREAD = 0.6
DELAY_LAST_DAY = 120.0
UNREPORTED = 0.04
FOUND_BY_SHOP = 0.12
FOUND_BY_SHOP_DAYS = 4.0

COUNTRIES = ("CA", "MX", "GB", "FR", "DE", "BR", "NG", "RO", "VN", "IN")
TRAVEL_WEIGHTS = (0.25, 0.2, 0.12, 0.1, 0.1, 0.07, 0.02, 0.03, 0.03, 0.08)
ATTACK_WEIGHTS = (0.08, 0.08, 0.07, 0.07, 0.06, 0.12, 0.17, 0.15, 0.12, 0.08)
TRAVELLING = 0.03
"""Share of a customer's fortnights that are spent abroad; `TRAVEL_ORDERS` of the orders then come from there."""
TRAVEL_ORDERS = 0.6

DOMAINS = ("gmail.example", "outlook.example", "yahoo.example", "icloud.example", "post.example")
DOMAIN_WEIGHTS = (0.45, 0.2, 0.15, 0.12, 0.08)
THROWAWAY_DOMAINS = ("tempbox.example", "mailnow.example", "quickpost.example")
GROUP_DOMAIN = "community.example"

CHANNELS = ("web", "app", "store", "phone")
CHANNEL_WEIGHTS = (0.50, 0.33, 0.13, 0.04)
ATTACK_BY_CHANNEL = (1.2, 0.7, 1.0, 1.0)

# How many customers share a card, a device, a network address (of a carrier: two of them), a parcel address.
SHARED_BY = {"instrument": 2, "device": 4, "ip": 60, "shipping_address": 25}
SHARED_COUNT = {"instrument": 1, "device": 1, "ip": 2, "shipping_address": 1}
FAMILY_SHARE = {"instrument": 0.10, "device": 0.10, "ip": 0.25, "shipping_address": 0.30}
"""Share of customers whose first card, device, network or parcel address is that of the customer before them."""
KEPT_NEW = {"instrument": 0.5, "device": 0.4, "ip": 0.6, "shipping_address": 0.15}
"""Share of the new ones that the customer goes on to use (a new phone); the others are used once (a gift)."""
