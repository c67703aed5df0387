"""The fields of an order that rules and segments may ask for, each of one kind."""

from functools import lru_cache

from ml.fraud.declaration import declaration
from ml.fraud.expression_nodes import Kind

SCORE = "score"
"""The model's probability of fraud; missing while no model scores."""

# No identifier of a customer, card, device or address is in it: who is known to be bad stands in a list, which is
# protected, and not in a policy, which is shown.
_OF_THE_ORDER: dict[str, Kind] = {
    SCORE: "number",
    "amount_cents": "number",
    "hour_of_day": "number",
    "day_of_week": "number",
    "account_age_days": "number",
    "is_billing_shipping_same": "truth",
    "channel": "text",
    "currency": "text",
    "ip_country": "text",
    "email_domain": "text",
    "terminal_id": "text",
}


@lru_cache(maxsize=1)
def known_fields() -> dict[str, Kind]:
    """Field -> kind: those of the order itself, then every counted feature of the declaration."""
    counted: dict[str, Kind] = dict.fromkeys(declaration().counted_features(), "number")
    return {**_OF_THE_ORDER, **counted}
