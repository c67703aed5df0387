"""Client of Shopwright's API: fraud decisions, recommendations and events, synchronous and asynchronous."""

from shopwright_client.answers import (
    Decision,
    DecisionResult,
    EventTaken,
    Item,
    Reason,
    Recommendation,
    Replay,
    ShownDecision,
)
from shopwright_client.asynchronous import AsyncShopwright
from shopwright_client.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    RateLimited,
    Refused,
    ShopwrightError,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)
from shopwright_client.events import Attempt, Consent, Event, Interaction, Label, Order, OrderLine, Payment, Wish
from shopwright_client.synchronous import Shopwright

__all__ = [
    "AsyncShopwright",
    "Attempt",
    "Conflict",
    "Consent",
    "Decision",
    "DecisionResult",
    "Event",
    "EventTaken",
    "Forbidden",
    "Interaction",
    "Invalid",
    "Item",
    "Label",
    "NotFound",
    "Order",
    "OrderLine",
    "Payment",
    "RateLimited",
    "Reason",
    "Recommendation",
    "Refused",
    "Replay",
    "Shopwright",
    "ShopwrightError",
    "ShownDecision",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Wish",
]
